"""Which weighted step of one traced model is which of the other, whatever their names."""
