"""Both sides on identical inputs, layer by layer."""
