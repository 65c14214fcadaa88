"""Bounds for files of strangers: what a compiled library reads is read in a process first that may die of it."""
