"""What predictions are written as: class-id pictures, overlays, and a description that JSON can hold."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError, SettingsError
from datasets.files import extra, replacing
from datasets.scores.boxes import boxes_of

Bytes = NDArray[np.uint8]
Masks = NDArray[np.bool_]
# Distinct for colour-blind readers too: Okabe & Ito, "Color Universal Design", 2008, without its black and grey.
COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
FILL = 0.45  # share of the class's colour inside its outline
SIDE = 512  # pixels: smaller overlays are enlarged to about this
TEXT = 15  # pixels: the legend's letters, at least


def class_colours(count: int) -> Bytes:
    """A colour for each class; colour-blind readers can distinguish the first seven too.

    Shapes: returns (count, 3).
    """
    # Further hues differ by a golden section: no two of any number of classes are alike.
    further = (
        colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.55 + 0.4 * (number % 2), 0.95 - 0.3 * (number % 3 == 0))
        for number in range(count - len(COLOURS))
    )
    every = [*COLOURS, *(tuple(round(255 * part) for part in colour) for colour in further)]
    return np.array(every[:count], np.uint8).reshape(count, 3)


def class_ids(predicted: Masks, scores: NDArray[np.floating]) -> Bytes:
    """One class a pixel: the one with the greatest score among those that are predicted there.

    Shapes: predicted, scores (..., C, H, W); returns (..., H, W).
    Args:
        predicted: where each class is predicted; several may hold at one pixel.
        scores: what they are ranked by; of equal ones the first.
    Returns: 0 where no class is predicted, c + 1 for class c.
    Raises:
        SettingsError: more classes than a byte has room for.
    """
    if predicted.shape[-3] > 255:
        raise SettingsError(
            f"class ids must fit a byte; got {predicted.shape[-3]} classes. Choose up to 255 with --classes."
        )
    best = np.where(predicted, scores, -np.inf).argmax(axis=-3)
    return np.where(predicted.any(axis=-3), best + 1, 0).astype(np.uint8)


def save_ids(path: Path, ids: Bytes) -> None:
    """Write class ids as a PNG whose pixels are the ids, shown in the classes' colours on black.

    Shapes: ids (H, W).
    """
    picture = extra("PIL.Image").fromarray(np.ascontiguousarray(ids))
    colours = np.zeros((256, 3), np.uint8)
    colours[1:] = class_colours(255)
    picture.putpalette(colours.ravel().tolist())  # makes of grey pixels, unchanged, indices of colours
    with replacing(path) as partial:
        picture.save(partial, format="PNG")


def overlay(image: Bytes, predicted: Masks, classes: Sequence[str]) -> Bytes:
    """The picture with each class's area tinted and outlined, and a legend of the classes that were found.

    A small image is enlarged by repeating pixels, so that outlines and legend can be read.

    Shapes: image (H, W, 3); predicted (C, H, W); returns (H', W', 3).
    Args:
        image: raw values 0..255.
        predicted: where each class is predicted.
        classes: their names.
    """
    scale = max(1, SIDE // max(image.shape[:2]))
    picture = _enlarged(image, scale)
    large = _enlarged(predicted.transpose(1, 2, 0), scale).transpose(2, 0, 1)
    colours = class_colours(len(classes))
    found = [index for index in range(len(classes)) if predicted[index].any()]
    for index in found:
        picture[large[index]] = np.rint((1 - FILL) * picture[large[index]] + FILL * colours[index])
    width = min(max(1, max(picture.shape[:2]) // 170), 6)
    for index in found:  # after every area: no outline is tinted by another class
        line = outline(large[index], width)
        seam = outline(large[index] & ~line, 1)  # dark, inside: a line is seen on its own colour too
        picture[seam] = picture[seam] * 0.4
        picture[line] = colours[index]
    areas = predicted.reshape(len(predicted), -1).mean(axis=1)
    entries = [(f"{classes[index]}  {_percent(areas[index])}", colours[index]) for index in found]
    return _with_legend(picture, entries or [("nothing found", None)])


def outline(mask: Masks, width: int) -> Masks:
    """The mask's own pixels within `width` of a pixel outside, up, down, left or right; the border is no edge.

    Shapes: mask (H, W); returns (H, W).
    """
    inner = mask
    for _ in range(width):
        padded = np.pad(inner, 1, mode="edge")
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _enlarged(pixels: NDArray[Any], scale: int) -> NDArray[Any]:
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"


def _with_legend(picture: Bytes, entries: Sequence[tuple[str, Bytes | None]]) -> Bytes:
    """The picture with a white column at its right: a swatch and a text for each entry."""
    height, width = picture.shape[:2]
    letter = max(TEXT, max(height, width) // 50)  # pixels
    gap, step = 2 * letter // 3, 5 * letter // 3
    font = extra("PIL.ImageFont").load_default(letter)
    rooms = [0 if colour is None else step for _, colour in entries]
    lengths = [room + font.getlength(text) for room, (text, _) in zip(rooms, entries, strict=True)]
    size = (width + int(max(lengths)) + 3 * gap, max(height, len(entries) * step + 2 * gap))
    image = extra("PIL.Image")
    sheet = image.new("RGB", size, "white")
    sheet.paste(image.fromarray(picture), (0, 0))
    pen = extra("PIL.ImageDraw").Draw(sheet)
    for row, (room, (text, colour)) in enumerate(zip(rooms, entries, strict=True)):
        left, top = width + gap, gap + row * step
        if colour is not None:
            corner = (left + letter, top + letter)
            pen.rectangle(((left, top), corner), fill=tuple(colour.tolist()), outline=(60, 60, 60))
        pen.text((left + room, top + letter // 2 + 1), text, fill="black", font=font, anchor="lm")
    return np.asarray(sheet)


def save_picture(path: Path, pixels: Bytes) -> None:
    """Write a colour picture as PNG.

    Shapes: pixels (H, W, 3).
    """
    with replacing(path) as partial:
        extra("PIL.Image").fromarray(pixels).save(partial, format="PNG")


def run_lengths(mask: Masks) -> dict[str, list[int]]:
    """A mask in COCO's uncompressed run-length encoding.

    Shapes: mask (H, W).
    Returns: "size", [H, W], and "counts": how many pixels, down the first column, then down the next, are
        outside, then inside, then outside the mask, and so on; the first number is 0 where the first is inside.
    Source: COCO, cocodataset.org, "Data format": object detection, annotations with iscrowd.
    """
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    ends = np.concatenate([[0], changes, [pixels.size]])
    first = [0] if pixels.size and pixels[0] else []
    return {"size": list(mask.shape), "counts": first + np.diff(ends).tolist()}


def from_run_lengths(encoded: dict[str, Any]) -> Masks:
    """The mask of `run_lengths`.

    Shapes: returns (H, W).
    Raises:
        DataError: counts that are not as many as the pixels.
    """
    height, width = encoded["size"]
    counts = np.asarray(encoded["counts"], np.int64)
    if (counts < 0).any() or counts.sum() != height * width:
        raise DataError(f"counts must add up to {height * width} pixels; got {int(counts.sum())}.")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape((height, width), order="F")


FORMAT = {
    "mask": "COCO's uncompressed run-length encoding: down the columns, beginning with pixels outside",
    "boxes": "[min_x, min_y, max_x, max_y] of each connected part, in pixels, both ends included",
    "score": "mean score of the mask's pixels, 0..1",
    "classes": "those that are predicted anywhere; the others are left out",
}
"""What the entries of `described` mean; it is written with them."""


def described(
    predicted: Masks, scores: NDArray[np.floating], classes: Sequence[str], min_area: int = 1
) -> dict[str, Any]:
    """The predictions on one image, as numbers that JSON can hold; see FORMAT.

    Shapes: predicted, scores (C, H, W).
    Args:
        predicted: where each class is predicted.
        scores: how sure the network is, 0..1.
        classes: their names.
        min_area: connected parts of fewer pixels get no box.
    Returns: "height", "width", and for each class found "area", "score", "boxes" and "mask".
    """
    found = {
        name: {
            "area": int(np.count_nonzero(mask)),
            "score": round(float(np.clip(score[mask], 0, 1).mean(dtype=np.float64)), 6),
            "boxes": boxes_of(mask, min_area),
            "mask": run_lengths(mask),
        }
        for name, mask, score in zip(classes, predicted, scores, strict=True)
        if mask.any()
    }
    return {"height": predicted.shape[1], "width": predicted.shape[2], "classes": found}
