"""What there is to predict on: a picture, a folder of them, or a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError
from datasets.files import extra, opened_picture
from datasets.purdue_shapes import Data
from datasets.training.runs import load_part
from datasets.voc.colours import NAMES
from datasets.voc.files import LISTS, picture_paths
from datasets.voc.folder import Voc

Bytes: TypeAlias = NDArray[np.uint8]
Source: TypeAlias = Data | Voc | list[Path]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, eq=False)
class Picture:
    """One image to predict on, (H, W, 3), its place among all, and the name of its results."""

    index: int
    name: str
    source: str
    image: Bytes


def read_data(path: Path) -> Source:
    """What to predict on: a data set, the list val of a folder in VOC's layout, or paths of pictures.

    Raises:
        DataError: nothing there that can be read.
    """
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return [path]
    if (path / LISTS).is_dir() or (path / NAMES).is_file():
        return Voc(path, "val", crop=(1, 1))
    if path.is_dir() and not any(path.glob("*test*.gz")):
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if found:
            return found
    return load_part(path, "test")


def pictures_of(data: Source, limit: int | None) -> Iterator[Picture]:
    """The images one after another; those of a folder are read when they are needed."""
    if isinstance(data, Data):
        for index, image in enumerate(data.images[:limit]):
            yield Picture(index, f"{index:05d}", "", image)
        return
    if isinstance(data, Voc):
        for index, name in enumerate(data.names[:limit]):
            yield Picture(index, name, picture_paths(data.root, name)[0].name, data.load(index)[0])
        return
    stems = [path.stem for path in data]
    for index, path in enumerate(data[:limit]):
        alone = stems.count(path.stem) == 1
        yield Picture(
            index, path.stem if alone else path.name.replace(".", "_"), path.name, read_picture(path)
        )


def read_picture(path: Path) -> Bytes:
    """The pixels of a PNG, JPEG or other picture, upright, without transparency.

    Shapes: returns (H, W, 3).
    Raises:
        DataError: no picture of 8 bits a channel.
    """
    with opened_picture(path) as picture:
        mode = picture.mode
        pixels = np.array(extra("PIL.ImageOps").exif_transpose(picture).convert("RGB"))
    if mode.startswith(("I", "F")):  # conversion would cut 16 bits off at 255
        raise DataError(
            f"a picture must have 8 bits a channel; got mode={mode} at {path}. Scale it to 0..255."
        )
    return pixels


def batches_of_one_size(pictures: Iterable[Picture], batch_size: int) -> Iterator[list[Picture]]:
    """Pictures of equal size in batches: a batch as soon as it is full, then what is left."""
    waiting: dict[tuple[int, ...], list[Picture]] = {}
    for picture in pictures:
        batch = waiting.setdefault(picture.image.shape, [])
        batch.append(picture)
        if len(batch) == batch_size:
            yield waiting.pop(picture.image.shape)
    yield from waiting.values()
