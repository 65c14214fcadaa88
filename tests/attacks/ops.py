"""The same operations under the same names in both frameworks, so that a network is written once.

Axes are named, not counted: H, W and C say where rows, columns and channels lie in the framework's own layout.
Vectors (N, C) and images (N, H, W, C) or (N, C, H, W) are meant; tokens (N, T, C) use axis=-1 on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from keras import ops
from torch.nn import functional as F


class KerasOps:
    """keras.ops, channels last."""

    side = "keras"
    H, W, C = 1, 2, -1

    def __getattr__(self, name: str) -> Any:
        return getattr(ops, name)

    def constant(self, value: np.ndarray, like: Any) -> Any:
        """An array in the Keras layout, in the dtype of `like`; rounded to float32, in which Keras keeps constants."""
        return ops.cast(ops.convert_to_tensor(value.astype(np.float32)), like.dtype)

    def mask(self, value: np.ndarray) -> Any:
        """A boolean array in the Keras layout."""
        return ops.convert_to_tensor(value.astype(bool))

    def like(self, value: Any, other: Any) -> Any:
        return ops.cast(value, other.dtype)

    def sized(self, value: Any, axis: int) -> Any:
        """A size as a number in the dtype of the tensor, known or not when the model is built."""
        return ops.cast(ops.shape(value)[axis], value.dtype)

    def dtype_of(self, value: Any) -> str:
        from keras import backend

        return str(backend.standardize_dtype(value.dtype))

    def relu6(self, value: Any) -> Any:
        return ops.relu6(value)

    def gelu(self, value: Any, approximate: bool = False) -> Any:
        return ops.gelu(value, approximate=approximate)

    def limited_softplus(self, value: Any, limit: float) -> Any:
        return ops.where(value > limit, value, ops.softplus(value))

    def max_pool(self, value: Any, size: int, stride: int) -> Any:
        return ops.max_pool(value, size, stride)

    def average_pool(self, value: Any, size: int, stride: int) -> Any:
        return ops.average_pool(value, size, stride)

    def nearest(self, value: Any, factor: int) -> Any:
        return ops.repeat(ops.repeat(value, factor, 1), factor, 2)

    def bilinear(self, value: Any, height: int, width: int) -> Any:
        return ops.image.resize(value, (height, width), "bilinear")

    def pad_image(
        self, value: Any, rows: tuple[int, int], columns: tuple[int, int], fill: float = 0.0
    ) -> Any:
        return ops.pad(value, ((0, 0), rows, columns, (0, 0)), constant_values=fill)

    def rows(self, value: Any, start: int | None, stop: int | None, step: int | None = None) -> Any:
        return value[:, start:stop:step]

    def channels(self, value: Any, start: int | None, stop: int | None) -> Any:
        return value[..., start:stop]

    def flatten(self, value: Any) -> Any:
        """(N, everything else), in the framework's own order."""
        return ops.reshape(value, (ops.shape(value)[0], -1))

    def transposed(self, value: Any) -> Any:
        """Rows and columns exchanged."""
        return ops.swapaxes(value, 1, 2)

    def numpy(self, value: Any) -> np.ndarray:
        return np.asarray(ops.convert_to_numpy(value))


class TorchOps:
    """The same in torch, channels first."""

    side = "torch"
    H, W, C = 2, 3, 1

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def _laid_out(self, value: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(value, -1, 1) if value.ndim > 2 else value))

    def constant(self, value: np.ndarray, like: Any) -> Any:
        return self._laid_out(value.astype(np.float32)).to(like.dtype)

    def mask(self, value: np.ndarray) -> Any:
        return self._laid_out(value.astype(bool))

    def like(self, value: Any, other: Any) -> Any:
        return value.to(other.dtype)

    def cast(self, value: Any, dtype: str) -> Any:
        return value.to(getattr(torch, dtype))

    def sized(self, value: Any, axis: int) -> Any:
        return torch.tensor(value.shape[axis], dtype=value.dtype)

    def dtype_of(self, value: Any) -> str:
        return str(value.dtype).removeprefix("torch.")

    def relu6(self, value: Any) -> Any:
        return F.relu6(value)

    def elu(self, value: Any, alpha: float = 1.0) -> Any:
        return F.elu(value, alpha)

    def leaky_relu(self, value: Any, negative_slope: float) -> Any:
        return F.leaky_relu(value, negative_slope)

    def hard_tanh(self, value: Any) -> Any:
        return F.hardtanh(value)

    def silu(self, value: Any) -> Any:
        return F.silu(value)

    def gelu(self, value: Any, approximate: bool = False) -> Any:
        return F.gelu(value, approximate="tanh" if approximate else "none")

    def softplus(self, value: Any) -> Any:
        return torch.logaddexp(value, torch.zeros_like(value))

    def limited_softplus(self, value: Any, limit: float) -> Any:
        return F.softplus(value, threshold=limit)

    def softmax(self, value: Any, axis: int = -1) -> Any:
        return torch.softmax(value, axis)

    def log_softmax(self, value: Any, axis: int = -1) -> Any:
        return torch.log_softmax(value, axis)

    def clip(self, value: Any, low: float, high: float) -> Any:
        return torch.clamp(value, low, high)

    def maximum(self, value: Any, other: Any) -> Any:
        return torch.maximum(value, torch.as_tensor(other, dtype=value.dtype))

    def minimum(self, value: Any, other: Any) -> Any:
        return torch.minimum(value, torch.as_tensor(other, dtype=value.dtype))

    def equal(self, value: Any, other: Any) -> Any:
        return value == other

    def sum(self, value: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return value.sum() if axis is None else value.sum(axis, keepdim=keepdims)

    def mean(self, value: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return value.mean() if axis is None else value.mean(axis, keepdim=keepdims)

    def var(self, value: Any, axis: Any, keepdims: bool = False) -> Any:
        return value.var(axis, unbiased=False, keepdim=keepdims)

    def max(self, value: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return value.max() if axis is None else value.amax(axis, keepdim=keepdims)

    def min(self, value: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return value.min() if axis is None else value.amin(axis, keepdim=keepdims)

    def argmax(self, value: Any, axis: int) -> Any:
        return value.argmax(axis)

    def argsort(self, value: Any, axis: int) -> Any:
        return value.argsort(dim=axis, stable=True)

    def sort(self, value: Any, axis: int) -> Any:
        return value.sort(dim=axis, stable=True).values

    def top_k(self, value: Any, k: int) -> Any:
        return torch.topk(value, k, -1)

    def one_hot(self, value: Any, count: int) -> Any:
        return F.one_hot(value, count).to(torch.float32)

    def any(self, value: Any, axis: int) -> Any:
        return value.any(axis)

    def logsumexp(self, value: Any, axis: Any, keepdims: bool = False) -> Any:
        return torch.logsumexp(value, axis, keepdim=keepdims)

    def cumsum(self, value: Any, axis: int) -> Any:
        return torch.cumsum(value, axis)

    def flip(self, value: Any, axis: int) -> Any:
        return torch.flip(value, (axis,))

    def concatenate(self, values: Sequence[Any], axis: int) -> Any:
        return torch.cat(list(values), axis)

    def stack(self, values: Sequence[Any], axis: int) -> Any:
        return torch.stack(list(values), axis)

    def roll(self, value: Any, shift: int, axis: int) -> Any:
        return torch.roll(value, shift, axis)

    def max_pool(self, value: Any, size: int, stride: int) -> Any:
        return F.max_pool2d(value, size, stride)

    def average_pool(self, value: Any, size: int, stride: int) -> Any:
        return F.avg_pool2d(value, size, stride)

    def nearest(self, value: Any, factor: int) -> Any:
        return F.interpolate(value, scale_factor=factor, mode="nearest")

    def bilinear(self, value: Any, height: int, width: int) -> Any:
        return F.interpolate(value, size=(height, width), mode="bilinear", align_corners=False)

    def pad_image(
        self, value: Any, rows: tuple[int, int], columns: tuple[int, int], fill: float = 0.0
    ) -> Any:
        return F.pad(value, (*columns, *rows), value=fill)

    def rows(self, value: Any, start: int | None, stop: int | None, step: int | None = None) -> Any:
        return value[:, :, start:stop:step]

    def channels(self, value: Any, start: int | None, stop: int | None) -> Any:
        return value[:, start:stop]

    def flatten(self, value: Any) -> Any:
        return value.reshape(value.shape[0], -1)

    def transposed(self, value: Any) -> Any:
        return torch.swapaxes(value, 2, 3)

    def swapaxes(self, value: Any, first: int, second: int) -> Any:
        return torch.swapaxes(value, first, second)

    def numpy(self, value: Any) -> np.ndarray:
        return np.asarray(value.detach())


KERAS, TORCH = KerasOps(), TorchOps()
