"""One rule for each operation of keras.ops that stands in a `call` or in a graph."""
