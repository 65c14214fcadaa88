"""Pooling as Keras pools with padding "same": means count what is there, not the padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from parity.adapters.torch.helpers.padding import pad_same


def max_pool2d_same(x: Tensor, pool_size: int | tuple[int, int], stride: int | tuple[int, int] = 0) -> Tensor:
    """The greatest value of each window of (N, C, H, W), padded to ceil(size / stride)."""
    window = (pool_size, pool_size) if isinstance(pool_size, int) else pool_size
    step = (stride, stride) if isinstance(stride, int) else stride
    step = step if all(step) else window
    return F.max_pool2d(pad_same(x, window, step, (1, 1), float("-inf")), window, step)


def avg_pool2d_same(x: Tensor, pool_size: int | tuple[int, int], stride: int | tuple[int, int] = 0) -> Tensor:
    """The mean of each window of (N, C, H, W) without the padding."""
    window = (pool_size, pool_size) if isinstance(pool_size, int) else pool_size
    step = (stride, stride) if isinstance(stride, int) else stride
    step = step if all(step) else window
    total = F.avg_pool2d(pad_same(x, window, step, (1, 1)), window, step)
    inside = torch.ones_like(x[:1, :1])
    return total / F.avg_pool2d(pad_same(inside, window, step, (1, 1)), window, step)


def max_pool1d_same(x: Tensor, pool_size: int, stride: int = 0) -> Tensor:
    """The greatest value of each window of (N, C, L), padded to ceil(length / stride)."""
    step = stride or pool_size
    padded = pad_same(x, (pool_size,), (step,), (1,), float("-inf"))
    return F.max_pool1d(padded, pool_size, step)


def avg_pool1d_same(x: Tensor, pool_size: int, stride: int = 0) -> Tensor:
    """The mean of each window of (N, C, L) without the padding."""
    step = stride or pool_size
    total = F.avg_pool1d(pad_same(x, (pool_size,), (step,), (1,)), pool_size, step)
    inside = torch.ones_like(x[:1, :1])
    return total / F.avg_pool1d(pad_same(inside, (pool_size,), (step,), (1,)), pool_size, step)


def max_pool3d_same(x: Tensor, pool_size: int | tuple[int, ...], stride: int | tuple[int, ...] = 0) -> Tensor:
    """The greatest value of each window of (N, C, D, H, W), padded to ceil(size / stride)."""
    window = (pool_size,) * 3 if isinstance(pool_size, int) else pool_size
    step = (stride,) * 3 if isinstance(stride, int) else stride
    step = step if all(step) else window
    return F.max_pool3d(pad_same(x, window, step, (1, 1, 1), float("-inf")), window, step)


def avg_pool3d_same(x: Tensor, pool_size: int | tuple[int, ...], stride: int | tuple[int, ...] = 0) -> Tensor:
    """The mean of each window of (N, C, D, H, W) without the padding."""
    window = (pool_size,) * 3 if isinstance(pool_size, int) else pool_size
    step = (stride,) * 3 if isinstance(stride, int) else stride
    step = step if all(step) else window
    total = F.avg_pool3d(pad_same(x, window, step, (1, 1, 1)), window, step)
    inside = torch.ones_like(x[:1, :1])
    return total / F.avg_pool3d(pad_same(inside, window, step, (1, 1, 1)), window, step)


def masked_mean(x: Tensor, mask: Tensor, keepdim: bool = False) -> Tensor:
    """The mean over time of the steps of (N, T, C) where the mask (N, T) is true."""
    inside = mask.bool()[..., None]
    total = torch.where(inside, x, 0.0).sum(1, keepdim=keepdim)
    return total / inside.to(x.dtype).sum(1, keepdim=keepdim)


def center_crop(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of (N, C, H, W), half of an odd rest less at the start."""
    top, left = (x.shape[2] - size[0]) // 2, (x.shape[3] - size[1]) // 2
    return x[:, :, top : top + size[0], left : left + size[1]]


def extract_patches(x: Tensor, size: tuple[int, int], strides: tuple[int, int] | None = None) -> Tensor:
    """Patches as channels, (N, C, H, W) -> (N, h * w * C, H', W'): rows and columns come before the channels."""
    down, right = strides or size
    x = x.unfold(2, size[0], down).unfold(3, size[1], right)
    return x.permute(0, 4, 5, 1, 2, 3).flatten(1, 3)


def depth_to_space(x: Tensor, block_size: int) -> Tensor:
    """Channels to blocks of pixels, (N, b * b * C, H, W) -> (N, C, b * H, b * W).

    Keras counts the rows and columns of a block before the channels.
    """
    n, c, h, w = x.shape
    b = block_size
    x = x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // b**2, h * b, w * b)


def space_to_depth(x: Tensor, block_size: int) -> Tensor:
    """Blocks of pixels to channels, (N, C, b * H, b * W) -> (N, b * b * C, H, W)."""
    n, c, h, w = x.shape
    b = block_size
    x = x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * b**2, h // b, w // b)
