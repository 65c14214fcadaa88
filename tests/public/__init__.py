"""Pairs of public implementations, keras-hub and keras.applications against transformers, timm and diffusers."""
