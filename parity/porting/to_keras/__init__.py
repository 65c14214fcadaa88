"""Ports from torch to Keras: readable source, class by class, from the source's own text."""
