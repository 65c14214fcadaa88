"""Layers that Keras has and torch has not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parity.adapters.torch.helpers.padding import pad_same


class SeparableConv2d(nn.Module):
    """A depthwise convolution and a convolution of one pixel behind it, the bias at the end."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: str = "valid",
        dilation: int = 1,
        depth_multiplier: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        inner = in_channels * depth_multiplier
        self.padding = padding
        self.depthwise = nn.Conv2d(
            in_channels,
            inner,
            kernel_size,
            stride,
            dilation=dilation,
            groups=in_channels,
            bias=False,
        )
        self.pointwise = nn.Conv2d(inner, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        conv = self.depthwise
        if self.padding == "same":
            x = pad_same(x, conv.kernel_size, conv.stride, conv.dilation)
        return self.pointwise(conv(x))


class SeparableConv1d(nn.Module):
    """A depthwise convolution and a convolution of one step behind it, the bias at the end."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: str = "valid",
        dilation: int = 1,
        depth_multiplier: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        inner = in_channels * depth_multiplier
        self.padding = padding
        self.depthwise = nn.Conv1d(
            in_channels,
            inner,
            kernel_size,
            stride,
            dilation=dilation,
            groups=in_channels,
            bias=False,
        )
        self.pointwise = nn.Conv1d(inner, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, L)."""
        conv = self.depthwise
        if self.padding == "same":
            x = pad_same(x, conv.kernel_size, conv.stride, conv.dilation)
        return self.pointwise(conv(x))


class Normalization(nn.Module):
    """Images with known means and variances of their channels, brought to mean 0 and variance 1."""

    mean: Tensor
    variance: Tensor

    def __init__(self, mean: tuple[float, ...], variance: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("variance", torch.tensor(variance), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C) or (N, C, *spatial)."""
        shape = (-1, *[1] * (x.ndim - 2))
        mean, std = self.mean.view(shape), torch.sqrt(self.variance).view(shape)
        return (x - mean) / std.clamp(min=1e-7)


class DropPath(nn.Module):
    """Dropout of whole examples: each one is kept or zero."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop examples of (N, ...) in training."""
        if not self.training or not self.p:
            return x
        return x * F.dropout(torch.ones_like(x[(slice(None), *[slice(1)] * (x.ndim - 1))]), self.p)


class GaussianNoise(nn.Module):
    """Normal noise added in training."""

    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = stddev

    def forward(self, x: Tensor) -> Tensor:
        """Add noise to any tensor."""
        return x + torch.randn_like(x) * self.stddev if self.training else x


class GaussianDropout(nn.Module):
    """Normal noise of mean 1 multiplied in training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.stddev = (rate / (1 - rate)) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        """Multiply any tensor."""
        return x * (1 + torch.randn_like(x) * self.stddev) if self.training else x


class EinsumDense(nn.Module):
    """A dense layer over the axes that an equation names."""

    def __init__(
        self,
        equation: str,
        shape: tuple[int, ...],
        bias_shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.equation = equation
        self.kernel = nn.Parameter(torch.empty(shape))
        nn.init.xavier_uniform_(self.kernel.flatten(1) if len(shape) > 1 else self.kernel[None])
        self.bias = None if bias_shape is None else nn.Parameter(torch.zeros(bias_shape))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply, as the equation says."""
        x = torch.einsum(self.equation, x, self.kernel)
        return x if self.bias is None else x + self.bias
