"""The bodies of forward passes: read step by step from the recording, and written with the source's own statements."""
