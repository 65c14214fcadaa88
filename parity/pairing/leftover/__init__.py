"""Tensors and layers without a counterpart that need none, or that names alone can give one."""
