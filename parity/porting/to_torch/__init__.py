"""Keras to torch: torch source as a torch engineer would write it, from a Keras model that runs."""
