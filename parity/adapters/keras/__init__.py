"""The Keras side."""
