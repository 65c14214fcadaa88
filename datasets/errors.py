"""Every error that `datasets` and the two halves raise on purpose.

ValueError
└── RunError              a run, or a command, that cannot start or go on; raised itself for what a run computes
    ├── DataError         a file or an array that is missing, cannot be read, or does not hold what it must
    │   └── DatasetError  the shapes: a data set, or a file that should hold one, that breaks the documented format
    ├── SettingsError     a flag or an argument out of its range, or two that do not go together
    └── MissingExtra      a package that this needs is not installed
"""

from __future__ import annotations


class RunError(ValueError):
    """A run that cannot start or go on; its message is one line."""


class DataError(RunError):
    """A file or an array that is missing, cannot be read, or does not hold what it must."""


class DatasetError(DataError):
    """A data set, or a file that should hold one, that breaks the documented format."""


class SettingsError(RunError):
    """A flag or an argument out of its range, or two that do not go together."""


class MissingExtra(RunError):  # noqa: N818  (the design names it so)
    """A package that is needed is not installed; the message says how to install it."""
