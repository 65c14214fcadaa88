"""The catalogue and mUnet's training step on a GPU: python -m benchmarks.gpu, or `make gpu`.

The parent process imports no framework. It starts processes that do, and writes what they find at once, so that
a kill, a crash or the end of the time costs only what was under way.
"""
