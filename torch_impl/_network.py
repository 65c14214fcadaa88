"""What the networks share: first values, and the check of an image."""

from __future__ import annotations

from torch import Tensor, nn

from torch_impl.layers import Conv2d


def kaiming_normal(module: nn.Module) -> None:
    """Draw every convolution's kernel from He et al.'s normal distribution, with the fan of the output."""
    for each in module.modules():
        if isinstance(each, Conv2d):
            nn.init.kaiming_normal_(each.weight, mode="fan_out", nonlinearity="relu")


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
