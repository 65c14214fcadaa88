"""Files that are complete or do not appear, and what tells one content from another."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path next to `path` to write to; it replaces `path` when the block ends without an error.

    A process that is killed leaves the hidden file, and `path` as it was.

    Raises:
        OSError: the folder cannot be written to, the disk is full, or a pipe or a device is in the file's place.
    """
    if (
        path.exists() and not path.is_file() and not path.is_dir()
    ):  # where the user may, /dev/null would be replaced
        raise OSError(errno.EINVAL, "A pipe or a device", str(path))
    suffix = "".join(path.suffixes[-2:])  # writers choose their format by it
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial{suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
