"""Checks VOC's folder: counts images and pixels of each class, and lists everything that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError
from datasets.files import extra
from datasets.voc.colours import CLASSES, VOID
from datasets.voc.files import Size, picture_paths, read_list, read_pair
from datasets.voc.names import read_classes


@dataclass
class Found:
    """What a folder holds.

    Shapes: pixels, images (classes + 1,): of each class, and of the border at the end.
    Args:
        crop: H and W below which images count as small.
        classes: their names; VOC's, when left out.
        counts: images of each part, and those of them that are no smaller than the crop.
        pixels: over all parts, each image once.
        images: how many have a pixel of the class.
        read: how many images could be read.
        faults: everything that is wrong, one line each.
    """

    crop: Size
    classes: tuple[str, ...] = CLASSES
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    pixels: NDArray[np.int64] = field(init=False)
    images: NDArray[np.int64] = field(init=False)
    read: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pixels, self.images = np.zeros((2, len(self.classes) + 1), np.int64)

    def __str__(self) -> str:
        height, width = self.crop
        lines = [
            f"{part:12} {count:6,} images, {large:6,} of at least {height}x{width} pixels"
            for part, (count, large) in self.counts.items()
        ]
        total = max(int(self.pixels.sum()), 1)
        names = [*self.classes, "border"]
        room = max(12, *map(len, names))
        lines.append(f"{'class':{room}} {'pixels':>13} {'share':>8} {'images':>7}")
        for name, pixels, images in zip(names, self.pixels, self.images, strict=True):
            lines.append(f"{name:{room}} {pixels:13,} {pixels / total:8.2%} {images:7,}")
        lines.append(f"{self.read:,} images read, {len(self.faults)} faults")
        return "\n".join(lines)


def check(
    root: str | Path, parts: Sequence[str] = ("train", "val", "trainval"), crop: Size = (320, 480)
) -> Found:
    """Read every image and label of a VOC folder once, and go on after faults.

    Args:
        root: the folder that holds JPEGImages, SegmentationClass, ImageSets, and perhaps class_names.txt.
        parts: lists in ImageSets/Segmentation.
        crop: H and W for the count of large images.
    Raises:
        MissingExtra: Pillow is not installed.
        DataError: a class_names.txt that names no classes.
    """
    root = Path(root)
    found = Found(crop, read_classes(root))
    extra("PIL.Image")
    lists: dict[str, tuple[str, ...]] = {}
    for part in parts:
        try:
            lists[part] = read_list(root, part)
        except DataError as error:
            found.faults.append(str(error))
    _compare(lists, found)
    sizes: dict[str, Size] = {}
    for name in dict.fromkeys(name for names in lists.values() for name in names):
        missing = [path for path in picture_paths(root, name) if not path.is_file()]
        if missing:
            found.faults += [
                f"every image of the lists must be there with its label; got no {path}" for path in missing
            ]
            continue
        try:
            image, labels = read_pair(root, name, found.classes)
        except DataError as error:
            found.faults.append(str(error))
            continue
        sizes[name] = (image.shape[0], image.shape[1])
        counts = np.bincount(labels.ravel(), minlength=VOID + 1)[[*range(len(found.classes)), VOID]]
        found.pixels += counts
        found.images += counts > 0
        found.read += 1
    for part, names in lists.items():
        large = sum(
            name in sizes and sizes[name][0] >= crop[0] and sizes[name][1] >= crop[1] for name in names
        )
        found.counts[part] = (len(names), large)
    if found.read and found.images[-1] and not found.images[1:-1].any():
        found.faults.append(
            f"labels must hold the index of a class; got 0 and {VOID} alone, and {VOID} is no class but what is left "
            "out. Write 1 for the first class, as python -m datasets.tiles --instances does"
        )
    return found


def _compare(lists: dict[str, tuple[str, ...]], found: Found) -> None:
    """Note images that are trained on and tested on, and a trainval that is not both together."""
    train, val = set(lists.get("train", ())), set(lists.get("val", ()))
    if both := sorted(train & val):
        found.faults.append(
            f"train and val must have no image in common; got {len(both)}, the first {both[0]}"
        )
    if train and val and "trainval" in lists and (differ := sorted((train | val) ^ set(lists["trainval"]))):
        found.faults.append(
            f"trainval must be train and val together; got {len(differ)} images that differ, the first {differ[0]}"
        )
