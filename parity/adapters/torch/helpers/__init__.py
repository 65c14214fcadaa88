"""Torch modules that compute what Keras' layers do and torch's own do not: ports carry their source with them."""
