"""A Keras model in training."""
