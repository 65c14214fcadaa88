"""A side as users have it in a file or folder: what it is, why it is refused, and how it becomes a model."""
