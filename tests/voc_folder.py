"""Writes a small folder in VOC2012's layout: photographs, label pictures with a palette and a border, lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
# Name, photograph of scikit-image, top and left of the piece, H and W, classes; every class is in the train part.
SCENES = (
    ("2007_000032", "astronaut", (0, 120), (97, 131), (1, 15, 2, 3)),
    ("2007_000039", "coffee", (60, 80), (128, 113), (5, 11, 4, 6, 7)),
    ("2007_000063", "chelsea", (50, 60), (101, 149), (8, 12, 9, 10, 13)),
    ("2007_000068", "rocket", (200, 150), (83, 127), (14, 16, 17, 18, 19, 20)),
    ("2007_000121", "coffee", (150, 250), (75, 143), (11, 5, 15)),  # smaller than 80 rows
    ("2007_000123", "astronaut", (200, 50), (119, 89), (15, 20)),  # smaller than 96 columns
    ("2007_000129", "chelsea", (100, 150), (112, 107), (8, 16, 1)),
)
TRAIN = 4  # the first ones; the others are the val part
BORDER = 2  # pixels


def write(root: Path) -> dict[str, Bytes]:
    """Write seven images and the lists train, val and trainval.

    Shapes: returns (H, W) by name, class indices with 255 on the border.
    """
    from PIL import Image

    folders = [root / part for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")]
    for folder in folders:
        folder.mkdir(parents=True)
    truth = {}
    for name, photograph, corner, size, classes in SCENES:
        Image.fromarray(_photograph(photograph, corner, size)).save(folders[0] / f"{name}.jpg", quality=90)
        truth[name] = _labels(size, classes)
        picture = Image.fromarray(truth[name])
        picture.putpalette(palette())
        picture.save(folders[1] / f"{name}.png")
    names = [scene[0] for scene in SCENES]
    for part, chosen in (("train", names[:TRAIN]), ("val", names[TRAIN:]), ("trainval", names)):
        (folders[2] / f"{part}.txt").write_text("".join(f"{name}\n" for name in chosen))
    return truth


def palette() -> list[int]:
    """VOC's colours, bit by bit: written apart from the code that is tested."""
    colours = []
    for index in range(256):
        bits = f"{index:08b}"[::-1]
        red, green, blue = bits[0::3], bits[1::3], bits[2::3]
        colours += [int(f"{part:<08}".replace(" ", "0"), 2) for part in (red, green, blue)]
    return colours


def _photograph(name: str, corner: tuple[int, int], size: tuple[int, int]) -> Bytes:
    from skimage import data

    (top, left), (height, width) = corner, size
    pixels: Bytes = getattr(data, name)()[top : top + height, left : left + width]
    assert pixels.shape == (height, width, 3)
    return np.ascontiguousarray(pixels)


def _labels(size: tuple[int, int], classes: tuple[int, ...]) -> Bytes:
    """One ellipse a class, side by side, each with a border inside; the second is cut by the picture's edge."""
    height, width = size
    rows, columns = np.ogrid[:height, :width]
    labels = np.zeros(size, np.uint8)
    for place, index in enumerate(classes):
        middle = (height - 1 if place == 1 else height * 0.45, width * (place + 0.5) / len(classes))
        radii = (height * 0.35 - 3 * place, width * 0.55 / len(classes))
        for inset, value in ((0, 255), (BORDER, index)):
            reach = ((rows - middle[0]) / (radii[0] - inset)) ** 2 + (
                (columns - middle[1]) / (radii[1] - inset)
            ) ** 2
            labels[reach <= 1] = value
    return labels
