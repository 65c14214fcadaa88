"""Where tiles of a picture lie, and writing them in VOC's layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.errors import SettingsError
from datasets.files import extra, replacing
from datasets.voc.colours import NAMES, colour_map
from datasets.voc.files import LISTS, Size, read_list
from datasets.voc.names import read_classes

Bytes: TypeAlias = NDArray[np.uint8]
SIDES = ("right", "bottom")
KEPT = ("right", 0.25)


@dataclass(frozen=True)
class Part:
    """The tiles of one list.

    Args:
        name: of the list, train or val.
        rows, columns: of the picture that belong to it: the first, and the one after the last.
        tile: H and W of each tile.
        corners: row and column of each tile's first pixel.
    """

    name: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    tile: Size
    corners: tuple[tuple[int, int], ...]


def parts_of(
    size: Size, tile: Size, stride: Size | None = None, kept: tuple[str, float] = KEPT
) -> list[Part]:
    """Where the tiles of the lists train and val lie; no pixel is in both lists.

    Tiles are next to each other; in the list train they start every `stride` pixels. Where the last tiles would
    leave their part, they are moved back to its edge and overlap their neighbours.

    Args:
        size: H and W of the picture.
        tile: H and W of a tile.
        stride: from one tile's first row and column to the next one's in the list train; the tile's own size,
            when left out.
        kept: the side, right or bottom, and the share 0..1 of the picture at it that goes to the list val. With 0
            or 1 one list gets it all.
    Returns: the parts that have a tile.
    Raises:
        SettingsError: a number out of range, or a part that is smaller than a tile.
    """
    (side, share), (height, width) = kept, size
    stride = tile if stride is None else stride
    for name, pair in (("size", tile), ("stride", stride)):
        if min(pair) < 1:
            raise SettingsError(f"{name} must be 1 or more pixels each; got {name}={pair}. Give H and W.")
    if side not in SIDES or not 0 <= share <= 1:
        raise SettingsError(
            f"kept must be {' or '.join(SIDES)} and a share of 0..1; got kept={side} {share:g}. Try right 0.25."
        )
    first = round((width if side == "right" else height) * (1 - share))
    rows = ((0, height), (0, height)) if side == "right" else ((0, first), (first, height))
    columns = ((0, first), (first, width)) if side == "right" else ((0, width), (0, width))
    parts = []
    for name, down, across, step in zip(("train", "val"), rows, columns, (stride, tile), strict=True):
        room = down[1] - down[0], across[1] - across[0]
        if not min(room):
            continue
        if room[0] < tile[0] or room[1] < tile[1]:
            raise SettingsError(
                f"the part for {name} must hold a tile of {tile[0]}x{tile[1]}; got {room[0]}x{room[1]} pixels of "
                f"{height}x{width} with kept={side} {share:g}. Give smaller tiles, or another share."
            )
        tops, lefts = (
            sorted({*range(low, high - length + 1, move), high - length})
            for (low, high), length, move in zip((down, across), tile, step, strict=True)
        )
        parts.append(Part(name, down, across, tile, tuple((top, left) for top in tops for left in lefts)))
    return parts


def bordered(instances: NDArray[np.integer], width: int) -> NDArray[np.bool_]:
    """The pixels of an instance that have a pixel of another instance within reach.

    Shapes: instances (H, W), 0 for the background; returns (H, W).
    Args:
        instances: numbers of 0 or more.
        width: reach in pixels, along rows and columns; 1 marks the rims of touching instances, 0 nothing.
    """
    if width == 0:
        return np.zeros(instances.shape, bool)
    instances = instances.astype(np.int64)
    filters, reach = extra("scipy.ndimage", "tiles"), 2 * width + 1
    objects = np.where(instances > 0, instances, instances.max() + 1)
    greatest = filters.maximum_filter(
        instances, reach, mode="nearest"
    )  # at the rim nothing but what is there
    least = filters.minimum_filter(objects, reach, mode="nearest")
    return np.asarray((instances > 0) & (greatest != least))


def cut(
    image: Bytes,
    labels: Bytes,
    parts: Sequence[Part],
    names: Sequence[str],
    root: Path,
    name: str,
    scale: Callable[[NDArray[Any]], Bytes] | None = None,
) -> None:
    """Write the tiles of a picture: JPEGImages/*.png, SegmentationClass/*.png, the lists and class_names.txt.

    The folder may hold tiles of other pictures with the same classes; these are added.

    Shapes: image (H, W, 1) or (H, W, 3); labels (H, W).
    Args:
        image: grey, or red, green and blue: bytes, or what `scale` makes bytes of.
        labels: class indices, and 255 where a pixel has no class.
        parts: from `parts_of`.
        names: of the classes, the background's first.
        root: the folder.
        name: what the tiles' names begin with.
        scale: gives the bytes of a tile, such as a `Scale`; a whole picture of them might not fit in memory.
    Raises:
        SettingsError: a name that is none, a folder with other classes, or with tiles of that name in its lists.
    """
    name = "_".join(name.split())  # a list has one word a line
    if name in ("", "..") or Path(name).name != name:
        raise SettingsError(f"--name must be a word, without a folder; got {name!r}. Give another one.")
    lists = {part: _listed(root, part) for part in ("train", "val")}
    made = {part.name: [f"{name}_{top:05}_{left:05}" for top, left in part.corners] for part in parts}
    _check_folder(
        root, names, {*lists["train"], *lists["val"]} & {each for new in made.values() for each in new}
    )
    for folder in ("JPEGImages", "SegmentationClass", LISTS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    pillow, palette = extra("PIL.Image", "tiles"), colour_map().ravel().tolist()
    for part in parts:
        for each, (top, left) in zip(made[part.name], part.corners, strict=True):
            piece = slice(top, top + part.tile[0]), slice(left, left + part.tile[1])
            pixels = scale(image[piece]) if scale else image[piece]
            colours = np.ascontiguousarray(np.broadcast_to(pixels, (*part.tile, 3)))
            with replacing(root / "JPEGImages" / f"{each}.png") as partial:
                pillow.fromarray(colours).save(partial)
            picture = pillow.fromarray(np.ascontiguousarray(labels[piece]))
            picture.putpalette(palette)
            with replacing(root / "SegmentationClass" / f"{each}.png") as partial:
                picture.save(partial)
    _write_lines(root / NAMES, names)
    every = {part: [*lists[part], *made.get(part, ())] for part in lists}
    for part_name, lines in {**every, "trainval": [*every["train"], *every["val"]]}.items():
        if lines:
            _write_lines(root / LISTS / f"{part_name}.txt", lines)


def _check_folder(root: Path, names: Sequence[str], there: set[str]) -> None:
    """Refuse a folder whose lists have the tiles already, or that has other classes."""
    if there:
        raise SettingsError(
            f"a picture must be cut once into a folder; got {len(there)} tiles that are in its lists, such as "
            f"{min(there)}, at {root}. Give another --out, or --name for another picture of that name."
        )
    if (root / NAMES).exists() and read_classes(root) != tuple(names):
        raise SettingsError(
            f"a folder must have one list of classes; got {', '.join(names)}, but {', '.join(read_classes(root))} "
            f"in {root / NAMES}. Give another --out."
        )


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with replacing(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _listed(root: Path, part: str) -> tuple[str, ...]:
    """The names that a list has by now."""
    return read_list(root, part) if (root / LISTS / f"{part}.txt").exists() else ()
