"""Further probes: other inputs, other weights, and what the models did in them."""
