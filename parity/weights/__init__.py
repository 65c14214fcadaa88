"""Values carried over: between models, weight files and optimizers."""
