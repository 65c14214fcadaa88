"""Which ways the conditions in the models' own Python code went."""
