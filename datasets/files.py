"""Files: written whole or not at all, read within bounds; and modules of an extra, imported when first needed."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from datasets.bounds.hdf5 import one_complaint
from datasets.bounds.picture import check_picture
from datasets.bounds.regular import check_place, open_regular
from datasets.bounds.survival import size_of_file
from datasets.errors import DataError, MissingExtra, RunError, WriteError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to. The file replaces `path` when the block ends without an error.

    Raises:
        WriteError: it cannot be written, whatever error a library has for that.
    """
    partial = path.with_name("partial-" + path.name)  # the suffix stays: Keras chooses the format by it
    try:
        check_place(path)
        with one_complaint():
            yield partial
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch and h5py know a full disk as RuntimeError
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise WriteError(
            f"{path} must be written whole; got {type(error).__name__}: {reason}. Make room, give permission, or "
            "choose another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file next to `path`; rename it to `path` when it is written without an error.

    Raises:
        OSError: the folder cannot be written to.
    """
    check_place(path)
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


TEXT = 64 * 2**20
"""Bytes of the largest text that is read: a list, names, a configuration."""
ROOM = 2 * 2**30
"""Bytes that the values of a JSON file may take in memory, by an estimate from its text."""
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")
"""What is looked for, whatever a file's name says. Pillow hands some other formats to programs of the system."""
COSTS = {b"{": 240, b"[": 64, b",": 64}
"""Bytes that each of these marks of JSON stands for at most: an object, a list, a further value."""


def read_within(path: Path, most: int = TEXT) -> bytes:
    """A file's content, once its size is known to be in bounds.

    Args:
        path: of the file; also a device or a pipe, of which no more is read.
        most: bytes that it may have.
    Raises:
        DataError: it has more.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size  # 0 of a device or a pipe
        if size > most or len(content := file.read((size or most) + 1)) > most:
            raise DataError(
                f"a file of this kind must have at most {most} bytes; got {max(size, most + 1)} or more at {path}. "
                "Give a smaller one."
            )
    return content


def read_json(path: Path, most: int = TEXT) -> Any:
    """The values of a JSON file, once their size is known to be in bounds.

    Args:
        path: of the file.
        most: bytes that it may have; its values may take 2 GiB.
    Raises:
        DataError: it is too large, or nested too deeply.
        ValueError: it is no JSON.
        OSError: it cannot be read.
    """
    content = read_within(path, most)
    room = len(content) + sum(content.count(mark) * cost for mark, cost in COSTS.items())
    if room > ROOM:
        raise DataError(
            f"the values of a JSON file must take at most {ROOM} bytes; got about {room} at {path}. "
            "Give a smaller file."
        )
    try:
        return json.loads(content.decode("utf-8-sig"))
    except RecursionError as error:
        raise DataError(f"a JSON file must not be nested this deeply; got {path}. Write it anew.") from error


def extra(name: str, of: str = "train") -> Any:
    """A module of the [train] extra, or of another one, imported when it is first needed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{name} must be installed; got: {error}. pip install 'segparity[{of}]'."
        ) from error


@contextlib.contextmanager
def opened_picture(path: Path, of: str = "train") -> Iterator[Any]:
    """A picture, closed afterwards. What is done with it inside is reading: every complaint becomes one error.

    A picture may have 178,956,970 pixels, twice Pillow's own MAX_IMAGE_PIXELS: there it refuses to decode. The size is
    read from the head of the file before any pixel is.

    Args:
        path: of the file.
        of: the extra that brings Pillow.
    Raises:
        DataError: no such file, no picture of these formats, one that is damaged, or too large.
        MissingExtra: Pillow is not installed.
    """
    library = extra("PIL.Image", of)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", library.DecompressionBombWarning)  # half of what is refused
            size_of_file(path)
            with library.open(path, formats=FORMATS) as picture:
                check_picture(picture, path)
                yield picture
    except RunError:
        raise
    except Exception as error:  # decoders raise anything on a damaged file
        unknown = type(error).__name__ == "UnidentifiedImageError"
        reason = f"no picture of {', '.join(FORMATS)}" if unknown else " ".join(str(error).split())[:200]
        raise DataError(
            f"a picture must be one that Pillow reads; got {type(error).__name__}: {reason} at {path}. "
            "Check the file, or save it as PNG."
        ) from error
