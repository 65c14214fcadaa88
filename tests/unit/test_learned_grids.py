"""Learned grids that are added to images or multiplied with them: (H, W, C) in Keras, (1, C, H, W) in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn

import parity

Shape = Callable[[int, int, int], tuple[int, ...]]
FORMS: dict[str, tuple[Shape, Shape]] = {
    "1HWC 1CHW": (lambda h, w, c: (1, h, w, c), lambda h, w, c: (1, c, h, w)),
    "HWC CHW": (lambda h, w, c: (h, w, c), lambda h, w, c: (c, h, w)),
    "HWC 1CHW": (lambda h, w, c: (h, w, c), lambda h, w, c: (1, c, h, w)),
    "HW1 11HW": (lambda h, w, c: (h, w, 1), lambda h, w, c: (1, 1, h, w)),
    "C 1C11": (lambda h, w, c: (c,), lambda h, w, c: (1, c, 1, 1)),
}
SIZES = {"other lengths": (7, 10, 6), "square": (8, 8, 6), "cube": (6, 6, 6)}
STEPS = ("added", "gate", "in front")


class Grid(L.Layer):
    def __init__(self, shape: tuple[int, ...], step: str, **more: Any) -> None:
        super().__init__(**more)
        self.form, self.step = shape, step

    def build(self, _: Any) -> None:
        self.table = self.add_weight(shape=self.form, initializer="normal", name="table")

    def call(self, x: Any) -> Any:
        return x * ops.sigmoid(self.table) if self.step == "gate" else x + self.table


class Gridded(nn.Module):
    def __init__(self, shape: tuple[int, ...], step: str, channels: int) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, 4, 3)
        self.places, self.step = nn.Parameter(torch.randn(*shape)), step

    def forward(self, x: Any) -> Any:
        if self.step == "in front":
            return self.last(self.first(x + self.places))
        x = self.first(x)
        return self.last(x * torch.sigmoid(self.places) if self.step == "gate" else x + self.places)


def pair(form: str, size: str, step: str, name: str) -> tuple[Any, Any, Any]:
    height, width, channels = SIZES[size]
    shapes = [shape(height, width, channels) for shape in FORMS[form]]
    image = keras.Input((height, width, channels))
    grid = Grid(shapes[0], step, name=name)
    x = grid(image) if step == "in front" else image
    x = L.Conv2D(channels, 3, padding="same", name="first")(x)
    x = x if step == "in front" else grid(x)
    model = keras.Model(image, L.Conv2D(4, 3, name="last")(x))
    values = np.random.default_rng(0).standard_normal((2, height, width, channels)).astype(np.float32)
    return model, Gridded(shapes[1], step, channels).eval(), values


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", FORMS)
def test_grids_are_copied_by_the_axes_of_the_image(form: str, size: str, step: str) -> None:
    model, module, values = pair(form, size, step, "grid")
    parity.transfer(module, model, inputs=values)
    assert parity.compare(model, module, values).verdict == "EQUAL"
    before = module.places.detach().numpy().copy()
    module.places.data.zero_()
    parity.transfer(model, module, inputs=values)
    np.testing.assert_array_equal(module.places.detach().numpy(), before)
