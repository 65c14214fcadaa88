"""The networks' bodies by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tf_impl.resnet import ResNet, ResNetV2
from tf_impl.vgg import VGG16

NAMES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet18_v2", "resnet34_v2", "vgg16")


def make_backbone(
    body: str,
    output_stride: int = 32,
    width: int = 64,
    multi_grid: Sequence[int] | None = None,
    allowed: Sequence[str] = NAMES,
    **kwargs: Any,
) -> ResNet | ResNetV2 | VGG16:
    """Make a body that gives a list of feature maps.

    Raises:
        ValueError: the name is not known, or the body has no multi-grid.
    """
    if body not in allowed:
        raise ValueError(f"backbone must be one of {', '.join(allowed)}; got backbone={body!r}. Choose one.")
    depth = int(re.findall(r"\d+", body)[0])
    if body.startswith("resnet") and not body.endswith("_v2"):
        return ResNet(depth, None, output_stride, multi_grid, width, **kwargs)
    if multi_grid is not None:
        raise ValueError(
            f"multi_grid must be None with {body}; got multi_grid={tuple(multi_grid)}. Use resnet18 to resnet101."
        )
    if body == "vgg16":
        return VGG16(output_stride, width=width, **kwargs)
    return ResNetV2(depth, None, output_stride, width, **kwargs)
