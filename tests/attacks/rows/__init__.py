"""The attempts, a module for each kind."""
