"""What the user's own functions did in a run: every expression's value, and every call, by the node of the source.

A function's code object is replaced by one that reports each value to a recorder and else does the same. Decorators,
defaults, closures and references to the function stay as they are, because the function object stays.
"""
