"""How both sides are given one input: names, orders of axes, and random values that the models take."""
