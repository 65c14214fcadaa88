"""Weights, measures, table and figure of `upsampling`, in NumPy: the same file in both packages."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Phases: TypeAlias = tuple[tuple[float, ...], ...]

PICTURE_SIZE = (18, 24)
CONSTANT_SIZE = (9, 12)


@dataclass(frozen=True)
class Plan:
    """One way to enlarge: a transposed convolution, or repeating with or without a convolution after it."""

    name: str
    transposed: bool
    kernel_size: int  # 0: no convolution
    mode: Literal["nearest", "bilinear"] = "nearest"


@dataclass(frozen=True)
class Upsampling:
    """What one way to enlarge costs, can learn, and does.

    `coverage` and `seeded` are the mean outputs for an input of ones, by the output's phase (row and column
    modulo the scale): with equal weights, and with the seeded ones. The checkerboard is their spread.
    """

    name: str
    parameters: int
    learnable: str
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    coverage: Phases
    seeded: Phases
    pictures: tuple[Array, ...] = field(repr=False, compare=False)  # for the figure: (H, W) each

    @property
    def coverage_spread(self) -> float:
        """Greatest minus least phase as a share of their mean, with equal weights: the built-in part."""
        return _spread(self.coverage)

    @property
    def seeded_spread(self) -> float:
        """The same with the seeded weights: what such weights make of it."""
        return _spread(self.seeded)


def plans(scale: int) -> tuple[Plan, ...]:
    """List the ways to compare; kernels of `scale` and twice that cover every pixel alike, others do not."""
    kernels = (scale, scale + 1, 2 * scale)
    transposed = (Plan(f"Conv2DTranspose\nkernel {size}, stride {scale}", True, size) for size in kernels)
    return (
        *transposed,
        Plan("UpSampling2d\nnearest", False, 0),
        Plan("UpSampling2d\nbilinear", False, 0, "bilinear"),
        Plan("UpSampling2d nearest\nand Conv2d kernel 3", False, 3),
    )


def weights(plan: Plan, channels: int, scale: int, seed: int | None) -> Array:
    """Give a kernel (kH, kW, from, to) that keeps a mean of 1: equal weights for seed None, else random."""
    shape = (plan.kernel_size, plan.kernel_size, channels, channels)
    kernel = np.ones(shape) if seed is None else np.random.default_rng(seed).random(shape)
    total = scale**2 if plan.transposed else 1
    return kernel * total / kernel.sum(axis=(0, 1, 2), keepdims=True)


def measure(
    plan: Plan, channels: int, scale: int, seed: int, run: Callable[[Array, Array], Array], parameters: int
) -> Upsampling:
    """Measure one way; `run` gives the output (H', W', C) for an image (H, W, C) and a kernel."""
    equal, seeded = (weights(plan, channels, scale, which) for which in (None, seed))
    ones = np.ones((*CONSTANT_SIZE, channels))
    flat = [run(ones, kernel) for kernel in (equal, seeded)]
    seen = run(np.repeat(picture()[..., None], channels, axis=2), seeded)
    size = plan.kernel_size
    return Upsampling(
        name=plan.name.replace("\n", " "),
        parameters=parameters,
        learnable=f"{size} x {size} kernel, bias" if size else "nothing",
        input_size=PICTURE_SIZE,
        output_size=(seen.shape[0], seen.shape[1]),
        coverage=_phases(flat[0], scale),
        seeded=_phases(flat[1], scale),
        pictures=tuple(each[..., 0] for each in (*flat, seen)),
    )


def _phases(response: Array, scale: int) -> Phases:
    inner = response[2 * scale : -2 * scale, 2 * scale : -2 * scale]  # away from the border, where taps lack
    rows = range(scale)
    return tuple(tuple(float(inner[r::scale, c::scale].mean()) for c in rows) for r in rows)


def _spread(phases: Phases) -> float:
    values = np.array(phases)
    return float((values.max() - values.min()) / values.mean())


def picture() -> Array:
    """Draw a disk, a bar and a slope: smooth and sharp parts, height and width different."""
    rows, columns = np.mgrid[: PICTURE_SIZE[0], : PICTURE_SIZE[1]]
    slope = 0.2 + 0.4 * columns / PICTURE_SIZE[1]
    disk = (rows - 8.0) ** 2 + (columns - 7.0) ** 2 < 25
    bar = abs(rows - columns + 8.5) < 2
    return np.where(disk, 0.95, np.where(bar, 0.05, slope))


def table(rows: Sequence[Upsampling]) -> Iterator[str]:
    """Give the comparison as lines of text."""
    head = ("layer", "parameters", "learnable", "output", "checkerboard", "seeded")
    form = "{:<40} {:>10}  {:<19} {:>9} {:>13} {:>7}".format
    yield form(*head)
    for row in rows:
        output = "{}x{}".format(*row.output_size)
        spreads = (f"{each:.0%}" for each in (row.coverage_spread, row.seeded_spread))
        yield form(row.name, row.parameters, row.learnable, output, *spreads)


def draw(rows: Sequence[Upsampling], path: Path) -> None:
    """Draw the figure: a column for each way; the two constant responses and the picture under each other."""
    from matplotlib.figure import Figure  # only the figure needs it

    figure = Figure(figsize=(2.3 * len(rows), 7.2), layout="constrained")
    axes = figure.subplots(3, len(rows))
    labels = ("input of ones,\nequal weights", "input of ones,\nseeded weights", "a picture,\nseeded weights")
    for column, row in zip(axes.T, rows, strict=True):
        before, after = ("{}x{}".format(*size) for size in (row.input_size, row.output_size))
        captions = (
            f"checkerboard {row.coverage_spread:.0%}",
            f"checkerboard {row.seeded_spread:.0%}",
            f"{before} -> {after}\n{row.parameters} parameters\nlearnable: {row.learnable}",
        )
        for axis, values, caption, top in zip(column, row.pictures, captions, (2.0, 2.0, 1.0), strict=True):
            axis.imshow(values, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
            axis.set(xticks=[], yticks=[], xlabel=caption)
        column[0].set_title(row.name.replace(" ", "\n", 1), fontsize=10)
    for axis, label in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(label)
    figure.suptitle(
        "Conv2DTranspose and UpSampling2d: what each costs, can learn, and leaves as a checkerboard\n"
        "(greatest minus least mean output by row and column modulo the scale, as a share of their mean)",
        fontsize=12,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main(compare: Callable[..., tuple[Upsampling, ...]], argv: Sequence[str] | None = None) -> None:
    """Run the comparison from the command line: print the table, write the figure."""
    parser = argparse.ArgumentParser(description="Compare Conv2DTranspose with UpSampling2d.")
    parser.add_argument("--out", type=Path, required=True, metavar="F.png", help="where to write the figure")
    parser.add_argument("--channels", type=int, default=1, help="channels in and out (default 1)")
    parser.add_argument("--scale", type=int, default=2, help="factor of the enlargement (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights (default 0)")
    options = parser.parse_args(argv)
    rows = compare(options.channels, options.scale, options.seed)
    print(*table(rows), sep="\n")
    draw(rows, options.out)
    print(f"figure: {options.out}")
