"""Losses: what they hold besides the function, and why two of them differ on the same outputs."""
