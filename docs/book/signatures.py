"""A cause's small example as a picture: Keras, PyTorch and where they differ, in the colours of the page."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

SIDE = 14  # pixels of a cell
GAP = 1


def drawn(example: Any) -> str:
    """Three figures for an example of `parity.causes.known`: both sides on one scale, and their difference."""
    sides = [np.atleast_2d(np.asarray(side, float)) for side in (example.keras, example.torch)]
    least, most = min(side.min() for side in sides), max(side.max() for side in sides)
    span = (most - least) or 1.0
    room = tuple(
        max(side.shape[axis] for side in sides) for axis in (0, 1)
    )  # cells of one size on both sides
    figures = [
        _figure(name, 0.08 + 0.92 * (side - least) / span, "side", room)
        for name, side in zip(("Keras", "PyTorch"), sides, strict=True)
    ]
    difference = example.difference
    if difference is None:
        sizes = " and ".join(" × ".join(map(str, side.shape)) for side in sides)
        figures.append(
            f"<figure><p>The sizes differ: {sizes}.</p><figcaption><b>difference</b></figcaption></figure>"
        )
    else:
        gap = np.atleast_2d(np.asarray(difference, float))
        equal = gap <= 1e-12 * max(abs(least), abs(most))
        share = np.where(equal, 0.0, 0.15 + 0.85 * gap / (gap.max() or 1.0))
        figures.append(_figure("difference", share, "apart", share.shape))
    axes = (
        f"Rows: {example.rows}. Columns: {example.columns}." if example.columns else f"Cells: {example.rows}."
    )
    legend = f"{html.escape(axes)} A stronger colour is greater"
    end = "." if difference is None else "; an empty cell of the difference is equal."
    return f'<div class="signature">{"".join(figures)}</div>\n\n<small>{legend}{end}</small>'


def _figure(name: str, shares: Any, kind: str, room: tuple[int, ...]) -> str:
    """A grid of cells, each as opaque as its share of 1 says, in a frame that has room for so many rows and columns."""
    rows, columns = shares.shape
    width, height = room[1] * SIDE + GAP, room[0] * SIDE + GAP
    cells = "".join(
        f'<rect x="{j * SIDE + GAP}" y="{i * SIDE + GAP}" width="{SIDE - GAP}" height="{SIDE - GAP}" '
        f'fill-opacity="{shares[i, j]:.2f}"/>'
        for i in range(rows) for j in range(columns)
    )  # fmt: skip
    label = f"{name}: {rows} by {columns} values"
    return (
        f'<figure><svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{cells}</svg>'
        f"<figcaption><b>{name}</b></figcaption></figure>"
    )
