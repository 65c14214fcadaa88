"""Steps that TensorFlow has in float32 alone are judged in float64 all the same: pooling of volumes, bicubic resizing."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.keras.exact import exact_float64
from parity.adapters.keras.exact_steps.resizing import resized
from parity.adapters.probe import randomise

pytestmark = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow's own steps")
VOLUMES = np.random.default_rng(1).normal(size=(2, 5, 8, 9, 3)).astype("float32")
IMAGES = np.random.default_rng(2).normal(size=(2, 9, 12, 3)).astype("float32")


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("window", "strides"), [(2, 2), ((2, 3, 2), (1, 2, 3)), (3, 1)])
@pytest.mark.parametrize("pool", [ops.max_pool, ops.average_pool])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_volumes_are_pooled_as_in_float32(
    pool: Any, window: Any, strides: Any, padding: str, data_format: str
) -> None:
    plain = np.asarray(pool(VOLUMES, window, strides, padding, data_format))
    with exact_float64():
        found = pool(ops.convert_to_tensor(VOLUMES.astype("float64")), window, strides, padding, data_format)
    assert np.asarray(found).dtype == np.float64
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-6)


def test_pooling_of_tensorflow_itself_takes_volumes_too() -> None:
    wide = tf.constant(VOLUMES.astype("float64"))
    with exact_float64():
        found = [
            tf.nn.max_pool3d(wide, 2, 2, "VALID"),
            tf.nn.pool(wide, (2, 2, 2), "MAX", strides=(2, 2, 2), padding="VALID"),
            tf.nn.max_pool(wide, [1, 2, 2, 2, 1], [1, 2, 2, 2, 1], "VALID"),
        ]
    plain = tf.nn.max_pool3d(VOLUMES, 2, 2, "VALID")
    for one in found:
        np.testing.assert_allclose(one, plain, rtol=0, atol=1e-6)


def volume_model(epsilon: float, pooling: str, first: bool) -> Any:
    """A residual step, a pooling and a dense layer, with channels first or last."""
    how = {"data_format": "channels_first" if first else "channels_last"}
    inputs = keras.Input((3, 6, 8, 7) if first else (6, 8, 7, 3))
    x = L.Conv3D(4, 3, padding="same", activation="relu", **how)(inputs)
    x = L.BatchNormalization(axis=1 if first else -1, epsilon=epsilon)(x)
    x = L.Add()([x, L.Conv3D(4, 1, **how)(inputs)])
    pool = {"max": L.MaxPooling3D, "average": L.AveragePooling3D}[pooling]
    return keras.Model(inputs, L.Dense(3)(L.Flatten(**how)(pool(2, **how)(x))))


class Volumes(nn.Module):
    def __init__(self, pooling: str) -> None:
        super().__init__()
        self.conv, self.norm, self.side = nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Conv3d(3, 4, 1)
        self.out, self.pool = (
            nn.Linear(4 * 3 * 4 * 3, 3),
            {"max": F.max_pool3d, "average": F.avg_pool3d}[pooling],
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.pool(self.norm(F.relu(self.conv(x))) + self.side(x), 2).flatten(1))


@pytest.mark.parametrize(("pooling", "first"), [("max", True), ("max", False), ("average", False)])
def test_networks_that_pool_volumes_are_judged(pooling: str, first: bool) -> None:
    shape = (2, 3, 6, 8, 7) if first else (2, 6, 8, 7, 3)
    inputs = np.random.default_rng(7).normal(size=shape).astype("float32")
    for epsilon, wanted in ((1e-5, []), (1e-3, [("norm", "batchnorm-epsilon", True)])):
        model, module = volume_model(epsilon, pooling, first), Volumes(pooling)
        for source, target in ((module, model), (model, module))[: 1 if wanted else 2]:
            randomise(adapt(source), 3)
            parity.transfer(source, target, inputs=inputs)
            report = parity.compare(model, module, inputs)
            assert report.verdict == ("DIVERGED" if wanted else "EQUAL"), str(report)
            assert [(one.torch, one.cause, one.fix_verified) for one in report.findings] == wanted
    model = volume_model(1e-5, pooling, first)
    parity.transfer(module, model, inputs=inputs)
    assert parity.compare(model, module, inputs, gradients=True, quick=True), (
        "a pooled volume has its gradients"
    )


@pytest.mark.parametrize("size", [(18, 24), (27, 31), (13, 7), (5, 6), (36, 48)])
@pytest.mark.parametrize("antialias", [False, True])
def test_bicubic_is_tensorflows_own_function(size: tuple[int, int], antialias: bool) -> None:
    plain = tf.image.resize(IMAGES, size, "bicubic", antialias=antialias)
    found = resized(tf.constant(IMAGES.astype("float64")), size, "bicubic", antialias)
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-5)


def resizing(scale: int, antialias: bool = False) -> Any:
    class Resize(L.Layer):
        def call(self, x: Any) -> Any:
            height, width = x.shape[1], x.shape[2]
            size = (height // 3, width // 3) if antialias else (height * scale, width * scale)
            return ops.image.resize(x, size, interpolation="bicubic", antialias=antialias)

    inputs = keras.Input(IMAGES.shape[1:])
    return keras.Model(inputs, L.Conv2D(2, 1)(Resize()(inputs)))


class Resized(nn.Module):
    """torch's own bicubic, or Keys' cubic as TensorFlow has it."""

    def __init__(self, scale: float, antialias: bool = False, own: bool = False) -> None:
        super().__init__()
        self.conv, self.scale, self.antialias, self.own = nn.Conv2d(3, 2, 1), scale, antialias, own

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.own:
            return self.conv(
                F.interpolate(x, scale_factor=self.scale, mode="bicubic", antialias=self.antialias)
            )
        for axis in (2, 3):
            x = torch.tensordot(x, self.weights(x.shape[axis]).to(x), dims=([axis], [1])).movedim(-1, axis)
        return self.conv(x)

    def weights(self, length: int) -> torch.Tensor:
        count = int(length * self.scale)
        centres = (torch.arange(count, dtype=torch.float64) + 0.5) / self.scale - 0.5
        away = (torch.arange(length, dtype=torch.float64) - centres[:, None]).abs()
        inner, outer = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
        found = torch.where(away <= 1, inner, torch.where(away < 2, outer, 0.0 * away))
        return found / found.sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("model", "module", "verdict"),
    [
        (lambda: resizing(2), lambda: Resized(2.0, own=True), "EQUAL"),
        (lambda: resizing(4), lambda: Resized(4.0, own=True), "EQUAL"),
        (lambda: resizing(1, antialias=True), lambda: Resized(1 / 3, antialias=True), "EQUAL"),
        (lambda: resizing(2), lambda: Resized(2.0), "DIVERGED"),
    ],
)
def test_bicubic_resizing_is_judged(model: Any, module: Any, verdict: str) -> None:
    keras_side, torch_side = model(), module()
    parity.transfer(torch_side, keras_side, inputs=IMAGES)
    report = parity.compare(keras_side, torch_side, IMAGES)
    assert report.verdict == verdict, str(report)
