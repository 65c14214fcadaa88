"""Every finding says where in the user's own files it is, and what both sides do between the last equal tensors and it."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L
from torch import nn

import parity


class KerasUpscaler(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.body = L.Conv2D(8, 3, padding="same")
        self.tail = L.Conv2D(3, 3, padding="same")

    def call(self, x: Any) -> Any:
        return self.tail(tf.nn.depth_to_space(self.body(x), 2))


class TorchUpscaler(nn.Module):
    right = False

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, padding=1)
        self.tail = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x: Any) -> Any:
        y = self.body(x)
        if self.right:
            n, c, h, w = y.shape
            y = y.reshape(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.tail(nn.functional.pixel_shuffle(y, 2))


def functional() -> Any:
    image = keras.Input((9, 11, 3))
    x = L.Conv2D(5, 3, padding="same")(image)
    x = L.BatchNormalization(epsilon=1e-3)(x)
    return keras.Model(image, L.Conv2D(2, 1)(x))


def sequence() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        nn.BatchNorm2d(5),
        nn.Conv2d(5, 2, 1),
    )


def line(function: Any, text: str) -> str:
    """file:line of a piece of this file."""
    lines, first = inspect.getsourcelines(function)
    return f"test_sites.py:{first + next(i for i, item in enumerate(lines) if text in item)}"


def upscalers(right: bool) -> tuple[Any, Any]:
    model, module = KerasUpscaler(), TorchUpscaler().eval()
    model(np.zeros((1, 6, 7, 3), np.float32))
    module.right = right
    parity.transfer(module, model, inputs=np.zeros((1, 6, 7, 3), np.float32))
    return model, module


IMAGE = np.random.default_rng(0).normal(size=(2, 6, 7, 3)).astype(np.float32)


def test_a_step_that_no_rule_knows_is_shown_on_both_sides() -> None:
    report = parity.compare(*upscalers(False), IMAGE)
    assert report.verdict == "DIVERGED"
    found = report.first
    assert found is not None
    keras_at = line(KerasUpscaler, "depth_to_space")
    torch_at = line(TorchUpscaler, "pixel_shuffle")
    assert found.keras_at is not None
    assert found.keras_at.endswith(keras_at)
    assert found.torch_at is not None
    assert found.torch_at.endswith(torch_at)
    assert "`tf.nn.depth_to_space(self.body(x), 2)`" in found.evidence
    assert "`nn.functional.pixel_shuffle(y, 2)`" in found.evidence
    assert keras_at in str(report)
    assert report.to_dict()["findings"][0]["torch_at"] == found.torch_at


def test_the_right_step_is_equal() -> None:
    report = parity.compare(*upscalers(True), IMAGE)
    assert report.verdict == "EQUAL", str(report)


def test_a_layer_is_named_where_it_is_made(tmp_path: Any) -> None:
    model, module = functional(), sequence().eval()
    parity.transfer(module, model)
    report = parity.compare(model, module)
    found = report.first
    assert found is not None
    assert found.cause == "batchnorm-epsilon"
    assert found.keras_at is not None
    assert found.keras_at.endswith(line(functional, "BatchNormalization"))
    assert found.torch_at is not None
    assert found.torch_at.endswith(line(sequence, "BatchNorm2d"))
    report.to_html(tmp_path / "report.html")
    assert found.torch_at in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("made", [functional, sequence])
def test_the_model_itself_has_a_place(made: Any) -> None:
    from parity.adapters import adapt

    adapter = adapt(made())
    paths = [path for path, layer in adapter.layers().items() if layer.tensors]
    assert all(str(adapter.made_at(path)).partition(":")[0].endswith("test_sites.py") for path in paths)
