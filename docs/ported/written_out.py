"""WrittenOut, ported from Keras.

Proved equal to tests.public.keras_models:WrittenOut by parity 0.2.0 (Keras 3.15.1, TensorFlow 2.21.0, JAX
0.10.2, PyTorch 2.13.0+cpu):
- outputs: one probe, 7 layers, 2550 elements, greatest difference 9.0e-16
- second size: 3x44x63x3
- reload: 14 tensors saved, loaded and the same
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


# What torch has no layer for, or computes otherwise.


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


class Conv2dSame(nn.Conv2d):
    """A convolution with padding "same" whatever its stride."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        return super().forward(pad_same(x, self.kernel_size, self.stride, self.dilation))


# The network.


class ChannelGate(nn.Module):
    """Weighs channels by what the whole picture shows."""

    def __init__(self, channels, ratio=4):
        super().__init__()
        self.reduce = nn.Linear(channels, channels // ratio)
        self.expand = nn.Linear(channels // ratio, channels)

    def forward(self, x):
        weights = torch.sigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3))))))
        return x * weights[:, None, None].permute(0, 3, 1, 2)


class Scale(nn.Module):
    """A factor of its own for each channel."""

    def __init__(self, start=0.1):
        super().__init__()
        if start != 0.1:
            raise ValueError("this port has start=0.1 alone")
        self.gamma = nn.Parameter(torch.empty(8))
        nn.init.normal_(self.gamma, std=0.02)

    def forward(self, x):
        return x * self.gamma[:, None, None]


class WrittenOut(nn.Module):
    """A small network of layers that are written by hand with keras.ops."""

    def __init__(self, width=8, classes=3):
        super().__init__()
        if width != 8:
            raise ValueError("this port has width=8 alone")
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width, eps=0.001, momentum=0.01)
        self.gate = ChannelGate(width)
        self.scale = Scale()
        self.depthwise = Conv2dSame(16, 16, 3, stride=2, groups=16)
        self.head = nn.Conv2d(16, classes, 1)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = x + self.scale(self.gate(x))
        x = torch.cat((x, x.roll(1, 3)), dim=1)
        x = self.depthwise(x)
        spread = x.flatten(2)
        spread = spread.softmax(dim=2) * spread
        return self.head(spread.unflatten(2, (x.shape[2], x.shape[3])))


def build():
    """WrittenOut with fresh weights."""
    return WrittenOut()
