"""Reads what `datasets.lint` looks at: shapes files, .npz files, and folders of images and masks."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datasets.bounds.damaged import DamagedFile
from datasets.errors import DataError, DatasetError, MissingExtra, RunError, SettingsError
from datasets.files import opened_picture
from datasets.purdue_shapes import CLASSES, MASK_VALUES, load

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")
LOSSY = (".jpg", ".jpeg", ".webp")
LARGEST = 2 * 2**30  # bytes of one array
# Folders that hold images, and those that hold masks, in the order in which they are looked for.
IMAGES = ("images", "image", "imgs", "img", "JPEGImages")
MASKS = ("masks", "mask", "labels", "annotations", "SegmentationClass", "gt")
ENDINGS = ("_mask", "-mask", "_label", "_labels", "_gt", "_seg")


class Item(NamedTuple):
    """One image with its mask and boxes, and what was wrong with their files, as (code, got)."""

    place: str
    image: NDArray[Any] | None
    mask: NDArray[Any] | None
    boxes: Sequence[Any] | None = None
    faults: tuple[tuple[str, str], ...] = ()


def read_items(path: Path, images: str | None, masks: str | None) -> tuple[Iterator[Item], dict[str, Any]]:
    """The items of a file or a folder, and what is known of its classes (a Linter's arguments).

    Raises:
        DataError: nothing there that can be looked at.
    """
    if path.is_dir():
        files = sorted(path.glob("*.gz"))
        if files and images is None and masks is None:
            return (item for file in files for item in _shapes(file, f"{file.name} ")), _SHAPES
        return _pictures(path, *_folders(path, images, masks)), {}
    if not path.is_file():
        raise DataError(f"DATA must be a file or a folder; got {path}. Check the path.")
    if path.suffix == ".npz":
        return _arrays(path), {}
    return _shapes(path, ""), _SHAPES


_SHAPES = {"classes": CLASSES, "values": MASK_VALUES}


def _shapes(path: Path, prefix: str) -> Iterator[Item]:
    """The records of a shapes file; all that its reader refuses is one item with a fault."""
    try:
        data = load(path)
    except DatasetError as error:
        first, *rest = str(error).splitlines()
        if not rest:
            raise DataError(first) from error
        yield Item(path.name, None, None, faults=tuple(("broken-record", line.strip()) for line in rest[:-1]))
        return
    for i in range(len(data)):
        yield Item(f"{prefix}image {i}", data.images[i], data.masks[i], data.boxes[i])


def _arrays(path: Path) -> Iterator[Item]:
    """The arrays `images` and `masks` of an .npz file, each of at most 2 GiB."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [_checked_array(archive, info) for info in archive.infolist()]
        with np.load(path) as file:
            images, masks = (file[name] if name in names else None for name in ("images", "masks"))
    except RunError:
        raise
    except Exception as error:  # NumPy and zipfile raise anything on a damaged file
        raise DataError(f"{path} must be an .npz file of plain arrays; got {error}.") from error
    if images is None or masks is None:
        raise DataError(f"{path} must hold images and masks; got {names}. Name the arrays so.")
    if not images.ndim or not masks.ndim or len(images) != len(masks):
        raise DataError(
            f"{path} must hold as many masks as images; got shapes {images.shape} and {masks.shape}."
        )
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        yield Item(f"image {i}", image, mask)


def _checked_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """The name of an array, once it is known to take as much memory as the file says, and that to be in bounds."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        head = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = head(member)
        size = math.prod(shape) * dtype.itemsize
    if size > min(info.file_size, LARGEST):
        raise DamagedFile(
            f"{info.filename} of {shape} {dtype}: more than {LARGEST} bytes, or than the file has"
        )
    return info.filename.removesuffix(".npy")


def _folders(path: Path, images: str | None, masks: str | None) -> tuple[Path, Path]:
    """The folders of the images and of the masks; one folder may be both, with masks named x_mask.png."""
    found = []
    for given, usual, name in ((images, IMAGES, "images"), (masks, MASKS, "masks")):
        tried = [path / given] if given else [path / one for one in usual]
        there = [one for one in tried if one.is_dir()]
        if given and not there:
            raise SettingsError(f"--{name} must be a folder in DATA; got {given}. Check the name.")
        found.append(there[0] if there else path)
    return found[0], found[1]


def _pictures(root: Path, images: Path, masks: Path) -> Iterator[Item]:
    """Images and masks of the same name."""
    separate = images != masks
    pairs: dict[str, dict[str, Path]] = {}
    for folder, kind in ((images, "image"), (masks, "mask")) if separate else ((images, ""),):
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() not in SUFFIXES:
                continue
            ending = next((end for end in ENDINGS if file.stem.endswith(end)), "")
            own = kind or ("mask" if ending else "image")
            stem = file.stem.removesuffix(ending) if own == "mask" else file.stem
            pairs.setdefault(stem, {})[own] = file
    if not any("mask" in pair for pair in pairs.values()):
        raise DataError(
            f"DATA must hold images/ and masks/, or x.png next to x_mask.png; got {root}. "
            "Name the folders with --images and --masks."
        )
    for stem, pair in sorted(pairs.items()):
        faults: list[tuple[str, str]] = []
        if len(pair) < 2:
            faults.append(("unpaired", f"no {'mask' if 'image' in pair else 'image'} for {stem}"))
        image = _open(pair.get("image"), faults, mask=False)
        mask = _open(pair.get("mask"), faults, mask=True)
        named = pair["mask"] if "mask" in pair else pair["image"]
        yield Item(str(named.relative_to(root)), image, mask, faults=tuple(faults))


def _open(path: Path | None, faults: list[tuple[str, str]], mask: bool) -> NDArray[Any] | None:
    """The pixels of a picture, as they are stored: no colour is converted."""
    if path is None:
        return None
    if mask and path.suffix.lower() in LOSSY:
        faults.append(("lossy-mask", path.suffix))
    try:
        with opened_picture(path) as picture:
            if picture.mode == "P":
                if not mask:
                    return np.asarray(picture.convert("RGB"))
                faults.append(("palette-mask", "a palette"))
            return np.asarray(picture)
    except MissingExtra:
        raise
    except DataError as error:
        faults.append(("unreadable", f"{path.name}: {error}"))
        return None
