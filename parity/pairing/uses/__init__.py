"""What a weight does, read from the operation that uses it, whatever class holds it."""
