"""Why two models differ: known causes, each claimed only where the tensors show it."""

from parity.causes.table import CAUSES, Cause

__all__ = ["CAUSES", "Cause"]
