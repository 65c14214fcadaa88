"""Recurrent modules taken apart: one pass of one cell along the sequence is one step."""
