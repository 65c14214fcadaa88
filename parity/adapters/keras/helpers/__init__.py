"""Keras layers that ports from torch carry with them: what torch's layers compute and Keras' own do not.

Each module's text is taken into a port when it is needed, so that it imports Keras alone.
"""
