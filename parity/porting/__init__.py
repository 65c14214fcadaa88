"""Ports that are written: readable source in the other framework, from a model that runs."""
