"""Files that are complete or do not appear, and modules of an extra that are imported when first needed."""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from datasets.errors import MissingExtra


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to. The file replaces `path` when the block ends without an error."""
    partial = path.with_name("partial-" + path.name)  # the suffix stays: Keras chooses the format by it
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file next to `path`; rename it to `path` when it is written without an error.

    Raises:
        OSError: the folder cannot be written to.
    """
    # Opened by hand, not by tempfile, so that it gets the permissions of any new file.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def extra(name: str, of: str = "train") -> Any:
    """A module of the [train] extra, or of another one, imported when it is first needed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{name} must be installed; got: {error}. pip install 'segparity[{of}]'."
        ) from error
