"""Pictures whose pixels take long to decode: a process of its own decodes them first."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from datasets.bounds.survival import check_survival

AT_ONCE = 2**24
"""Pixels, counted once for each pass over them, that are decoded without more ado."""
SCAN = b"\xff\xda"
"""What begins a pass over a JPEG's pixels: a file of 1 MB may have a hundred thousand."""
PER_SECOND = 5_000_000
"""Pixels that the slowest decoder gives in a second."""
PER_PIXEL = 32
"""Bytes of a pixel while it is decoded: JPEG 2000 keeps four channels of 32 bits twice."""


def check_picture(picture: Any, path: Path) -> None:
    """See that an open picture's pixels can be decoded in the time and memory that so many pixels take.

    Args:
        picture: as Pillow opens it; no pixel has been decoded yet.
        path: of its file.

    Raises:
        DamagedFile: they cannot, or the file is none that can be decoded.
        OSError: it cannot be read.
    """
    pixels = math.prod(picture.size)
    passes = path.read_bytes().count(SCAN) if picture.format in ("JPEG", "MPO") else 1
    if pixels * passes > AT_ONCE:
        check_survival(
            path,
            "datasets.bounds.picture:decode",
            seconds=pixels // PER_SECOND,
            memory=pixels * PER_PIXEL,
            form=picture.format,
        )


def decode(path: Path, form: str) -> None:
    """Decode a picture of a format. It runs in the helper."""
    from PIL import Image

    with Image.open(path, formats=(form,)) as picture:
        picture.load()
