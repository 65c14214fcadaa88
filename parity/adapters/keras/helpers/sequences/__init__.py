"""Attention, the transformer and recurrent layers, as torch has them."""
