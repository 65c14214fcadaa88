"""Bilinear interpolation as the first weights of a transposed convolution, and proof that it is one.

`python -m tf_impl.initializers --out F.png` enlarges a photograph both ways and prints the difference.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_impl._shared.arguments import IntPair, Pair, pair

Tensor = Any  # a tensor of whichever backend Keras runs on


def _triangle(size: int) -> np.ndarray:
    """Weights of linear interpolation along one axis: a triangle of half width (size+1)//2."""
    factor = (size + 1) // 2
    center = factor - 1 if size % 2 else factor - 0.5
    weights: np.ndarray = 1 - np.abs(np.arange(size) - center) / factor
    return weights


def _diagonal_kernel(in_channels: int, out_channels: int, kernel_size: Pair) -> np.ndarray:
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


def bilinear_kernel(
    in_channels: int, out_channels: int, kernel_size: IntPair, dtype: str | None = None
) -> Tensor:
    """Weights with which a transposed convolution interpolates bilinearly, each channel by itself.

    Shapes: (kH, kW, out_channels, in_channels), as Conv2DTranspose.kernel.

    Args:
        in_channels, out_channels: number of channels (>= 1); they must be equal, for channel i is enlarged
            into channel i and the weights towards the others are zero.
        kernel_size: in pixels (>= 1, odd or even), an integer or a pair; BilinearKernel says which does what.
        dtype: floating dtype; None is keras.config.floatx().

    Returns:
        A new tensor.

    Raises:
        ValueError: the channel counts differ, or a number is out of range.

    Source: Dive into Deep Learning, fully convolutional networks; Long et al., "Fully Convolutional Networks
        for Semantic Segmentation" (2015).
    """
    weight = _diagonal_kernel(in_channels, out_channels, pair("kernel_size", kernel_size, 1))
    return ops.convert_to_tensor(weight.transpose(2, 3, 1, 0).copy(), dtype or keras.config.floatx())


@keras.saving.register_keras_serializable(package="tf_impl")
class BilinearKernel(keras.initializers.Initializer):
    """Initializer that makes a transposed convolution a bilinear resize; kernel_initializer=BilinearKernel().

    With an image of n pixels, scale s and no bias, the layer's output is, along each axis:

    - kernel 2s, stride s, padding s/2 (s even), or kernel 2s-1, stride s, padding (s-1)/2 (s odd): the resize
      to n*s with half-pixel centres, except in the outer s//2 pixels, where a resize repeats the edge and the
      convolution sees zeros. interpolation_arguments(s) gives these numbers.
    - kernel 2s-1, stride s, padding s-1: the resize to (n-1)*s+1 with aligned corners, everywhere.
    - the same with output_padding s-1: the resize to n*s whose pixel y samples y/s, except in the last s-1.

    Source: Dive into Deep Learning, fully convolutional networks.
    """

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        """Make a transposed convolution's kernel.

        Shapes: (kH, kW, out_channels, in_channels).

        Args:
            shape: of the kernel.
            dtype: floating dtype; None is keras.config.floatx().

        Returns:
            A new tensor.

        Raises:
            ValueError: the shape is not of rank 4, or its channel counts differ.
        """
        if len(shape) != 4:
            raise ValueError(
                f"the kernel must be of rank 4; got shape={tuple(shape)}. "
                f"Use it for the kernel of a two-dimensional transposed convolution."
            )
        height, width, out_channels, in_channels = shape
        return bilinear_kernel(in_channels, out_channels, (height, width), dtype)


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


def enlarge(images: Tensor, scale: int = 2) -> Tensor:
    """Enlarge by a transposed convolution whose weight is bilinear_kernel.

    Shapes: (N, H, W, C) -> (N, H*scale, W*scale, C).

    Args:
        images: floating, of any range.
        scale: a whole factor (>= 1).

    Returns:
        The enlarged images, in the same dtype.

    Raises:
        ValueError: scale is not a whole number of at least 1.

    Source: Dive into Deep Learning, fully convolutional networks.
    """
    arguments = interpolation_arguments(scale)
    channels, crop = images.shape[-1], arguments["padding"]
    kernel = bilinear_kernel(channels, channels, arguments["kernel_size"], images.dtype)
    full = ops.conv_transpose(images, kernel, arguments["stride"], "valid", data_format="channels_last")
    return full[:, crop : full.shape[1] - crop, crop : full.shape[2] - crop]


def resize(images: Tensor, scale: int = 2) -> Tensor:
    """Enlarge by the framework's own bilinear resize: half-pixel centres, no antialiasing.

    Shapes: (N, H, W, C) -> (N, H*scale, W*scale, C).

    Args:
        images: floating, of any range.
        scale: a whole factor (>= 1).

    Returns:
        The enlarged images, in the same dtype.

    Source: Keras, keras.ops.image.resize. (On TensorFlow it computes in float32, whatever the dtype.)
    """
    size = (images.shape[1] * scale, images.shape[2] * scale)
    return ops.image.resize(images, size, interpolation="bilinear", data_format="channels_last")


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


def compare(
    image: np.ndarray, scale: int = 2, dtype: str = "float64"
) -> tuple[np.ndarray, np.ndarray, float]:
    """Enlarge a picture by the transposed convolution and by the resize.

    Shapes: image (H, W, C) -> two of (H*scale, W*scale, C).

    Args:
        image: any range; it is computed on as it is, so 0..255 stays 0..255.
        scale: a whole factor (>= 1).
        dtype: what to compute in.

    Returns:
        Both enlarged pictures in float64, and their greatest difference inside a border of scale//2 pixels.

    Raises:
        ValueError: scale is not a whole number of at least 1, or nothing lies inside the border.
    """
    images = ops.cast(ops.convert_to_tensor(image)[None], dtype)  # (1, H, W, C)
    ours, theirs = (ops.convert_to_numpy(f(images, scale))[0].astype("float64") for f in (enlarge, resize))
    border = scale // 2
    inside = np.abs(ours - theirs)[border : len(ours) - border, border : ours.shape[1] - border]
    if not inside.size:
        raise ValueError(
            f"image must have pixels inside the border; got shape {image.shape} with scale={scale}. "
            f"Pass at least 2 x 2 pixels."
        )
    return ours, theirs, float(inside.max())


def draw(image: np.ndarray, scale: int, path: str) -> None:
    """Write a picture of a photograph, both enlargements and their difference.

    Shapes: image (H, W, 3), 0..255.

    Args:
        image: the photograph.
        scale: a whole factor (>= 1).
        path: where to write; the suffix says the format.
    """
    from matplotlib.figure import Figure

    ours, theirs, inside = compare(image, scale)
    difference = np.abs(ours - theirs).max(axis=2)
    panels: dict[str, Any] = {
        f"photograph, {image.shape[0]} x {image.shape[1]}": image / 255,
        f"transposed convolution, {ours.shape[0]} x {ours.shape[1]}": ours / 255,
        f"bilinear resize, {theirs.shape[0]} x {theirs.shape[1]}": theirs / 255,
        f"difference: {inside:.3g} inside, {difference.max():.3g} on the border": difference,
    }
    figure = Figure(figsize=(11, 8), layout="constrained")
    for place, (title, panel) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        shown = place.imshow(panel, cmap="Reds", interpolation="nearest")
        place.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=place, label="of 255", shrink=0.8)
    figure.savefig(path, dpi=100)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the greatest difference between the two enlargements of a photograph, and draw both."""
    parser = argparse.ArgumentParser(description=main.__doc__)
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
            draw(image[72:144, 176:272], options.scale, options.out)
            print(f"wrote {options.out}")
    except (ModuleNotFoundError, ValueError, OSError) as error:
        parser.exit(2, f"{error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
