"""Bilinear interpolation as the first weights of a transposed convolution, and proof that it is one.

`python -m tf_impl.initializers --out F.png` enlarges a photograph both ways and prints the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_impl._shared.arguments import IntPair, pair
from tf_impl._shared.bilinear import (
    diagonal_kernel,
    difference_inside,
    interpolation_arguments,
    photograph,
    run,
)

Tensor = Any  # a tensor of whichever backend Keras runs on


__all__ = [
    "BilinearKernel",
    "bilinear_kernel",
    "compare",
    "enlarge",
    "interpolation_arguments",
    "main",
    "photograph",
    "resize",
]


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
    weight = diagonal_kernel(in_channels, out_channels, pair("kernel_size", kernel_size, 1))
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

    Source: Keras, keras.ops.image.resize. (On TensorFlow it computes in float32 for every dtype.)
    """
    size = (images.shape[1] * scale, images.shape[2] * scale)
    return ops.image.resize(images, size, interpolation="bilinear", data_format="channels_last")


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
    convolved, resized = (
        ops.convert_to_numpy(f(images, scale))[0].astype("float64") for f in (enlarge, resize)
    )
    return convolved, resized, difference_inside(convolved, resized, scale)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the greatest difference between the two enlargements of a photograph, and draw both."""
    return run(arguments, compare)


if __name__ == "__main__":
    raise SystemExit(main())
