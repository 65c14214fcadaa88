"""What every room shares: types, the trace, layouts, tolerances, findings and the rule for the verdict. NumPy only."""
