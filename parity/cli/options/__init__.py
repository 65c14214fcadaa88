"""The arguments of every command, read before anything else is imported."""
