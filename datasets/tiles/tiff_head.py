"""The head of a TIFF, checked before a library reads it: pages that end, and tags that lie in the file.

A file of a hundred bytes can send a reader through its pages in circles, or have it make room for a tag of 4 GB.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from datasets.bounds.damaged import DamagedFile
from datasets.bounds.regular import open_regular

PAGES = 4096
"""The most pages of one file."""
TAGS = 1000
"""The most tags of one page."""
SIZES = {2: 1, 3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value, by the number of its type; 1 where it is not listed."""
SPARE = 2**16
"""Bytes that tags may have in addition to the file's size: small files may use some twice."""


@dataclass(frozen=True)
class Form:
    """How numbers are written: by byte order, and with 4 or (BigTIFF) 8 bytes a place.

    Attributes:
        count: of the number of a page's tags.
        place: of places in the file.
        tag: of one tag: its number, its type, how many values, and where.
    """

    count: struct.Struct
    place: struct.Struct
    tag: struct.Struct

    @classmethod
    def of(cls, start: bytes) -> Form:
        """By a file's first four bytes.

        Raises:
            DamagedFile: no TIFF's.
        """
        order = {b"II": "<", b"MM": ">"}.get(start[:2])
        if order is None or len(start) < 4:
            raise DamagedFile("no TIFF")
        version = struct.unpack(f"{order}H", start[2:4])[0]
        if version == 42:
            return cls(*(struct.Struct(order + code) for code in ("H", "I", "HHII")))
        if version == 43:
            return cls(*(struct.Struct(order + code) for code in ("Q", "Q", "HHQQ")))
        raise DamagedFile(f"no TIFF of version 42 or 43, but {version}")


def check_head(path: Path) -> None:
    """Refuse a TIFF whose pages do not end, or whose tags are larger than the file.

    Args:
        path: of the file, of at most 4096 pages with 1000 tags each.
    Raises:
        DamagedFile: the file is so, or is cut short.
        OSError: it cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        form = Form.of(file.read(4))
        file.seek(4 if form.place.size == 4 else 8)
        page, seen, room = _number(file, form.place), set[int](), size + SPARE
        while page:
            if page in seen or len(seen) == PAGES:
                raise DamagedFile(f"pages in a circle, or more than {PAGES}")
            seen.add(page)
            file.seek(page)
            count = _number(file, form.count)
            if count > TAGS:
                raise DamagedFile(f"{count} tags in a page")
            for values in form.tag.iter_unpack(_exactly(file, count * form.tag.size)):
                room -= _room(values, form, size)
            if room < 0:
                raise DamagedFile("tags that are larger than the file")
            page = _number(file, form.place)


def _room(values: tuple[int, ...], form: Form, size: int) -> int:
    """Bytes of a tag's values that lie elsewhere in the file, once it is known that they do."""
    _, kind, count, place = values
    length = SIZES.get(kind, 1) * count
    if length <= form.place.size:
        return 0
    if place + length > size:
        raise DamagedFile(f"a tag of {length} bytes that ends after the file")
    return length


def _number(file: BinaryIO, form: struct.Struct) -> int:
    return int(form.unpack(_exactly(file, form.size))[0])


def _exactly(file: BinaryIO, count: int) -> bytes:
    found = file.read(count)
    if len(found) < count:
        raise DamagedFile("cut short")
    return found
