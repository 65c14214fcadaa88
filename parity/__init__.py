"""Placeholder docstring, filled below."""
