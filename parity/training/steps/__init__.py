"""Steps of an optimizer on both sides: run, compared, and explained where they differ."""
