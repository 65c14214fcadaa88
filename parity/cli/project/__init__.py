"""A project's own pairs, which [tool.parity] of pyproject.toml names."""
