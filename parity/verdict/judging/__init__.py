"""One comparison from its first pass to its report."""
