"""The readers: what they are given, and the errors that their docstrings name."""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from datasets.bounds import survival
from datasets.errors import RunError
from parity.core.errors import UsageError
from tests.fuzz import seeds

SECONDS = 1
"""Of the processor that an input may take here: what never ends is stopped sooner, and more inputs are tried."""
FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
"""Where each input lies while it is read; in memory where the system has such a folder."""


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        read: reads bytes.
        seeds: makes sound inputs.
        clean: the errors that are its answer to what is not sound.
        share: of the inputs, relative to the others.
    """

    read: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    clean: tuple[type[Exception], ...] = (RunError,)
    share: int = 4


def file(data: bytes, name: str) -> Path:
    """The bytes as a file."""
    path = Path(FOLDER.name) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _report(data: bytes) -> None:
    from parity.report.repro.write import write

    file(seeds.tensors(), "t.safetensors")
    out = Path(FOLDER.name) / "script.py"
    write(file(data, "r.json"), 1, out)
    compile(out.read_text(encoding="utf-8"), "script.py", "exec")


def _tensors(data: bytes) -> None:
    from parity.report.repro.write import write

    file(data, "t.safetensors")
    write(file(seeds.report(), "r.json"), 1, Path(FOLDER.name) / "script.py")


def _mapping(data: bytes) -> None:
    from parity.cli.asked import read_mapping
    from parity.pairing.mapping import entries

    entries(read_mapping(file(data, "m.json")))


def _spec(data: bytes) -> None:
    from parity.adapters.spec import read_spec

    read_spec(data.decode("utf-8", "surrogateescape"))


def _sizes(data: bytes) -> None:
    from parity.cli.inputs import sizes_of

    sizes_of(data.decode("utf-8", "surrogateescape"))


def _polygons(data: bytes) -> None:
    from datasets.tiles import Placement, classes_of_polygons, read_polygons

    found = read_polygons(file(data, "x.json"))
    classes_of_polygons(found, Placement(), (24, 32), ("ground", "house"), "class", 1)


def _labels(data: bytes) -> None:
    from datasets.prediction.sources import read_picture
    from datasets.tiles import classes_of_labels, read_bands, read_label_picture
    from datasets.voc.files import read_image, read_labels

    path = file(data, "x.png")
    several: Sequence[Callable[[], object]] = (
        lambda: classes_of_labels(read_label_picture(path), ("ground", "house"), True, 1),
        lambda: read_bands(path),
        lambda: read_picture(path),
        lambda: read_labels(path),
        lambda: read_image(path),
    )
    _each(several)


def _tiff(data: bytes) -> None:
    from datasets.tiles import Scale, placement, read_bands, read_label_picture
    from datasets.tiles.pictures import colours_of

    path = file(data, "x.tif")

    def bands() -> None:
        pixels, _ = colours_of(read_bands(path))
        Scale.of(pixels, None)(pixels)

    _each((bands, lambda: read_label_picture(path), lambda: placement(path)))


def _each(several: Sequence[Callable[[], object]]) -> None:
    """All of them, whatever the first says; the last clean error is raised again."""
    last = None
    for one in several:
        try:
            one()
        except RunError as error:
            last = error
    if last is not None:
        raise last


def _voc(data: bytes) -> None:
    from datasets.voc.checking import check

    names, _, listed = data.partition(b"\n\n")
    root = Path(FOLDER.name) / "voc"
    for folder in ("JPEGImages", "SegmentationClass"):
        file(_pictures()[folder == "JPEGImages"], f"voc/{folder}/a.png")
    file(names, "voc/class_names.txt")
    file(listed, "voc/ImageSets/Segmentation/train.txt")
    str(check(root, ("train",)))


@cache
def _pictures() -> list[bytes]:
    found = seeds.pictures()
    return [found[0], found[2]]


def _cache(data: bytes) -> None:
    from datasets.purdue_shapes.cache import HEADER, open_cache

    if (
        len(data) > HEADER and data[-1] & 1
    ):  # as if the checksum were right: what comes after it must hold too
        words = data[8:HEADER].rstrip()
        data = b"%08x" % zlib.crc32(data[HEADER:], zlib.crc32(words)) + data[8:]
    found = open_cache(file(data, "x.cache"), seeds.SOURCE)
    if found is not None:
        assert len(found.boxes) == len(found.images) == len(found.masks)
        int(found.images.sum())


def _shapes(data: bytes) -> None:
    from datasets.purdue_shapes import load

    load(file(gzip.compress(data, 1), "x.gz"), cache=False, max_bytes=1 << 22)


def _gzip(data: bytes) -> None:
    from datasets.purdue_shapes import load

    load(file(data, "x.gz"), cache=False, max_bytes=1 << 22)


def _npz(data: bytes) -> None:
    from datasets.lint.files import read_items
    from datasets.lint.linter import Linter

    items, own = read_items(file(data, "x.npz"), None, None)
    linter = Linter(**{"classes": None, "ignore": 255, **own})
    for item in items:
        linter.add(item)
    for problem in linter.problems():
        str(problem)


def _config(data: bytes) -> None:
    from datasets.prediction.command import configuration
    from datasets.prediction.reading import Reading

    path = file(data, "config.json")
    flags = dict.fromkeys(("skip_connections", "depth", "head", "schedule", "dtype"))
    config = configuration(argparse.Namespace(config=path, checkpoint=path, **flags))
    Reading.of(config)
    json.dumps(config)


def _pipeline(data: bytes) -> None:
    from datasets.training.augment import Augmentation

    Augmentation(str(file(data, "x.json")), 0)
    Augmentation(str(file(data, "x.yaml")), 0)


def _torch(data: bytes) -> None:
    from torch_impl import checkpoints

    checkpoints.load_weights(_linear(), file(data, "x.pt"))
    file(data, checkpoints.STATE)
    checkpoints.read_progress(Path(FOLDER.name))


def _safetensors(data: bytes) -> None:
    from parity.weights.checkpoint import load_weights

    load_weights(_linear(), file(data, "x.safetensors"))


@cache
def _linear() -> Any:
    import torch

    return torch.nn.Linear(3, 2)


def _torch_seeds() -> list[bytes]:
    import torch

    new = seeds.written("x.pt", lambda path: torch.save(_linear().state_dict(), path))
    old = seeds.written(
        "x.pt", lambda path: torch.save(_linear().state_dict(), path, _use_new_zipfile_serialization=False)
    )
    return [new, old]


def _safetensors_seeds() -> list[bytes]:
    from safetensors.torch import save

    return [save(_linear().state_dict())]


def _hdf5(data: bytes) -> None:
    from tf_impl import checkpoints

    checkpoints.load_weights(_dense(), file(data, "x.weights.h5"))
    file(data, checkpoints.STATE)
    checkpoints.read_progress(Path(FOLDER.name))


@cache
def _dense() -> Any:
    import keras

    return keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])


def _hdf5_seeds() -> list[bytes]:
    from tf_impl import checkpoints

    return [seeds.written("x.weights.h5", lambda path: checkpoints.save_weights(_dense(), path))]


USAGE = (UsageError, OSError)
READERS: dict[str, Reader] = {
    "report": Reader(_report, lambda: [seeds.report()], USAGE, 8),
    "report's tensors": Reader(_tensors, lambda: [seeds.tensors()], USAGE),
    "mapping": Reader(_mapping, lambda: [b'{"head": "classifier.4", "a": ["b", "c"]}'], USAGE),
    "model's name": Reader(_spec, lambda: [b"json:Name(1, depth=8)", b"a.py:f('x', [1, 2])"], (UsageError,)),
    "sizes": Reader(_sizes, lambda: [b"2x65x96x3", b"1x1"], (UsageError,)),
    "polygons": Reader(_polygons, seeds.geojson, share=8),
    "pictures": Reader(_labels, seeds.pictures),
    "TIFF": Reader(_tiff, seeds.tiffs, share=2),
    "VOC folder": Reader(_voc, lambda: [b"__ignore__\nbackground\nhouse\n\na\n", b"background\nx\n\na\nb\n"]),
    "pixel cache": Reader(_cache, lambda: [seeds.cache()], ()),
    "shapes": Reader(_shapes, seeds.shapes, share=12),
    "shapes' gzip": Reader(_gzip, lambda: [gzip.compress(each) for each in seeds.shapes()]),
    "npz": Reader(_npz, lambda: [seeds.npz()]),
    "config.json": Reader(_config, lambda: [seeds.config()], share=8),
    "pipeline": Reader(_pipeline, lambda: [seeds.pipeline()]),
    "torch weights": Reader(_torch, _torch_seeds),
    "safetensors": Reader(_safetensors, _safetensors_seeds, USAGE),
    "HDF5 weights": Reader(_hdf5, _hdf5_seeds, share=1),
}  # fmt: skip


def crash_of(reader: Reader, data: bytes) -> str | None:
    """What the reader should not have done with an input, as text; None where it did right."""
    try:
        with warnings.catch_warnings(), patch.object(survival, "SECONDS", SECONDS):
            warnings.simplefilter("ignore")
            reader.read(data)
    except reader.clean:
        return None
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "nowhere"
        return f"{type(error).__name__} at {'/'.join(Path(place).parts[-3:])}: {str(error)[:200]}"
    return None
