"""One rule for each layer of keras.layers: the torch module or function that computes the same."""
