"""Small files that would take much: each is refused by its reader in little memory and time."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import resource
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.errors import DataError
from datasets.lint.files import read_items
from datasets.prediction.sources import read_picture
from datasets.purdue_shapes import load
from datasets.tiles import (
    Placement,
    classes_of_polygons,
    placement,
    read_bands,
    read_label_picture,
    read_polygons,
)
from datasets.training.augment import Augmentation
from datasets.training.runs import read_config
from datasets.voc.files import read_list
from parity.core.errors import UsageError
from parity.core.files.json_file import read_json

MEGABYTE = 2**20
BOUND = 16 * MEGABYTE
"""The max_bytes that shapes files are read with here: the bombs are a hundredth of those that the default allows."""


@contextmanager
def within(memory: int, seconds: float) -> Iterator[None]:
    """Fails where the block has more memory at once, or more of the processor's time."""
    start = time.process_time()
    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= memory, f"{peak / MEGABYTE:.0f} MB"
    assert time.process_time() - start <= seconds


def zipped(path: Path, start: bytes, piece: bytes, times: int, end: bytes = b".") -> Path:
    """A gzip file of the piece many times over."""
    with gzip.open(path, "wb", 1) as file:
        file.write(start)
        for _ in range(times):
            file.write(piece)
        file.write(end)
    return path


def one_run(length: int) -> bytes:
    """The opcodes of a list of small integers, kept in the memo's place 1."""
    return b"](" + b"K\x07" * length + b"eq\x01"


HALF, FULL = BOUND // 2, BOUND
SHAPES: dict[str, Callable[[Path], Path]] = {
    "one long text": lambda path: zipped(path, b"X" + struct.pack("<I", HALF), b"a" * MEGABYTE, HALF // MEGABYTE),
    "one long text of wide letters": lambda path: zipped(
        path, b"X" + struct.pack("<I", HALF), "\U0001f600".encode() * (MEGABYTE // 4), HALF // MEGABYTE
    ),
    "bytes that are declared alone": lambda path: zipped(path, b"\x8e" + struct.pack("<Q", 2**60), b"", 0),
    "a line without an end": lambda path: zipped(path, b"V", b"a" * MEGABYTE, HALF // MEGABYTE),
    "a number of a long line": lambda path: zipped(path, b"I", b"7" * MEGABYTE, HALF // MEGABYTE),
    "nothing, over and over": lambda path: zipped(path, b"", b"N" * MEGABYTE, 15),
    "put and taken away": lambda path: zipped(path, b"", b"N0" * (MEGABYTE // 2), 15),
    "small integers, each a step": lambda path: zipped(path, b"](", b"K\x07N" * (MEGABYTE // 3), 15),
    "lists in lists": lambda path: zipped(path, b"", b"](" * (MEGABYTE // 2), 15),
    "one text as many arrays": lambda path: zipped(
        path,
        b"cnumpy\nndarray\nq\x00cnumpy\ndtype\n(U\x02u1K\x00K\x01tRq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03"
        b"T" + struct.pack("<i", 4 * MEGABYTE) + b"a" * 4 * MEGABYTE + b"q\x04](",
        b"h\x03(h\x00K\x00\x85U\x01btR(K\x01M\x00\x04M\x00\x10\x86h\x02\x89h\x04tb", 1000, b"e.",
    ),
    "a call with a text for arguments": lambda path: zipped(
        path, b"cbuiltins\nbytes\nT" + struct.pack("<i", 8 * MEGABYTE), b"a" * MEGABYTE, 8, b"R."
    ),
    "one run in a list many times": lambda path: zipped(
        path, one_run(MEGABYTE), b"](" + b"h\x01" * 300 + b"e", 20
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_a_shapes_file_takes_no_more_than_it_may(name: str, tmp_path: Path) -> None:
    path = SHAPES[name](tmp_path / "x.gz")
    assert path.stat().st_size < 16 * MEGABYTE
    with within(2.5 * BOUND, 20), pytest.raises(DataError):  # type: ignore[arg-type]
        load(path, cache=False, max_bytes=BOUND)


def record(mask: Any, channel: Any) -> list[Any]:
    return [channel, channel, channel, mask, {i: [] for i in range(5)}]


def test_one_record_that_is_listed_a_million_times(tmp_path: Path) -> None:
    one = record(np.zeros((5, 1, 1), np.uint8), [0])
    labels = {50: "rectangle", 100: "triangle", 150: "disk", 200: "oval", 250: "star"}
    for each in (one, "no record"):
        with gzip.open(tmp_path / "x.gz", "wb", 1) as file:
            file.write(pickle.dumps([[each] * 100_000, labels], 2))
        with within(2.5 * BOUND, 20), pytest.raises(DataError):  # type: ignore[arg-type]
            load(tmp_path / "x.gz", cache=False, max_bytes=BOUND)


def test_a_channel_that_names_one_run_many_times(tmp_path: Path) -> None:
    run = [7] * 60_000
    channel = pickle.dumps(run, 2)[2:-1]
    mask = pickle.dumps(np.zeros((5, 1, 1), np.uint8), 2)[2:-1]
    many = b"](" + channel + b"q\xf0" + b"h\xf0" * 2000 + b"e"
    content = b"\x80\x02](](](" + many * 3 + mask + b"}ee}e."
    with gzip.open(tmp_path / "x.gz", "wb", 1) as file:
        file.write(content)
    with within(BOUND, 20), pytest.raises(DataError):
        load(tmp_path / "x.gz", cache=False, max_bytes=BOUND)


def png(path: Path, height: int, width: int) -> Path:
    """A grey PNG that declares a size, and has no pixels to it."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    data = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


def tiff(path: Path, height: int, width: int) -> Path:
    """A grey TIFF that declares a size, and has ten bytes of pixels."""
    tags = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, 10),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 18) + bytes(10) + directory)
    return path


def chunk(path: Path, length: int) -> Path:
    """A PNG with a chunk that declares so many bytes."""
    data = png(path, 6, 5).read_bytes()
    path.write_bytes(data[:33] + struct.pack(">I", length) + data[37:])
    return path


def circle(path: Path) -> Path:
    """A TIFF whose page is followed by itself."""
    data = tiff(path, 1, 10).read_bytes()
    path.write_bytes(data[:-4] + struct.pack("<I", 18))
    return path


def tag(path: Path, count: int) -> Path:
    """A TIFF with a text of so many letters."""
    data = tiff(path, 1, 10).read_bytes()
    path.write_bytes(data[:20] + struct.pack("<HHII", 270, 2, count, 8) + data[32:])
    return path


def strips(path: Path, height: int) -> Path:
    """A TIFF that declares a strip for each of its rows, and has one."""
    data = bytearray(tiff(path, height, 1).read_bytes())
    at = data.index(struct.pack("<HHI", 278, 4, 1)) + 8
    data[at : at + 4] = struct.pack("<I", 1)
    at = data.index(struct.pack("<HHI", 259, 4, 1)) + 8
    data[at : at + 4] = struct.pack("<I", 8)  # packed: then each strip is read by itself
    path.write_bytes(data)
    return path


def npz(path: Path, shape: tuple[int, ...]) -> Path:
    """Arrays that declare a shape, and have no values."""
    with zipfile.ZipFile(path, "w") as file:
        for name in ("images", "masks"):
            held = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                held, {"shape": shape, "fortran_order": False, "descr": "<f8"}
            )
            file.writestr(f"{name}.npy", held.getvalue())
    return path


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def lint(path: Path) -> None:
    for _ in read_items(path, None, None)[0]:
        pass


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))
SQUARE = [[0, 0], [200, 0], [200, 200], [0, 200], [0, 0]]
_points = np.random.default_rng(0).uniform(0, 200, (10_000, 2)).tolist()
STAR = [*_points, _points[0]]
SAW = [[0, 0], *([200 - i % 2, i + 0.5] for i in range(100_000)), [0, 100_000], [0, 0]]


def outlines(*rings: list[Any]) -> str:
    """GeoJSON of a polygon for each ring."""
    shapes = [{"type": "Polygon", "coordinates": [ring]} for ring in rings]
    return json.dumps({"type": "GeometryCollection", "geometries": shapes})


def drawn(path: Path, height: int = 200) -> None:
    """Draw polygons on a picture."""
    classes_of_polygons(read_polygons(path), Placement(), (height, 200), ("ground", "house"))


READERS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    "PNG, bands": (lambda folder: png(folder / "x.png", 60_000, 60_000), read_bands),
    "PNG, labels": (lambda folder: png(folder / "x.png", 60_000, 60_000), read_label_picture),
    "PNG to predict on": (lambda folder: png(folder / "x.png", 60_000, 60_000), read_picture),
    "TIFF, bands": (lambda folder: tiff(folder / "x.tif", 60_000, 60_000), read_bands),
    "TIFF, labels": (lambda folder: tiff(folder / "x.tif", 60_000, 60_000), read_label_picture),
    "PNG with a chunk of 3 GB": (lambda folder: chunk(folder / "x.png", 0xC5000000), read_bands),
    "TIFF in a circle": (lambda folder: circle(folder / "x.tif"), read_bands),
    "TIFF in a circle, placed": (lambda folder: circle(folder / "x.tif"), placement),
    "TIFF of a million strips": (lambda folder: strips(folder / "x.tif", 400_000_000), read_bands),
    "TIFF with a tag of 4 GB": (lambda folder: tag(folder / "x.tif", 0xFFFFFFFF), read_label_picture),
    "npz": (lambda folder: npz(folder / "x.npz", (1 << 40,)), lint),
    "npz with less than it declares": (lambda folder: npz(folder / "x.npz", (1 << 20,)), lint),
    "GeoJSON of empty lists": (lambda folder: written(folder / "x.json", "[" + "[]," * 18_000_000 + "1]"), read_polygons),
    "GeoJSON in depth": (lambda folder: written(folder / "x.json", "[" * 1_000_000), read_polygons),
    "GeoJSON, collections in depth": (
        lambda folder: written(
            folder / "x.json", '{"type":"GeometryCollection","geometries":[' * 400 + "]}" * 400
        ),
        read_polygons,
    ),
    "config.json": (lambda folder: written(folder / "config.json", "[" * 1_000_000), read_config),
    "a list of names": (
        lambda folder: written(folder / "ImageSets/Segmentation/train.txt", "a\n" * 33_000_000).parents[2],
        lambda root: read_list(root, "train"),
    ),
    "a pipeline that laughs": (
        lambda folder: written(folder / "x.yaml", LAUGHS + "transform: *a39\n"), lambda path: Augmentation(str(path), 0)
    ),
    "a pipeline of merges": (
        lambda folder: written(folder / "x.yaml", MERGES + "transform: *a39\n"), lambda path: Augmentation(str(path), 0)
    ),
    "an outline that crosses itself everywhere": (lambda folder: written(folder / "x.json", outlines(STAR)), drawn),
    "polygons over one another": (lambda folder: written(folder / "x.json", outlines(*[SQUARE] * 20_000)), drawn),
    "a polygon of very many lines": (
        lambda folder: written(folder / "x.json", outlines(SAW)), lambda path: drawn(path, 200_000)
    ),
    "parity's JSON of empty lists": (
        lambda folder: written(folder / "x.json", "[" + "[]," * 18_000_000 + "1]"), lambda path: read_json(path, "a report")
    ),
    "parity's JSON in depth": (
        lambda folder: written(folder / "x.json", json.dumps(0).join(["[" * 100_000, "]" * 100_000])),
        lambda path: read_json(path, "a report"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_reader_refuses_before_it_makes_room(name: str, tmp_path: Path) -> None:
    make, read = READERS[name]
    path = make(tmp_path)
    with within(240 * MEGABYTE, 10), pytest.raises((DataError, UsageError)):
        read(path)


def test_what_the_processes_here_took() -> None:
    """Memory that Python does not count, such as a decoder's, would show here."""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 6 * MEGABYTE  # in KB
