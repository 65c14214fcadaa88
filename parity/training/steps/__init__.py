"""Steps of an optimizer on both sides: run, held against each other, and explained where they part."""
