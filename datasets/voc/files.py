"""VOC's folder: its lists, and the pictures that they name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError
from datasets.files import opened_picture, read_within
from datasets.voc.colours import CLASSES, check_indices, colours_to_labels

Bytes: TypeAlias = NDArray[np.uint8]
Size: TypeAlias = tuple[int, int]  # H, W
PARTS = ("train", "val", "trainval")
LISTS = Path("ImageSets") / "Segmentation"
LISTED = 16 * 2**20  # bytes of the largest list
LONGEST = 200  # characters of a name; systems have no longer ones with a suffix
SHOWN = 5  # files that one error names


def read_list(root: Path, part: str) -> tuple[str, ...]:
    """The names of a part's images, in the list's order.

    Args:
        root: the folder that holds JPEGImages, SegmentationClass and ImageSets.
        part: train, val, trainval, or the name of another list there; the list may have 16 MiB.
    Raises:
        DataError: no list, an empty one, or lines that are not one new name each.
    """
    path = root / LISTS / f"{part}.txt"
    try:
        lines = read_within(path, LISTED).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error
        raise DataError(
            f"a VOC folder must have the list {LISTS / part}.txt; got {reason} at {path}. {_advice(root)}."
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise DataError(f"a list must name an image; got none in {path}. Write a name a line.")
    seen: set[str] = set()
    for name in names:
        if len(name.split()) > 1 or Path(name).name != name or len(name) > LONGEST:
            raise DataError(
                f"a list must have one name a line, without folder and suffix; got {name[:80]!r} in {path}. "
                "Write 2007_000032 and the like."
            )
        if name in seen:
            raise DataError(f"a list must name an image once; got {name} twice in {path}. Take one out.")
        seen.add(name)
    return tuple(names)


def _advice(root: Path) -> str:
    """What to give in place of a folder or list that is not there."""
    for inner in ("VOC2012", "VOCdevkit/VOC2012"):
        if (root / inner / LISTS).is_dir():
            return f"Give {root / inner}"
    if found := sorted(path.stem for path in (root / LISTS).glob("*.txt")):
        return f"It has {', '.join(found[:SHOWN])}"
    return "Give the folder that holds JPEGImages, as VOC2012 does"


def picture_paths(root: Path, name: str) -> tuple[Path, Path]:
    """Where an image and its label picture are; an image is a .jpg, or a .png where there is no .jpg."""
    image, label = root / "JPEGImages" / f"{name}.jpg", root / "SegmentationClass" / f"{name}.png"
    if not image.is_file() and image.with_name(f"{name}.png").is_file():
        image = image.with_name(f"{name}.png")
    return image, label


def sizes_of(root: Path, names: tuple[str, ...]) -> NDArray[np.int64]:
    """The sizes of all images, from the heads of their files; nothing is decoded.

    Shapes: returns (N, 2), H and W.
    Raises:
        DataError: pictures that are missing or cannot be opened, or labels of another size than their image.
    """
    missing = [str(path) for name in names for path in picture_paths(root, name) if not path.is_file()]
    if missing:
        raise DataError(
            f"every image of the list must be there with its label picture; got {len(missing)} files missing: "
            f"{_some(missing)}. Unpack the data set again, or take the names out of the list."
        )
    sizes = [[size_of(path) for path in picture_paths(root, name)] for name in names]
    differ = [
        f"{name} {image[0]}x{image[1]} and {label[0]}x{label[1]}"
        for name, (image, label) in zip(names, sizes, strict=True)
        if image != label
    ]
    if differ:
        raise DataError(
            f"image and label must be of one size (HxW); got {len(differ)} that differ: {_some(differ)} in {root}. "
            "Take both from the same release."
        )
    return np.array([image for image, _ in sizes], np.int64)


def size_of(path: Path) -> Size:
    """H and W of a picture, from the head of its file."""
    with opened_picture(path) as picture:
        return int(picture.size[1]), int(picture.size[0])


def read_image(path: Path) -> Bytes:
    """An image's pixels, as they are stored: a label belongs to these, so that no turn by a camera's note is made.

    Shapes: returns (H, W, 3).
    Raises:
        DataError: no picture that Pillow reads, or more than 8 bits a channel.
    """
    with opened_picture(path) as picture:
        if picture.mode.startswith(("I", "F")):  # conversion would cut 16 bits off at 255
            raise DataError(
                f"an image must have 8 bits a channel; got mode={picture.mode} at {path}. Scale it to 0..255, as "
                "python -m datasets.tiles does."
            )
        return np.array(picture.convert("RGB"))


def read_labels(path: Path, classes: Sequence[str] = CLASSES) -> Bytes:
    """The class indices of a label picture: palette and grey pictures hold them, RGB ones their colours.

    Shapes: returns (H, W).
    Args:
        path: of the picture.
        classes: their names; VOC's, when left out.
    Returns: 0..len(classes) - 1, and 255 on the border.
    Raises:
        DataError: no picture, another mode, an index or a colour of no class, or a palette that contradicts.
    """
    with opened_picture(path) as picture:
        mode, pixels = picture.mode, np.array(picture)
        palette = picture.getpalette("RGB") if mode == "P" else None
    if mode == "RGB":
        return colours_to_labels(pixels, str(path), classes)
    if mode not in ("P", "L"):
        raise DataError(
            f"a label picture must have a palette, 8 bits of grey that are indices, or RGB colours; got mode={mode} "
            f"at {path}. Save it as one of these."
        )
    check_indices(pixels, palette, str(path), classes)
    return pixels


def read_pair(root: Path, name: str, classes: Sequence[str] = CLASSES) -> tuple[Bytes, Bytes]:
    """A whole image and its indices of the classes.

    Shapes: returns (H, W, 3) and (H, W).
    Raises:
        DataError: pictures that cannot be read, or of two sizes.
    """
    image_path, label_path = picture_paths(root, name)
    image, labels = read_image(image_path), read_labels(label_path, classes)
    if image.shape[:2] != labels.shape:
        raise DataError(
            f"image and label must be of one size (HxW); got {image.shape[:2]} and {labels.shape} at {label_path}. "
            "Take both from the same release."
        )
    return image, labels


def _some(places: list[str]) -> str:
    more = len(places) - SHOWN
    return ", ".join(places[:SHOWN]) + (f" and {more} more" if more > 0 else "")
