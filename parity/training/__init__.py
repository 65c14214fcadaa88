"""The comparison in training: modes, gradients, statistics and optimizer steps."""
