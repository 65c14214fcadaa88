"""Recurrent cells that torch code writes out, paired with those of Keras where a run of both sides confirms it."""
