"""The comparison of the outputs: equal or not, how precisely, and where they differ."""
