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
    assert framed(np.pad(small, ((0, 0), (0, 0), (289, 0), (0, 0))), small) is None


class Causal(nn.Module):
    """Convolutions that pad on both sides and cut what is too much off the end, as temporal networks are written."""

    def __init__(self, wide: int = 0, slope: float = 0.3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Conv1d(4, 4, 3, padding=2 * d + wide, dilation=d, padding_mode="zeros") for d in (1, 4, 16)
        )
        self.last, self.wide, self.slope = nn.Linear(4, 2), wide, slope

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            cut = block.padding[0] - self.wide
            x = x + F.leaky_relu(block(x)[:, :, :-cut], self.slope) if not self.wide else block(x)
        return self.last(x.mean(2))


def causal(sums: bool = True) -> Any:
    x = given = keras.Input((None, 4))
    for number, d in enumerate((1, 4, 16)):
        pad = "causal" if sums else "valid"
        y = L.Conv1D(4, 3, dilation_rate=d, padding=pad, name=f"c{number}")(
            x if sums else L.ZeroPadding1D(2 * d)(x)
        )
        x = L.Add()([x, L.LeakyReLU(negative_slope=0.3)(y)]) if sums else y
    return keras.Model(given, L.Dense(2)(L.GlobalAveragePooling1D()(x)))


SEQUENCE = np.random.default_rng(4).standard_normal((2, 40, 4)).astype(np.float32)


def causes_of(model: Any, module: Any) -> set[tuple[str | None, str | None]]:
    randomise(adapt(module), 1)
    parity.transfer(module, model, inputs=SEQUENCE)
    report = parity.compare(model, module, SEQUENCE)
    return {(finding.torch, finding.cause) for finding in report.findings}


def test_what_torch_cuts_off_behind_a_layer_is_no_fault_of_the_layer() -> None:
    """A fault elsewhere, and a cut of up to 32 steps behind each convolution, the last one too."""
    assert causes_of(causal(), Causal()) == set()
    found = causes_of(causal(), Causal(slope=0.1))
    assert {cause for _, cause in found} == {"leaky-relu-slope"}, found


def test_layers_that_pad_more_are_each_a_fault() -> None:
    """What is larger and not cut behind is no cut, however many layers do it."""
    found = causes_of(causal(sums=False), Causal(wide=1))
    assert {(f"blocks.{number}", "padding-size") for number in range(3)} <= found, found
