"""The constructors of a port: each class's `__init__` in Keras, from the source's own text and what its runs did."""
