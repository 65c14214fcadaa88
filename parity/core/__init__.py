"""What every room shares: types, the trace, layouts, tolerances, findings and the rule for the verdict. NumPy only."""

from parity.own_datasets import reach

__version__ = "0.2.0"

reach()  # every part of parity imports this room before it imports `datasets`
