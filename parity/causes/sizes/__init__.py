"""Layers of one sort whose tensors have other sizes, and what their settings mean that makes them so."""
