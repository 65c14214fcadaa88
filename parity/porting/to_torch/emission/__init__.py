"""From bodies to text: bodies of one kind become one class, what differs becomes arguments, and lines are laid out."""
