"""A cause's picture, and the same in characters."""

from __future__ import annotations

import numpy as np

from parity.causes.known.pictures import channelwise, sequences, spatial, training
from parity.causes.known.pictures.picture import SmallExample
from parity.core.types import Array

SHADES = " ░▒▓█"
PLAIN = " .:*#"
"""The same five shades where a terminal has no others."""
EQUAL, PLAIN_EQUAL = "· ", "- "
PANEL = 22
"""Columns of each of the three panels at most."""


def picture_of(name: str) -> SmallExample:
    """Both sides of a small example of a cause, computed in NumPy.

    Args:
        name: of the cause.

    Raises:
        KeyError: no cause has this name.
    """
    known = {**spatial.PICTURES, **channelwise.PICTURES, **sequences.PICTURES, **training.PICTURES}
    return known[name]()


def drawing(picture: SmallExample, plain: bool = False) -> list[str]:
    """Keras, torch and their difference side by side, in at most 76 columns.

    Denser is greater. The sides share one scale. In the difference a dot says that the values are equal.

    Args:
        picture: both sides.
        plain: with ASCII's characters alone.
    """
    shades = PLAIN if plain else SHADES
    sides = [picture.keras, picture.torch]
    least, most = min(map(np.min, sides)), max(map(np.max, sides))
    panels = [_shaded((side - least) / (most - least), shades) for side in sides]
    difference = picture.difference
    if difference is None:
        sizes = [" x ".join(map(str, side.shape)) for side in sides]
        panels.append(["the sizes differ:", *sizes])
    else:
        same = difference <= 1e-12 * max(abs(least), abs(most))
        levels = np.clip((difference / difference.max() * len(shades)).astype(int), 1, len(shades) - 1)
        dot = PLAIN_EQUAL if plain else EQUAL
        panels.append([
            "".join(dot if alike else shades[level] * 2 for alike, level in zip(*row, strict=True))
            for row in zip(same, levels, strict=True)
        ])  # fmt: skip
    height = max(map(len, panels))
    widths = [max(PANEL, *map(len, panel)) for panel in panels]
    named = [[name, *panel] for name, panel in zip(("Keras", "torch", "difference"), panels, strict=True)]
    lines = [
        "  ".join(
            f"{panel[i] if i < len(panel) else '':<{width}}"
            for panel, width in zip(named, widths, strict=True)
        )
        for i in range(height + 1)
    ]
    equal = "" if difference is None else f"; {(PLAIN_EQUAL if plain else EQUAL).strip()} is equal"
    axes = (
        f"rows: {picture.rows}, columns: {picture.columns}" if picture.columns else f"cells: {picture.rows}"
    )
    legend = f"{axes}; denser is greater{equal}"
    return [line.rstrip() for line in lines] + [legend]


def _shaded(share: Array, shades: str) -> list[str]:
    """Rows of two characters for each value of 0 to 1."""
    levels = np.clip((share * len(shades)).astype(int), 0, len(shades) - 1)
    return ["".join(shades[level] * 2 for level in row) for row in levels]
