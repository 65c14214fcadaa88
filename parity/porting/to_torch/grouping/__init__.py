"""The repeated blocks of a flat graph: which layers belong together, by their names and by their structure."""
