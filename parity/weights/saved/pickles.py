"""The names that the pickles in a file call, read without calling any."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

LARGEST = 2**28
"""Bytes of a pickle that is looked through."""
SEVERAL = 5
"""Pickles at the start of a file of torch's old format."""
PLAIN = (
    "torch.",
    "torch ",
    "collections ",
    "numpy ",
    "numpy.",
    "_codecs ",
    "builtins set",
    "builtins bytearray",
)
"""How names begin that tensors by name need: rebuilders of torch and NumPy, ordered dictionaries."""


def foreign_names(path: Path) -> list[str]:
    """Classes and functions that the pickles in a file would call, beyond those that tensors need; each once.

    Args:
        path: a file of torch.save in either of its formats, or a program of torch.export.

    Raises:
        OSError: it cannot be read.
    """
    names = [name for content in _pickles(path) for name in _called(content)]
    return list(dict.fromkeys(name.replace(" ", ".") for name in names if not name.startswith(PLAIN)))


def members(path: Path) -> list[str]:
    """Names of what an archive holds; none of a file that is no archive."""
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _pickles(path: Path) -> Iterator[bytes]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            yield file.read(LARGEST)
        return
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.file_size > LARGEST:
                continue
            with archive.open(entry) as file:
                head = file.read(4)
                if head[:1] == b"\x80":
                    yield head + file.read()
                elif head == b"PK\x03\x04":  # what torch.save wrote into the archive
                    yield from _inner(archive, entry)


def _inner(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(entry) as file, zipfile.ZipFile(file) as inner:
        for each in inner.infolist():
            if each.filename.endswith(".pkl") and each.file_size <= LARGEST:
                yield inner.read(each)


def _called(content: bytes) -> Iterator[str]:
    """ "module name" of everything that a pickle looks up, up to where it is none."""
    texts: list[str] = []
    stream = BytesIO(content)
    try:
        for _ in range(SEVERAL):
            for operation, argument, _ in pickletools.genops(stream):
                if operation.name in ("GLOBAL", "INST"):
                    yield str(argument)
                elif operation.name == "STACK_GLOBAL":
                    yield " ".join(texts[-2:]) if len(texts) > 1 else "? ?"
                elif isinstance(argument, str):
                    texts.append(argument)
    except Exception:  # raw numbers, the end, or a pickle that nothing reads either
        return
