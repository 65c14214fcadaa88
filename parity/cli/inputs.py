"""What --input and --layout say: sizes, dtypes and ranges of random inputs, files that hold inputs, and orders of axes."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parity.adapters.inputs.wanted import KINDS, Wanted
from parity.core.errors import UsageError
from parity.core.types import Array

MOST_VALUES = 2**30
"""Values of one random input: 8 GB while it is drawn."""
MOST_BYTES = 2**33
"""Bytes of one input in a file."""
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
NUMBER = r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:e-?\d+)?"
FORMS = "sizes joined by x, as in 2x65x96x3, ids=2x16:int32:0..1000 or mask=2x16:bool, or a .npy, .npz or image file"


def inputs_of(texts: Sequence[str]) -> list[Wanted]:
    """The inputs that --input asks for.

    Raises:
        UsageError: a text of no such form, or a file that holds no array.
        OSError: a file cannot be read.
    """
    return [one for text in texts for one in _input(text)]


def _input(text: str) -> list[Wanted]:
    name, rest = _parted(text)
    if Path(rest).suffix.lower() in (".npy", ".npz", *PICTURES):
        return _from_file(name, Path(rest))
    sizes, _, more = rest.partition(":")
    dtype, _, span = more.partition(":")
    found = re.fullmatch(rf"({NUMBER})\.\.({NUMBER})", span)
    if (dtype and dtype not in KINDS) or (more and not dtype) or (span and found is None):
        raise UsageError(
            f"--input must be {FORMS}, with a dtype of {', '.join(KINDS)}; got {ascii(text)[:80]}."
        )
    shape = sizes_of(sizes)
    if found is None:
        return [Wanted(name, shape, dtype)]
    least, below = float(found[1]), float(found[2])
    whole = not dtype.startswith("float")
    if least >= below or (whole and not (least.is_integer() and below.is_integer())):
        raise UsageError(
            "a range of --input must be FROM..BELOW with FROM smaller, and whole for whole numbers; "
            f"got {ascii(text)[:80]}. 0..1000 draws 0 to 999."
        )
    if whole and (dtype == "bool" or not np.iinfo(dtype).min <= least < below <= np.iinfo(dtype).max + 1):
        raise UsageError(
            f"a range of --input must fit its dtype; got {ascii(text)[:80]}. Leave it out, or change it."
        )
    return [Wanted(name, shape, dtype, least, below)]


def _parted(text: str) -> tuple[str | tuple[str, str] | None, str]:
    """(name or names, the rest)."""
    name, equals, rest = text.partition("=")
    if not equals or "/" in name:
        return None, text
    first, comma, second = name.partition(",")
    if not first or (comma and not second) or "," in second:
        raise UsageError(f"the name of an --input must be NAME= or KERAS,TORCH=; got {ascii(text)[:80]}.")
    return ((first, second) if comma else first), rest


def sizes_of(text: str) -> tuple[int, ...]:
    """The sizes in a text such as 2x65x96x3; an input of them has at most 2**30 values.

    Raises:
        UsageError: a text of another form, or more values.
    """
    sizes = text.split("x")
    if not 1 <= len(sizes) <= 8 or not all(re.fullmatch("[1-9][0-9]{0,9}", size) for size in sizes):
        raise UsageError(f"--input must be {FORMS}; got {ascii(text)[:80]}.")
    found = tuple(map(int, sizes))
    if math.prod(found) > MOST_VALUES:
        raise UsageError(f"--input must have at most {MOST_VALUES} values; got {text}. Give a smaller input.")
    return found


# --- files ---------------------------------------------------------------------------------------------


def _from_file(name: str | tuple[str, str] | None, path: Path) -> list[Wanted]:
    """The inputs that a file holds: of a .npz each array by its name, unless one of them is asked for."""
    if not path.is_file():
        raise UsageError(f"--input must name a file that exists; got {str(path)!a}. Check the path.")
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                return [Wanted(name, array=_array(file, path.stat().st_size))]
        if path.suffix.lower() == ".npz":
            return _from_archive(name, path)
        return [Wanted(name, array=_picture(path))]
    except (ValueError, EOFError, SyntaxError, zipfile.BadZipFile, NotImplementedError) as error:
        text = " ".join(str(error).split())[:200]
        raise UsageError(f"--input must name a file of numbers or an image; got {path}: {text}.") from error


def _from_archive(name: str | tuple[str, str] | None, path: Path) -> list[Wanted]:
    with zipfile.ZipFile(path) as archive:
        members = {one.filename.removesuffix(".npy"): one for one in archive.infolist()}
        if name is not None:
            keys = [key for key in (name if isinstance(name, tuple) else (name,)) if key in members]
            members = {key: members[key] for key in keys[:1] or members}
        if not members or (name is not None and len(members) > 1):
            raise ValueError(f"it holds {', '.join(members) or 'nothing'}; name one of them, as in NAME=FILE")
        found = []
        for key, one in members.items():
            with archive.open(one) as file:
                found.append(Wanted(key if name is None else name, array=_array(file, one.file_size)))
        return found


def _array(file: Any, size: int) -> Array:
    """The array of a .npy file, whose header is held against its size before anything is made."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    needed = math.prod(shape) * dtype.itemsize
    if dtype.kind not in "biuf" or needed > min(size, MOST_BYTES) or len(shape) > 8:
        raise ValueError(f"{dtype} of shape {shape} in {size} bytes is no input")
    content = file.read(needed)
    if len(content) < needed:
        raise ValueError("it ends before its last value")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _picture(path: Path) -> Array:
    """One image as (1, H, W, C) with values 0..255: grey images of one channel, all others of three."""
    try:
        from PIL import Image
    except ImportError as error:
        raise UsageError(
            "images of --input must be read with Pillow; got none. Install segparity[report], or give a .npy file."
        ) from error
    try:
        with Image.open(path) as picture:
            if math.prod(picture.size) > MOST_VALUES // 4:
                raise ValueError(f"{picture.size} pixels are too many")
            pixels = np.asarray(picture if picture.mode == "L" else picture.convert("RGB"), np.float32)
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from error
    return pixels[None, ..., None] if pixels.ndim == 2 else pixels[None]


# --- orders of axes ------------------------------------------------------------------------------------


def layout_of(texts: Sequence[str] | None) -> Any:
    """What --layout asks for: one name for all inputs, or {input: name}; None where it is not given.

    Raises:
        UsageError: names with and without an input, or an input twice.
    """
    if not texts:
        return None
    named = [text.partition("=")[::2] for text in texts if "=" in text]
    if (named and len(named) < len(texts)) or (not named and len(texts) > 1) or len(dict(named)) < len(named):
        raise UsageError(
            f"--layout must be given once for all inputs, or as NAME=LAYOUT for each; got {' '.join(texts)}."
        )
    return dict(named) if named else texts[0]
