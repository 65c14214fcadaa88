"""What a convolution, a pooling, a resize or an activation computes, written out once: NumPy in, NumPy out, float64.

The causes are found by holding what a layer gave against these, under one hypothesis after another. Arrays
are channels first, (N, C, *spatial). PyTorch does the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from parity.core.types import Array

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
LINEAR_MODE = {1: "linear", 2: "bilinear", 3: "trilinear"}


def _tensor(value: Array) -> torch.Tensor:
    return torch.from_numpy(np.array(value, dtype=np.float64, order="C"))  # a copy: strides may be negative


def padded(x: Array, pads: Sequence[tuple[int, int]], mode: str = "constant", value: float = 0.0) -> Array:
    """Pad the spatial axes by (begin, end) each; negative numbers crop. `mode` as in torch.nn.functional.pad."""
    flat = [size for pair in reversed(list(pads)) for size in pair]
    fill = {"value": value} if mode == "constant" else {}
    return F.pad(_tensor(x), flat, mode=mode, **fill).numpy()


def correlation(
    x: Array, weight: Array, stride: Sequence[int], dilation: Sequence[int], groups: int
) -> Array:
    """A convolution layer without padding and without bias."""
    layer = CONV[x.ndim - 2]
    return layer(_tensor(x), _tensor(weight), None, tuple(stride), 0, tuple(dilation), groups).numpy()


def spread(x: Array, weight: Array, stride: Sequence[int], dilation: Sequence[int], groups: int) -> Array:
    """A transposed convolution without bias, uncropped: (n - 1) * stride + dilation * (k - 1) + 1 a side."""
    layer = CONV_TRANSPOSE[x.ndim - 2]
    return layer(_tensor(x), _tensor(weight), None, tuple(stride), 0, 0, groups, tuple(dilation)).numpy()


def pool(x: Array, kind: str, kernel: Sequence[int], stride: Sequence[int], pads: Sequence[tuple[int, int]],
         count_padding: bool) -> Array:  # fmt: skip
    """A "max" or "avg" pooling over a padded image; the zeros of the padding count, or are left out."""
    rank = x.ndim - 2
    if kind == "max":
        operation: Callable[..., Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[rank]
        filled = padded(x, pads, value=0.0 if count_padding else -np.inf)
        return operation(_tensor(filled), tuple(kernel), tuple(stride)).numpy()
    operation = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[rank]
    summed = operation(_tensor(padded(x, pads)), tuple(kernel), tuple(stride)).numpy()
    if count_padding:
        return summed
    share = operation(_tensor(padded(np.ones_like(x[:1, :1]), pads)), tuple(kernel), tuple(stride)).numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        return summed / share


def resize(x: Array, size: Sequence[int], mode: str) -> Array:
    """Resize the spatial axes; `mode` is one of RESIZE_MODES."""
    rank = x.ndim - 2
    name, _, option = mode.partition(" ")
    plain = {"linear": LINEAR_MODE[rank], "cubic": "bicubic"}.get(name, name)
    options: dict[str, Any] = {}
    if name in {"linear", "cubic"}:
        options = {"align_corners": option == "align_corners", "antialias": option == "antialias"}
    return F.interpolate(_tensor(x), tuple(size), mode=plain, **options).numpy()


RESIZE_MODES = (
    "nearest", "nearest-exact", "linear", "linear align_corners", "linear antialias", "cubic",
    "cubic align_corners", "cubic antialias", "area",
)  # fmt: skip


def activation(name: str) -> Callable[[Array], Array]:
    """The activation of this name, of one array."""
    function = ACTIVATIONS[name]
    return lambda x: function(_tensor(x)).numpy()


def leaky(slope: float) -> Callable[[Array], Array]:
    """A leaky ReLU with this slope."""
    return lambda x: np.where(x > 0, x, slope * x)


def softmax(x: Array, axis: int) -> Array:
    """Softmax over one axis."""
    return torch.softmax(_tensor(x), axis).numpy()


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu by erf": F.gelu,
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu by sigmoid": lambda x: x * torch.sigmoid(1.702 * x),
    "hard sigmoid x/6+0.5": F.hardsigmoid,
    "hard sigmoid 0.2x+0.5": lambda x: torch.clamp(0.2 * x + 0.5, 0, 1),
    "hard swish x/6+0.5": F.hardswish,
    "hard swish 0.2x+0.5": lambda x: x * torch.clamp(0.2 * x + 0.5, 0, 1),
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "mish": F.mish,
    "softsign": F.softsign,
    "exp": torch.exp,
    "log-sigmoid": F.logsigmoid,
}
