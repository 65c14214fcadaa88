"""Losses: what they hold in addition to the function, and why two of them differ on the same outputs."""
