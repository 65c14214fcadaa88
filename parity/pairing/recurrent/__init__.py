"""Which tensors of two recurrent cells correspond."""
