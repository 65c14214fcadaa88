"""Training away from the batch that was given: other values, another batch size, greater gradients, and losses alone."""
