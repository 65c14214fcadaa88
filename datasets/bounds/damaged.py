"""What a function says of a file whose role it does not know."""

from __future__ import annotations


class DamagedFile(Exception):  # noqa: N818  (no error of a command: its caller raises one)
    """What is wrong with a file. The caller knows the file's role and makes a `DataError` of it."""
