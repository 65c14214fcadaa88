"""Draws images with their masks and boxes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.errors import SettingsError
from datasets.files import replacing
from datasets.purdue_shapes.data import CLASSES, MASK_VALUES, Bytes, Data

# By class; colour-blind readers can distinguish them.
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00")
ROWS = ("image", "masks", "boxes")


def save_figure(path: str | os.PathLike[str], data: Data) -> None:
    """Write a picture of every image in a data set: the image, its masks by class, and its boxes.

    Args:
        path: the picture to write; its suffix says the format.
        data: the images to show, a column each.
    Raises:
        SettingsError: a suffix of no format.
        WriteError: the picture cannot be written.
    """
    import matplotlib.patheffects as effects
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, Rectangle

    height, width = data.images.shape[1:3]
    side = 1.6  # inches
    page = Figure((side * len(data) + 0.3, side * 3 * height / width + 0.4), dpi=150, layout="compressed")
    FigureCanvasAgg(page)
    axes = page.subplots(3, len(data), squeeze=False)
    colours = np.array([to_rgb(colour) for colour in COLOURS])
    outline = [effects.withStroke(linewidth=2.4, foreground="black")]
    for i, image in enumerate(data.images):
        shown = (image, mix(data.masks[i], colours), image // 2 + 96)
        for panel, pixels in zip(axes[:, i], shown, strict=True):
            panel.imshow(pixels, interpolation="nearest")
            panel.set(xticks=[], yticks=[])
        for c, boxes in enumerate(data.boxes[i]):
            for x0, y0, x1, y1 in boxes:
                box = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0 + 1, y1 - y0 + 1, fill=False, clip_on=False)
                box.set(edgecolor=COLOURS[c], linewidth=1.4, path_effects=outline)
                axes[2, i].add_patch(box)
    for panel, label in zip(axes[:, 0], ROWS, strict=True):
        panel.set_ylabel(label, fontsize=9)
    key: list[Any] = [
        Patch(facecolor=colour, edgecolor="black", linewidth=0.5, label=f"{name} ({value})")
        for colour, name, value in zip(COLOURS, CLASSES, MASK_VALUES, strict=True)
    ]
    page.legend(handles=key, loc="outside lower center", ncols=len(CLASSES), frameon=False, fontsize=9)
    with replacing(Path(path)) as partial:
        try:
            page.savefig(partial)
        except ValueError as error:
            raise SettingsError(
                f"a picture must have a suffix that matplotlib writes; got {path}: {error}."
            ) from error


def mix(masks: Bytes, colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colour masks, (5, H, W), by class on black, (H, W, 3); where classes overlap, their colours mix."""
    inside = (masks > 0).astype(np.float64)
    total = np.tensordot(inside, colours, axes=(0, 0))  # (H, W, 3)
    return total / np.maximum(inside.sum(axis=0), 1)[..., None]
