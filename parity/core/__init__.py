"""What every room shares: types, the trace, layouts, tolerances, findings and the rule for the verdict. NumPy only."""

__version__ = "0.2.0"
