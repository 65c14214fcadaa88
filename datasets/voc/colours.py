"""VOC's classes and colours; label pictures to class indices and back, with every pixel decided."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError, SettingsError

Bytes = NDArray[np.uint8]
CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
VOID = 255  # the index of border pixels, which belong to no class
NAMES = "class_names.txt"  # of a folder with classes of its own


def colour_map(count: int = 256) -> Bytes:
    """The colours of the class indices: bits 0, 3 and 6 of the index are the highest bits of red, and so on.

    Red takes bits 0, 3, 6, green bits 1, 4, 7, and blue bits 2, 5, each the next lower bit of the colour. Index 255
    comes out as (224, 224, 192), the border's.

    Shapes: returns (count, 3).
    Args:
        count: indices from 0, at most 256.
    Raises:
        SettingsError: a count out of range.
    Source: the VOC2012 development kit, VOClabelcolormap.
    """
    if not 0 < count <= 256:
        raise SettingsError(
            f"count must be in 1..256; got count={count}. VOC has 21 classes and the border, 255."
        )
    index = np.arange(count)[:, None]
    colours = np.zeros((count, 3), int)
    for place in range(3):
        bits = index >> (3 * place + np.arange(3)) & 1
        colours |= bits << (7 - place)
    return colours.astype(np.uint8)


def colours_to_labels(colours: Bytes, where: str = "the picture", classes: Sequence[str] = CLASSES) -> Bytes:
    """The class indices that a label picture's colours stand for.

    Shapes: colours (H, W, 3); returns (H, W).
    Args:
        colours: red, green and blue, 0..255.
        where: what an error calls the picture, its path as a rule.
        classes: their names; VOC's, when left out.
    Returns: 0..len(classes) - 1, and 255 on the border.
    Raises:
        DataError: no such array, or a colour that is neither a class's nor the border's, with its pixel.
    """
    if colours.ndim != 3 or colours.shape[-1] != 3 or colours.dtype != np.uint8:
        raise DataError(
            f"colours must be uint8 (H, W, 3); got shape={colours.shape}, dtype={colours.dtype} at {where}. "
            "Give red, green and blue of every pixel."
        )
    places, allowed = np.array([1 << 16, 1 << 8, 1]), _allowed(classes)
    codes, known = colours.astype(np.int64) @ places, colour_map()[allowed].astype(np.int64) @ places
    order = np.argsort(known)
    found = order[np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)]
    wrong = known[found] != codes
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        whose, advice = "a VOC class's", ""
        if not _are_vocs(classes):
            whose = f"one of the colour map's first {len(classes)}"
            advice = f", save indices in grey, or name further classes in {NAMES}"
        raise DataError(
            f"a label's colour must be {whose} or the border's; got "
            f"{tuple(colours[row, column].tolist())} in row {row}, column {column} of {where}, and "
            f"{np.count_nonzero(wrong)} such pixels in all. Keep label pictures from scaling and lossy formats{advice}."
        )
    return allowed[found].astype(np.uint8)


def labels_to_colours(labels: NDArray[np.integer], classes: Sequence[str] = CLASSES) -> Bytes:
    """The colours of class indices, as VOC's label pictures show them.

    Shapes: labels (...); returns (..., 3).
    Args:
        labels: 0..len(classes) - 1, and 255 for the border.
        classes: their names; VOC's, when left out.
    Raises:
        DataError: another index, with its place.
    """
    wrong = ~np.isin(labels, _allowed(classes))
    if wrong.any():
        raise DataError(
            f"labels must be in 0..{len(classes) - 1} or {VOID}; got {int(labels[wrong][0])} at "
            f"{tuple(np.argwhere(wrong)[0].tolist())}. Map other indices first."
        )
    return colour_map()[labels]


def check_indices(
    labels: Bytes, palette: Sequence[int] | None, where: str, classes: Sequence[str] = CLASSES
) -> None:
    """Refuse indices of no class, and a palette that shows an index in a colour that speaks for another one.

    VOC's own pictures have the colour map's colours and no others. With classes of one's own a palette may have
    any colours, but not those that the map gives to other classes: there index and colour say different things.

    Shapes: labels (H, W).
    Args:
        labels: a picture's pixels, as they are stored.
        palette: red, green and blue of index 0, 1, ..., or None where the picture has none.
        where: the picture's path.
        classes: their names.
    Raises:
        DataError: naming the first such pixel.
    """
    present = np.flatnonzero(
        np.bincount(labels.ravel(), minlength=256)
    )  # np.unique takes twice a PNG's decoding
    if not np.isin(present, _allowed(classes)).all():
        wrong = ~np.isin(labels, _allowed(classes))
        row, column = np.argwhere(wrong)[0].tolist()
        own = f"Name a class for it in {NAMES}, whose first line is index 0, or correct the picture"
        advice = "Take VOC's own files" if _are_vocs(classes) else own
        raise DataError(
            f"a label's index must be in 0..{len(classes) - 1} or {VOID}; got {labels[row, column]} in row {row}, "
            f"column {column} of {where}, and {np.count_nonzero(wrong)} such pixels in all. {advice}."
        )
    if palette is not None:
        _check_palette(labels, present.tolist(), palette, where, classes)


def _check_palette(
    labels: Bytes, present: Sequence[int], palette: Sequence[int], where: str, classes: Sequence[str]
) -> None:
    colours, right = np.array(palette, int).reshape(-1, 3), colour_map()
    others = {tuple(right[index].tolist()) for index in _allowed(classes)}
    for index in present:
        shown = tuple(colours[index].tolist()) if index < len(colours) else None
        known = tuple(right[index].tolist())
        if shown != known and (_are_vocs(classes) or shown in others):
            row, column = np.argwhere(labels == index)[0].tolist()
            advice = "Its indices are not VOC's: save the picture as RGB"
            if not _are_vocs(classes):
                advice = "Index and colour say different classes: save the right one, indices in grey or colours as RGB"
            raise DataError(
                f"a palette must show index {index} as {known}; got {shown or 'no colour'} in "
                f"row {row}, column {column} of {where}. {advice}."
            )


def _allowed(classes: Sequence[str]) -> NDArray[np.int64]:
    """The indices that labels may hold."""
    return np.array([*range(len(classes)), VOID])


def _are_vocs(classes: Sequence[str]) -> bool:
    return tuple(classes) == CLASSES
