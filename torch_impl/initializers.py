"""Bilinear interpolation as the first weights of a transposed convolution, and proof that it is one.

`python -m torch_impl.initializers --out F.png` enlarges a photograph both ways and prints the difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from torch_impl._shared.arguments import IntPair, pair
from torch_impl._shared.bilinear import (
    diagonal_kernel,
    difference_inside,
    interpolation_arguments,
    photograph,
    run,
)

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
    in_channels: int, out_channels: int, kernel_size: IntPair, dtype: torch.dtype | None = None
) -> Tensor:
    """Weights with which a transposed convolution interpolates bilinearly, each channel by itself.

    Shapes: (in_channels, out_channels, kH, kW), as nn.ConvTranspose2d.weight.

    Args:
        in_channels, out_channels: number of channels (>= 1); they must be equal, for channel i is enlarged
            into channel i and the weights towards the others are zero.
        kernel_size: in pixels (>= 1, odd or even), an integer or a pair; BilinearKernel says which does what.
        dtype: floating dtype; None is torch.get_default_dtype().

    Returns:
        A new tensor.

    Raises:
        ValueError: the channel counts differ, or a number is out of range.

    Source: Dive into Deep Learning, fully convolutional networks; Long et al., "Fully Convolutional Networks
    for Semantic Segmentation" (2015).
    """
    weight = diagonal_kernel(in_channels, out_channels, pair("kernel_size", kernel_size, 1))
    return torch.tensor(weight, dtype=dtype or torch.get_default_dtype())


class BilinearKernel:
    """Initializer that makes a transposed convolution a bilinear resize; `BilinearKernel()(layer.weight)`.

    With an image of n pixels, scale s and no bias, the layer's output is, along each axis:

    - kernel 2s, stride s, padding s/2 (s even), or kernel 2s-1, stride s, padding (s-1)/2 (s odd): the resize
      to n*s with half-pixel centres, except in the outer s//2 pixels, where a resize repeats the edge and the
      convolution sees zeros. interpolation_arguments(s) gives these numbers.
    - kernel 2s-1, stride s, padding s-1: the resize to (n-1)*s+1 with aligned corners, everywhere.
    - the same with output_padding s-1: the resize to n*s whose pixel y samples y/s, except in the last s-1.

    Source: Dive into Deep Learning, fully convolutional networks.
    """

    def __call__(self, tensor: Tensor) -> Tensor:
        """Fill a transposed convolution's weight in place.

        Shapes: (in_channels, out_channels, kH, kW).

        Args:
            tensor: the weight; its dtype and device stay.

        Returns:
            The same tensor.

        Raises:
            ValueError: the tensor is not of rank 4 and floating, or its channel counts differ.
        """
        if tensor.ndim != 4 or not tensor.is_floating_point():
            raise ValueError(
                f"the weight must be floating and of rank 4; got tensor of shape {tuple(tensor.shape)} and "
                f"dtype {tensor.dtype}. Pass the weight of a two-dimensional transposed convolution."
            )
        in_channels, out_channels, height, width = tensor.shape
        with torch.no_grad():
            return tensor.copy_(bilinear_kernel(in_channels, out_channels, (height, width), tensor.dtype))


def enlarge(images: Tensor, scale: int = 2) -> Tensor:
    """Enlarge by a transposed convolution whose weight is bilinear_kernel.

    Shapes: (N, C, H, W) -> (N, C, H*scale, W*scale).

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
    weight = bilinear_kernel(images.shape[1], images.shape[1], arguments["kernel_size"], images.dtype)
    weight = weight.to(images.device)
    return F.conv_transpose2d(images, weight, stride=arguments["stride"], padding=arguments["padding"])


def resize(images: Tensor, scale: int = 2) -> Tensor:
    """Enlarge by the framework's own bilinear resize: half-pixel centres, no antialiasing.

    Shapes: (N, C, H, W) -> (N, C, H*scale, W*scale).

    Args:
        images: floating, of any range.
        scale: a whole factor (>= 1).

    Returns:
        The enlarged images, in the same dtype.

    Source: PyTorch, torch.nn.functional.interpolate.
    """
    return F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)


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
    images = torch.tensor(image).permute(2, 0, 1)[None].to(getattr(torch, dtype))  # (1, C, H, W)
    convolved, resized = (f(images, scale)[0].permute(1, 2, 0).double().numpy() for f in (enlarge, resize))
    return convolved, resized, difference_inside(convolved, resized, scale)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the greatest difference between the two enlargements of a photograph, and draw both."""
    return run(arguments, compare)


if __name__ == "__main__":
    raise SystemExit(main())
