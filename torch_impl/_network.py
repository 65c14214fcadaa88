"""What the networks share: a pooling that keeps the odd row, first values, and the check of an image."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from torch_impl.initializers import BilinearKernel
from torch_impl.layers import Conv2d, ConvTranspose2d, MaxPool2d


class CeilMaxPool2d(MaxPool2d):
    """Take the greatest value of each window; what is left over at the bottom and the right makes one more.

    Shapes: (N, C, H, W) -> (N, C, ceil(H / kernel_size), ceil(W / kernel_size)).

    Args:
        kernel_size: pixels, and the stride.

    Source: Caffe's pooling, which rounds sizes up.
    """

    def __init__(self, kernel_size: int) -> None:
        super().__init__(kernel_size)
        self.ceil_mode = True


def kaiming_normal(module: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Draw every convolution's kernel from He et al.'s normal distribution."""
    for each in module.modules():
        if isinstance(each, Conv2d):
            nn.init.kaiming_normal_(each.weight, mode=mode, nonlinearity="relu")


def zero_biases(module: nn.Module) -> None:
    """Begin with no bias."""
    for each in module.modules():
        if isinstance(each, Conv2d | ConvTranspose2d) and each.bias is not None:
            nn.init.zeros_(each.bias)


def bilinear(layer: ConvTranspose2d) -> None:
    """Begin with bilinear interpolation."""
    BilinearKernel()(layer.weight)


def xavier_uniform(layer: Conv2d) -> None:
    """Begin with Glorot & Bengio's uniform distribution."""
    nn.init.xavier_uniform_(layer.weight)


def cut(x: Tensor, offset: int, like: Tensor) -> Tensor:
    """Leave `offset` rows and columns away, and take as many as `like` has."""
    height, width = like.shape[2:]
    return x[:, :, offset : offset + height, offset : offset + width]


def check_images(x: Tensor, channels: int) -> None:
    """Refuse what is no batch of images with `channels` channels."""
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(
            f"images must be (N, {channels}, H, W); got shape={tuple(x.shape)}. "
            "Put the channels second, and add the batch axis."
        )


def freeze(module: nn.Module) -> None:
    """Leave the module's parameters out of training."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
