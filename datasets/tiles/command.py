"""Cuts a large annotated picture into a folder in VOC's layout, on which both halves train.

`python -m datasets.tiles IMAGE --labels LABELS --names background nucleus --size 128 128 --out ROOT`
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.claims import claimed
from datasets.errors import DataError, SettingsError
from datasets.exits import exit_code
from datasets.tiles.cutting import KEPT, SIDES, Part, bordered, cut, parts_of
from datasets.tiles.pictures import PERCENTILES, Scale, colours_of, read_bands, read_label_picture
from datasets.tiles.polygons import Placement, Polygons, placement, rasterised, read_polygons
from datasets.voc.colours import VOID
from datasets.voc.names import check_names

Bytes: TypeAlias = NDArray[np.uint8]


def classes_of_labels(
    values: NDArray[np.integer],
    names: Sequence[str],
    instances: bool = False,
    border: int = 0,
    where: str = "it",
) -> Bytes:
    """The class indices of a label picture.

    Shapes: values (H, W); returns the same.
    Args:
        values: class indices, and 255 where a pixel has no class; or with `instances` a number for each object.
        names: of the classes, the background's first.
        instances: whether every value above 0 is an object of class 1.
        border: pixels of an object within this distance of another one become 255, see `bordered`.
        where: what an error calls the picture.
    Raises:
        DataError, SettingsError: values that are no class's, or arguments that do not go together.
    """
    if border and not instances:
        raise SettingsError(
            f"--void-border must have objects; got {border} with class indices. Give --instances."
        )
    if instances:
        _check_one(names, "--instances")
        labels = (values > 0).astype(np.uint8)
        labels[bordered(values, border)] = VOID
        return labels
    wrong = (values != VOID) & (values >= len(names))
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        raise DataError(
            f"labels must be in 0..{len(names) - 1} or {VOID}; got {values[row, column]} in row {row}, column {column} "
            f"of {where}, and {np.count_nonzero(wrong)} such pixels in all. Name every class with --names, or give "
            "--instances where the values are numbers of objects."
        )
    if values.max() == VOID and not ((values > 0) & (values < VOID)).any():
        raise DataError(
            f"labels must hold the index of a class; got 0 and {VOID} alone in {where}, and {VOID} is no class. Give "
            "--instances for a mask: all above 0 is class 1."
        )
    return values.astype(np.uint8)


def classes_of_polygons(
    polygons: Polygons,
    place: Placement,
    size: tuple[int, int],
    names: Sequence[str],
    key: str | None = None,
    border: int = 0,
) -> tuple[Bytes, list[int]]:
    """The class indices that polygons give to pixels; where several overlap, the last one in the file.

    Shapes: returns (H, W), and the pixels of each polygon.
    Args:
        polygons: from `read_polygons`.
        place: where the picture lies, from `placement`; `Placement()` where the polygons are pixels already.
        size: H and W of the picture.
        names: of the classes, the background's first.
        key: the property that holds a polygon's class, by name or index; without it all are class 1.
        border: pixels of a polygon within this distance of another one become 255, see `bordered`.
    Raises:
        DataError, SettingsError: a polygon of no class, or what `rasterised` refuses.
    """
    if key is None:
        _check_one(names, "polygons without --property")
        indices = [1] * len(polygons.shapes)
    else:
        indices = [_index(own.get(key), names, key, polygons.where) for own in polygons.properties]
    found, counts = rasterised(polygons, place, size)
    labels = np.array([0, *indices], np.uint8)[found]
    labels[bordered(found, border)] = VOID
    return labels, counts


def _check_one(names: Sequence[str], what: str) -> None:
    if len(names) != 2:
        raise SettingsError(
            f"{what} must have two names, the background and a class; got {', '.join(names)}. Leave the others out."
        )


def _index(value: Any, names: Sequence[str], key: str, where: str) -> int:
    """The class of a feature by its property's value."""
    text = str(value).strip()
    if text in names:
        return names.index(text)
    if not isinstance(value, bool) and re.fullmatch("[0-9]{1,3}", text) and int(text) < len(names):
        return int(text)
    raise DataError(
        f"a polygon's {key} must be one of {', '.join(names)}, or an index of them; got {value!r} at {where}. "
        "Name every class with --names."
    )


def _flags() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m datasets.tiles", description="Cut an annotated picture into a folder for training."
    )
    parser.add_argument(
        "image", type=Path, metavar="IMAGE", help="8 or 16 bits, grey or RGB; TIFF, PNG, JPEG"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="ROOT", help="a new folder, or one to add to"
    )
    parser.add_argument(
        "--names",
        nargs="+",
        required=True,
        metavar="NAME",
        help="of the classes by index, the background's first",
    )
    truth = parser.add_argument_group("the truth").add_mutually_exclusive_group(required=True)
    truth.add_argument(
        "--labels", type=Path, metavar="FILE", help="a picture of class indices, 255: no class"
    )
    truth.add_argument("--polygons", type=Path, metavar="FILE", help="GeoJSON, in the GeoTIFF's coordinates")
    more = parser.add_argument_group("how it is read")
    more.add_argument(
        "--instances", action="store_true", help="labels number objects: all above 0 is class 1"
    )
    more.add_argument(
        "--void-border",
        type=int,
        default=0,
        metavar="N",
        help="255 for objects' pixels so near to another object",
    )
    more.add_argument("--pixels", action="store_true", help="polygons are columns and rows of the picture")
    more.add_argument("--property", metavar="KEY", help="the polygons' property that holds the class")
    rule = parser.add_argument_group(
        "values that become 0..255; default: 8 bits as they are, others by --percentiles "
        + " ".join(f"{value:g}" for value in PERCENTILES)
    ).add_mutually_exclusive_group()
    for name, text in (
        ("percentiles", "of the part that is trained on"),
        ("values", "in the picture's units"),
    ):
        rule.add_argument(f"--{name}", type=float, nargs=2, metavar=("LOW", "HIGH"), help=text)
    rule.add_argument("--full-range", action="store_true", help="all that the type can hold")
    tiles = parser.add_argument_group("tiles")
    tiles.add_argument("--size", type=int, nargs=2, required=True, metavar=("H", "W"), help="of a tile")
    tiles.add_argument(
        "--stride", type=int, nargs=2, metavar=("H", "W"), help="of the list train; default: size"
    )
    tiles.add_argument(
        "--kept",
        nargs=2,
        default=(KEPT[0], str(KEPT[1])),
        metavar=("SIDE", "SHARE"),
        help=f"{' or '.join(SIDES)}, and the share of the picture there that goes to the list val; default: right 0.25",
    )
    tiles.add_argument("--name", help="what the tiles' names begin with; default: the picture's")
    return parser


def _truth(options: argparse.Namespace, size: tuple[int, int]) -> Bytes:
    """The class indices (H, W) that the command line gives to a picture's pixels."""
    if options.void_border < 0:
        raise SettingsError(f"--void-border must be 0 or more; got {options.void_border}. Give pixels.")
    if options.labels:
        for flag in ("pixels", "property"):
            if getattr(options, flag):
                raise SettingsError(
                    f"--{flag} must have --polygons; got --labels {options.labels}. Leave it out."
                )
        values, where = read_label_picture(options.labels), str(options.labels)
        if values.shape != size:
            raise DataError(
                f"image and labels must be of one size (HxW); got {size[0]}x{size[1]} and "
                f"{values.shape[0]}x{values.shape[1]} at {where}. Give the labels of this picture."
            )
        return classes_of_labels(values, options.names, options.instances, options.void_border, where)
    if options.instances:
        raise SettingsError(
            "--instances must have --labels; got --polygons, which are objects anyway. Leave it out."
        )
    polygons = read_polygons(options.polygons)
    place = Placement() if options.pixels else placement(options.image)
    labels, counts = classes_of_polygons(
        polygons, place, size, options.names, options.property, options.void_border
    )
    print(
        f"{len(counts)} polygons, {counts.count(0)} of them without a pixel here"
        + (f"; {polygons.left_out} features that are no polygons left out" if polygons.left_out else "")
    )
    return labels


def _scale(options: argparse.Namespace, pixels: NDArray[Any], parts: Sequence[Part]) -> Scale:
    """The scale that the command line asks for; percentiles are those of the part that is trained on, if there is one."""
    (first, last), (left, right) = parts[0].rows, parts[0].columns
    for rule in ("percentiles", "values"):
        if pair := getattr(options, rule):
            return Scale.of(pixels[first:last, left:right], rule, tuple(pair))
    return Scale.of(pixels[first:last, left:right], "full-range" if options.full_range else None)


def _run(options: argparse.Namespace) -> None:
    check_names(options.names, "--names")
    side, share = options.kept
    try:
        kept = side, float(share)
    except ValueError as error:
        raise SettingsError(
            f"kept must be a side and a share; got {side} {share}. Try right 0.25."
        ) from error
    tile = tuple(options.size)
    bands = read_bands(options.image)
    pixels, colours = colours_of(bands)
    height, width = pixels.shape[:2]
    print(f"{options.image.name}: {height}x{width}, {bands.dtype}, {colours}")
    parts = parts_of((height, width), tile, options.stride and tuple(options.stride), kept)
    labels = _truth(options, (height, width))
    scale = _scale(options, pixels, parts)
    print(f"{scale}" + f" of the part for {parts[0].name}" * ("percentiles" in scale.rule))
    name = options.image.stem if options.name is None else options.name
    with claimed(options.out):
        cut(pixels, labels, parts, options.names, options.out, name, scale)
    counts = np.bincount(labels.ravel(), minlength=VOID + 1) / labels.size
    shares = [*zip(options.names, counts, strict=False), ("no class", counts[VOID])]
    print(", ".join(f"{name} {share:.2%}" for name, share in shares))
    for part in parts:
        (top, bottom), (left, right) = part.rows, part.columns
        print(
            f"{part.name}: {len(part.corners)} tiles in rows {top}..{bottom - 1}, columns {left}..{right - 1}"
        )
    print(f"--data {options.out} --loss cross-entropy-dice --crop {tile[0]} {tile[1]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 when done, 2 when it could not be."""
    return exit_code(_run, _flags().parse_args(arguments))
