"""What a call leaves behind in a model and its code."""
