"""How good predictions are, in NumPy: metrics, decisions, boxes and losses."""
