"""Loads data files, and keeps what was read in a memory-mapped file, so that the next load takes no time."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from datasets.bounds.regular import open_regular
from datasets.files import writing
from datasets.purdue_shapes.data import CLASSES, Boxes, Data
from datasets.purdue_shapes.pickle_format import MAX_BYTES, read

FORMAT = 2  # raise it when the layout or the reader's meaning changes
HEADER = 4096  # bytes before the pixels: a checksum of all that follows in 8 hexadecimal digits, JSON, spaces
PIECE = 1 << 20  # bytes whose checksum is taken at a time
SHORT, LONG = np.dtype("<u4"), np.dtype("<i4")


def load(path: str | os.PathLike[str], *, cache: bool = True, max_bytes: int = MAX_BYTES) -> Data:
    """Read a data set from a file in the documented format; both key styles of the box map are understood.

    The first load unpacks and checks the file, and writes the arrays to a cache next to it or, where that is
    not allowed, to the user's cache folder. Later loads map the cache into memory, if the file still has the
    same size, time and content (by the checksum with which a gzip file ends), and if the cache has its own
    checksum: a pixel of it that was altered is noticed, and the file is read again.

    Shapes:
        images (N, H, W, 3), masks (N, 5, H, W), for any H and W that the file has.
    Args:
        path: a gzip-pickle file, such as PurdueShapes5MultiObject-20-train.gz.
        cache: whether to use and write the cache; without it the arrays are in memory.
        max_bytes: bytes that the file may unpack to and that the arrays may take; 2 GiB if not given.
    Returns:
        The data set. Its arrays are read-only: copy what you change.
    Raises:
        OSError: the file cannot be opened.
        DatasetError: the file breaks the format; the error names the file and the records.
    Source:
        Lecture, slide "Data Format Used for the PurdueShapes5MultiObject Dataset".
    """
    path = Path(path)
    with open_regular(path) as file:
        source = fingerprint(file)
        if cache:
            for place in places(path):
                if (data := open_cache(place, source)) is not None:
                    return data
        data = read(file, str(path), max_bytes)
    if cache:
        for place in places(path):
            try:
                write_cache(place, data, source)
            except OSError:
                continue
            return open_cache(place, source) or _frozen(data)
        text = (
            f"the cache of {path} must go next to it or into the user's cache folder; neither can be written"
        )
        warnings.warn(f"{text}. Make room or give permission, or pass cache=False.", stacklevel=2)
    return _frozen(data)


def places(path: Path) -> Iterator[Path]:
    """Yield where a data file's cache may be, the best place first."""
    path = path.resolve()
    yield path.with_name(path.name + ".cache")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segparity"
    yield home / f"{path.name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.cache"


def fingerprint(file: BinaryIO) -> list[int | str]:
    """Return what tells one data file from another: size, modification time, and gzip's CRC-32 and length.

    The checksum notices a file that was replaced by one of the same size and time; the time notices a change
    in the middle of a file that leaves the checksum at its end as it was.
    """
    status = os.fstat(file.fileno())
    file.seek(max(0, status.st_size - 8))
    end = file.read(8).hex()
    file.seek(0)
    return [status.st_size, status.st_mtime_ns, end]


def write_cache(place: Path, data: Data, source: list[int | str]) -> None:
    """Write a cache as a whole; of several processes that do so at once, the last one's stays.

    Raises:
        OSError: there is no room, or no permission.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    counts = np.array([[len(of_class) for of_class in boxes] for boxes in data.boxes], SHORT)
    flat = np.array([box for boxes in data.boxes for of_class in boxes for box in of_class], LONG)
    table = counts.tobytes() + flat.tobytes()
    shape = [*data.images.shape[:3], len(flat)]
    words = json.dumps({"format": FORMAT, "source": source, "shape": shape}).encode()
    parts: list[Any] = [np.ascontiguousarray(array).data.cast("B") for array in (data.images, data.masks)]
    checksum = zlib.crc32(words)
    for part in (*parts, table):
        checksum = zlib.crc32(part, checksum)
    header = b"%08x" % checksum + words
    if len(header) > HEADER:
        raise OSError(f"a cache's header must have at most {HEADER} bytes; got {len(header)}.")
    with writing(place) as file:
        file.write(header.ljust(HEADER))
        for part in (*parts, table):
            file.write(part)


def open_cache(place: Path, source: list[int | str]) -> Data | None:
    """Map a cache into memory, or return None if it is missing, of another file, or not intact to the last byte."""
    try:
        with open_regular(place) as file:
            return _map(file, source)
    # ValueError: no JSON, no number, or nothing to map; the rest: JSON that says something else.
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _map(file: BinaryIO, source: list[int | str]) -> Data | None:
    header = file.read(HEADER)
    words = header[8:].rstrip()
    head: dict[str, Any] = json.loads(words)
    if head["format"] != FORMAT or head["source"] != source:
        return None
    if not all(type(side) is int and side >= 0 for side in head["shape"]):
        return None
    count, height, width, total = head["shape"]
    pixels = count * height * width
    start = HEADER + pixels * (3 + len(CLASSES))
    table_size = count * len(CLASSES) * SHORT.itemsize + total * 4 * LONG.itemsize
    if os.fstat(file.fileno()).st_size != start + table_size:
        return None
    checksum, piece = zlib.crc32(words), memoryview(bytearray(PIECE))
    while length := file.readinto(piece):  # type: ignore[attr-defined]
        checksum = zlib.crc32(piece[:length], checksum)
    if int(header[:8], 16) != checksum:
        return None
    file.seek(start)
    table = file.read()
    images = np.memmap(file, np.uint8, "r", HEADER, (count, height, width, 3))
    masks = np.memmap(file, np.uint8, "r", HEADER + 3 * pixels, (count, len(CLASSES), height, width))
    return Data(images, masks, _boxes(table, count))


def _boxes(table: bytes, count: int) -> list[Boxes]:
    """Turn the table, box counts by image and class and then all boxes, into lists."""
    counts = np.frombuffer(table, SHORT, count * len(CLASSES))
    flat: list[list[int]] = np.frombuffer(table, LONG, offset=counts.nbytes).reshape(-1, 4).tolist()
    ends = np.cumsum(counts, dtype=np.int64).tolist()
    of_class = [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [of_class[i : i + len(CLASSES)] for i in range(0, len(of_class), len(CLASSES))]


def _frozen(data: Data) -> Data:
    """Make the arrays read-only, as mapped ones are."""
    data.images.flags.writeable = data.masks.flags.writeable = False
    return data
