"""Bilinear interpolation as weights, and the photograph that shows it, in NumPy: the same file in both packages."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from .arguments import Pair, pair

Compare: TypeAlias = Callable[..., tuple[np.ndarray, np.ndarray, float]]
"""`initializers.compare` of a half."""


def _triangle(size: int) -> np.ndarray:
    """Weights of linear interpolation along one axis: a triangle of half width (size+1)//2."""
    factor = (size + 1) // 2
    center = factor - 1 if size % 2 else factor - 0.5
    weights: np.ndarray = 1 - np.abs(np.arange(size) - center) / factor
    return weights


def diagonal_kernel(in_channels: int, out_channels: int, kernel_size: Pair) -> np.ndarray:
    """Give every channel the bilinear filter towards itself, zeros towards the others: (in, out, kH, kW)."""
    if in_channels != out_channels or in_channels < 1:
        raise ValueError(
            f"in_channels and out_channels must be equal and at least 1, since each channel is enlarged by "
            f"itself; got in_channels={in_channels}, out_channels={out_channels}. Use one number for both."
        )
    weight = np.zeros((in_channels, out_channels, *kernel_size))
    channels = np.arange(in_channels)
    weight[channels, channels] = np.outer(_triangle(kernel_size[0]), _triangle(kernel_size[1]))
    return weight


def interpolation_arguments(scale: int) -> dict[str, int]:
    """Arguments with which a transposed convolution enlarges by a whole factor as a half-pixel resize does.

    Args:
        scale: the factor (>= 1).

    Returns:
        kernel_size, stride and padding, in pixels.

    Raises:
        ValueError: scale is not a whole number of at least 1.

    Source: Dive into Deep Learning, fully convolutional networks (kernel 2s, stride s, padding s/2).
    """
    scale = pair("scale", scale, 1)[0]
    return {"kernel_size": 2 * scale - scale % 2, "stride": scale, "padding": scale // 2}


def photograph() -> np.ndarray:
    """A photograph that scikit-image ships: a woman in an astronaut's suit (NASA, public domain).

    Shapes: (400, 512, 3), uint8.

    Raises:
        ModuleNotFoundError: scikit-image is not installed.
    """
    try:
        from skimage import data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the photograph must come from scikit-image; got no module skimage. pip install scikit-image."
        ) from error
    image: np.ndarray = data.astronaut()[:400]
    return image


def difference_inside(convolved: np.ndarray, resized: np.ndarray, scale: int) -> float:
    """The greatest difference of two enlarged pictures inside a border of scale//2 pixels.

    Shapes: both (H*scale, W*scale, C).

    Raises:
        ValueError: nothing lies inside the border.
    """
    border = scale // 2
    height, width, channels = convolved.shape
    inside = np.abs(convolved - resized)[border : height - border, border : width - border]
    if not inside.size:
        raise ValueError(
            "image must have pixels inside the border; got shape "
            f"{(height // scale, width // scale, channels)} with scale={scale}. Pass at least 2 x 2 pixels."
        )
    return float(inside.max())


def draw(image: np.ndarray, scale: int, path: str, compare: Compare) -> None:
    """Write a picture of a photograph, both enlargements and their difference.

    Shapes: image (H, W, 3), 0..255.

    Args:
        image: the photograph.
        scale: a whole factor (>= 1).
        path: where to write; the suffix says the format.
        compare: the half's own.
    """
    from matplotlib.figure import Figure

    convolved, resized, inside = compare(image, scale)
    difference = np.abs(convolved - resized).max(axis=2)
    panels: dict[str, Any] = {
        f"photograph, {image.shape[0]} x {image.shape[1]}": image / 255,
        f"transposed convolution, {convolved.shape[0]} x {convolved.shape[1]}": convolved / 255,
        f"bilinear resize, {resized.shape[0]} x {resized.shape[1]}": resized / 255,
        f"difference: {inside:.3g} inside, {difference.max():.3g} on the border": difference,
    }
    figure = Figure(figsize=(11, 8), layout="constrained")
    for place, (title, panel) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        shown = place.imshow(panel, cmap="Reds", interpolation="nearest")
        place.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=place, label="of 255", shrink=0.8)
    figure.savefig(path, dpi=100)


def run(arguments: Sequence[str] | None, compare: Compare) -> int:
    """Print the greatest difference between the two enlargements of a photograph, and draw both."""
    parser = argparse.ArgumentParser(description=run.__doc__)
    parser.add_argument("--out", help="the picture to write, such as bilinear.png")
    parser.add_argument("--scale", type=int, default=2, help="a whole factor (default 2)")
    options = parser.parse_args(arguments)
    try:
        image = photograph()
        print(f"transposed convolution {interpolation_arguments(options.scale)} against the bilinear resize")
        for dtype in ("float64", "float32"):
            inside = compare(image, options.scale, dtype)[2]
            print(f"{dtype}: greatest difference inside the border {inside:.3g} of 255")
        if options.out:
            draw(image[72:144, 176:272], options.scale, options.out, compare)
            print(f"wrote {options.out}")
    except (ModuleNotFoundError, ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")
    return 0
