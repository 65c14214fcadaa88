"""The table of operations: what a torch function, a method of a tensor or an operator becomes in keras.ops."""
