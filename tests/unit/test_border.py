"""One side pads in front of a layer, the other within it: a difference of padding, and nothing else, is named."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from torch import nn
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.replay.border import framed

X = np.random.default_rng(3).standard_normal((2, 32, 48, 3)).astype(np.float32)


def keras_side(scale: float) -> Any:
    """The paddings of MobileNetV3 in keras.applications: behind an activation whose result is rounded."""
    image = keras.Input((32, 48, 3))
    x = L.Rescaling(scale, name="scale")(image) if scale != 1 else image
    x = L.ZeroPadding2D(((0, 1), (0, 1)), name="pad_stem")(x)
    x = L.Activation("hard_silu", name="act")(L.Conv2D(4, 3, strides=2, name="stem")(x))
    x = L.ZeroPadding2D(((1, 2), (1, 2)), name="pad_wide")(x)
    x = L.DepthwiseConv2D(5, strides=2, name="wide")(x)
    x = L.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
    x = L.Conv2D(6, 1, activation="relu", name="squeeze")(x)
    return keras.Model(image, L.Conv2D(5, 1, name="head")(x))


class Torch(nn.Module):
    """torchvision's way: padding inside the layers, vectors where the image has one pixel."""

    def __init__(self, pads: tuple[int, int]) -> None:
        super().__init__()
        self.pads = pads
        self.stem = nn.Conv2d(3, 4, 3, 2, padding=pads[0])
        self.wide = nn.Conv2d(4, 4, 5, 2, padding=pads[1], groups=4)
        self.squeeze, self.head = nn.Linear(4, 6), nn.Linear(6, 5)

    def forward(self, x: Any) -> Any:
        x = x if self.pads[0] else F.pad(x, (0, 1, 0, 1))
        x = F.hardswish(self.stem(x))
        x = self.wide(x if self.pads[1] else F.pad(x, (1, 2, 1, 2)))
        x = self.head(F.relu(self.squeeze(x.mean((2, 3)))))
        return x[:, :, None, None]


def report(scale: float, pads: tuple[int, int]) -> parity.Report:
    module, model = Torch(pads).eval(), keras_side(scale)
    randomise(adapt(module), 1)
    parity.transfer(module, model)
    return parity.compare(model, module, X)


PADDED = [("layer", "stem", "same-padding-asymmetry"), ("layer", "wide", "same-padding-asymmetry")]


@pytest.mark.parametrize(("scale", "wiring"), [(1.0, []), (0.25, [("wiring", "stem", "input-scaling")])])
def test_padding_in_front_and_inside_is_one_difference(
    scale: float, wiring: list[tuple[str, str, str]]
) -> None:
    found = report(scale, (1, 2))
    assert [(each.kind, each.torch, each.cause) for each in found.findings] == wiring + PADDED, str(found)
    fixes = [str(each.fix) for each in found.findings[len(wiring) :]]
    assert "F.pad(x, (0, 1, 0, 1))" in fixes[0]
    assert "F.pad(x, (1, 2, 1, 2))" in fixes[1]


def test_what_the_fixes_say_makes_them_equal() -> None:
    assert report(1.0, (0, 0)).verdict == "EQUAL"


def test_an_image_finds_its_place_in_the_other() -> None:
    rng = np.random.default_rng(0)
    small = rng.standard_normal((2, 3, 5, 7)) + 3.0
    large = np.pad(small, ((0, 0), (0, 0), (2, 0), (1, 3)))
    near = small * (1 + 1e-15)
    inner = framed(large, near)
    assert inner is not None
    assert (inner.offset, inner.alike) == ((2, 1), True)
    np.testing.assert_array_equal(inner.image, small)
    outer = framed(2 * small, large)
    assert outer is not None
    assert (outer.offset, outer.alike) == ((-2, -1), False)
    np.testing.assert_array_equal(outer.image, 2 * large)
    filled = np.where(large == 0, 1.0, large)
    assert framed(filled, small) is None  # that border is no padding
    same = framed(2 * small, small)  # of one size: there is nothing to fit
    assert same is not None
    assert (same.offset, same.alike) == ((0, 0), False)
    np.testing.assert_array_equal(same.image, 2 * small)
    assert framed(np.pad(small, ((0, 0), (0, 0), (17, 0), (0, 0))), small) is None
