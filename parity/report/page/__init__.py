"""The HTML page: results as one self-contained file."""
