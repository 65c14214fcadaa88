"""A torch module in training."""
