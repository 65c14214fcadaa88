"""Files that are complete or do not appear, and what tells one content from another."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path next to `path` to write to; it replaces `path` when the block ends without an error.

    A process that is killed leaves the hidden file, and `path` as it was.

    Raises:
        OSError: the folder cannot be written to, the disk is full, or a pipe or a device is in the file's place.
    """
    with suppress(FileNotFoundError):
        kind = path.stat().st_mode  # once: others may replace and remove the file
        if not S_ISREG(kind) and not S_ISDIR(kind):  # where the user may, /dev/null would be replaced
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
