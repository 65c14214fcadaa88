"""Every error that `datasets` raises on purpose."""

from __future__ import annotations


class RunError(ValueError):
    """A training or prediction run that cannot start or go on; its message is one line."""


class DatasetError(ValueError):
    """A data set, or a file that should hold one, that breaks the documented format."""
