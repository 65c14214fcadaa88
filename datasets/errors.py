"""Every error that `datasets` and the halves' commands raise on purpose.

ValueError
└── RunError              a run that cannot start or go on; raised itself where what the run computes is wrong
    ├── DataError         a file or an array that is missing, cannot be read, or does not hold what it must
    │   └── DatasetError  the shapes: data, or a file, that breaks the documented format
    ├── WriteError    a file that cannot be written
    ├── SettingsError     a flag or an argument out of its range, or two that do not go together
    └── MissingExtra      a package that is needed is not installed

A command catches RunError: its message is one line, and the exit code is 2. The halves' layers and networks raise
ValueError for their arguments, as layers do.
"""

from __future__ import annotations


class RunError(ValueError):
    """A run that cannot start or go on."""


class DataError(RunError):
    """A file or an array that is missing, cannot be read, or does not hold what it must."""


class DatasetError(DataError):
    """Data, or a file that should hold a data set of shapes, that breaks the documented format."""


class WriteError(RunError):
    """A file that cannot be written: a full disk, a folder that is read-only."""


class SettingsError(RunError):
    """A flag or an argument out of its range, or two that do not go together."""


class MissingExtra(RunError):  # noqa: N818  (what is missing is an extra of the distribution)
    """A package that is needed is not installed; the message says how to install it."""
