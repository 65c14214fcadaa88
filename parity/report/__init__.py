"""Reports as text, as one HTML page, and as JSON."""
