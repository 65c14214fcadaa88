"""What could not be paired: the problem as fields, and its texts for a person."""
