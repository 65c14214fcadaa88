"""Commands that are killed at any time: no half file has a final name, and the next run works."""
