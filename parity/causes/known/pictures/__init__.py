"""A small picture of each cause: what both sides compute of one input, in NumPy, and where they differ."""
