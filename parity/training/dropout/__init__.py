"""What is random in training: whether both sides drop as much, and at the same places."""
