"""Padding "same" as Keras pads: to ceil(size / stride) outputs, the odd row and column at the end."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def pad_same(
    x: Tensor,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    value: float = 0.0,
) -> Tensor:
    """Pad (N, C, *spatial) so that a kernel gives ceil(size / stride) outputs."""
    pads: list[int] = []
    for axis in range(1, len(kernel_size) + 1):
        size, step = x.shape[-axis], stride[-axis]
        reach = (kernel_size[-axis] - 1) * dilation[-axis] + 1
        total = max((-(-size // step) - 1) * step + reach - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


class Conv1dSame(nn.Conv1d):
    """A convolution with padding "same" whatever its stride."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, L)."""
        return super().forward(pad_same(x, self.kernel_size, self.stride, self.dilation))


class Conv2dSame(nn.Conv2d):
    """A convolution with padding "same" whatever its stride."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        return super().forward(pad_same(x, self.kernel_size, self.stride, self.dilation))


class Conv3dSame(nn.Conv3d):
    """A convolution with padding "same" whatever its stride."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, D, H, W)."""
        return super().forward(pad_same(x, self.kernel_size, self.stride, self.dilation))


def crop_same(
    x: Tensor,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    sizes: tuple[int, ...],
) -> Tensor:
    """Cut what a transposed convolution gives down to size * stride, the odd row and column at the end."""
    pads: list[int] = []
    for axis in range(1, len(kernel_size) + 1):
        surplus = x.shape[-axis] - sizes[-axis] * stride[-axis]
        start = max(kernel_size[-axis] - stride[-axis], 0) // 2
        pads += [-start, start - surplus]
    return F.pad(x, pads)


class ConvTranspose1dSame(nn.ConvTranspose1d):
    """A transposed convolution with padding "same": size * stride outputs."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve (N, C, L)."""
        return crop_same(super().forward(x), self.kernel_size, self.stride, x.shape[2:])


class ConvTranspose2dSame(nn.ConvTranspose2d):
    """A transposed convolution with padding "same": size * stride outputs."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve (N, C, H, W)."""
        return crop_same(super().forward(x), self.kernel_size, self.stride, x.shape[2:])


class ConvTranspose3dSame(nn.ConvTranspose3d):
    """A transposed convolution with padding "same": size * stride outputs."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve (N, C, D, H, W)."""
        return crop_same(super().forward(x), self.kernel_size, self.stride, x.shape[2:])
