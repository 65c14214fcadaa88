"""A dense layer whose outputs become an image: Keras counts H, W, C, torch C, H, W; the mirror image of flattening."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.weights.optimizer_state import transfer_optimizer

Z = np.random.default_rng(3).normal(size=(3, 7)).astype("float32")
IMAGES = np.random.default_rng(4).normal(size=(2, 7, 9, 3)).astype("float32")


def generator(shape: tuple[int, ...] = (4, 4, 4), epsilon: float = 1e-5) -> Any:
    """Dense, BatchNorm and an activation in front of the image, as in DCGAN."""
    inputs = keras.Input((7,))
    x = L.Dense(int(np.prod(shape)), use_bias=False, name="project")(inputs)
    x = L.BatchNormalization(epsilon=epsilon, momentum=0.9, name="norm")(x)
    x = L.Reshape(shape)(L.LeakyReLU(negative_slope=0.2)(x))
    x = L.Conv2DTranspose(5, 4, strides=2, padding="same", name="up")(x)
    return keras.Model(inputs, L.Conv2D(3, 3, padding="same", activation="tanh", name="out")(x))


class Generator(nn.Module):
    def __init__(self, shape: tuple[int, ...] = (4, 4, 4), hwc: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(7, int(np.prod(shape)), bias=False)
        self.norm1 = nn.BatchNorm1d(int(np.prod(shape)))
        self.second, self.last = nn.ConvTranspose2d(shape[-1], 5, 4, 2, 1), nn.Conv2d(5, 3, 3, padding=1)
        self.shape, self.hwc = shape, hwc

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        y = F.leaky_relu(self.norm1(self.first(z)), 0.2)
        if self.hwc:
            y = y.view(-1, *self.shape).permute(0, 3, 1, 2)
        else:
            y = y.view(-1, self.shape[-1], *self.shape[:-1])
        return torch.tanh(self.last(self.second(y)))


class KerasCoder(keras.Model):
    """Flattens an image and makes one again, by operations of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle, self.up = L.Conv2D(4, 3, strides=2), L.Dense(5), L.Dense(36)
        self.back = L.Conv2DTranspose(3, 3, strides=2)

    def call(self, x: Any) -> Any:
        flat = ops.reshape(ops.relu(self.down(x)), (-1, 48))
        return self.back(ops.reshape(ops.relu(self.up(self.middle(flat))), (-1, 2, 3, 6)))


class Coder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle, self.up = nn.Conv2d(3, 4, 3, 2), nn.Linear(48, 5), nn.Linear(5, 36)
        self.back = nn.ConvTranspose2d(6, 3, 3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = F.relu(self.down(x)).flatten(1)
        return self.back(F.relu(self.up(self.middle(flat))).unflatten(1, (6, 2, 3)))


def tokens() -> Any:
    """Tokens of features are counted alike on both sides."""
    inputs = keras.Input((7,))
    x = L.Reshape((5, 5))(L.Dense(25, name="a")(inputs))
    return keras.Model(inputs, L.Dense(3, name="c")(L.LayerNormalization(epsilon=1e-5, name="b")(x)))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(7, 25), nn.LayerNorm(5), nn.Linear(5, 3)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(self.a(z).view(-1, 5, 5)))


def signal() -> Any:
    inputs = keras.Input((7,))
    return keras.Model(inputs, L.Conv1D(2, 3)(L.Reshape((6, 6))(L.Dense(36, activation="relu")(inputs))))


class Signal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(7, 36), nn.Conv1d(6, 2, 3)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(z).relu().reshape(-1, 6, 6))


CASES = {
    "square": (generator, Generator, Z),
    "oblong": (lambda: generator((2, 3, 5)), lambda: Generator((2, 3, 5)), Z),
    "torch in Keras' order": (generator, lambda: Generator(hwc=True), Z),
    "autoencoder": (KerasCoder, Coder, IMAGES),
    "tokens": (tokens, Tokens, Z),
    "signal": (signal, Signal, Z),
}


@pytest.mark.parametrize("name", CASES)
def test_each_way_of_counting_is_copied_and_equal(name: str) -> None:
    keras_side, torch_side, inputs = CASES[name]
    model, module = keras_side(), torch_side()
    model(inputs)
    for turn, (source, target) in enumerate(((module, model), (model, module))):
        randomise(adapt(source), turn)
        parity.transfer(source, target, inputs=inputs)
        report = parity.compare(model, module, inputs)
        assert report, str(report)


def test_weights_copied_without_the_order_are_named() -> None:
    model, module = generator((2, 3, 5)), Generator((2, 3, 5))
    randomise(adapt(model), 2)
    parity.transfer(model, module, inputs=Z)
    module.first.weight.data = torch.tensor(model.get_layer("project").kernel.numpy().T)
    report = parity.compare(model, module, Z)
    assert report.verdict == "DIVERGED"
    assert [(one.torch, one.cause, one.fix_verified) for one in report.findings] == [
        ("first", "flatten-order", True)
    ]


def test_a_fault_between_the_vector_and_the_image_is_found_there() -> None:
    model, module = generator((2, 3, 5), epsilon=1e-3), Generator((2, 3, 5))
    randomise(adapt(module), 2)
    parity.transfer(module, model, inputs=Z)
    report = parity.compare(model, module, Z)
    assert [(one.torch, one.cause, one.fix_verified) for one in report.findings] == [
        ("norm1", "batchnorm-epsilon", True)
    ]


def test_it_trains_alike_and_its_momentum_is_carried_over() -> None:
    model, module = generator(), Generator()
    randomise(adapt(module), 1)
    parity.transfer(module, model, inputs=Z)
    report = parity.compare(model, module, Z, gradients=True, train_steps=2, match_rules=True, quick=True)
    assert report, str(report)
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    (module(torch.from_numpy(Z)) ** 2).sum().backward()
    optimizer.step()
    keras_optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    keras_optimizer.build(model.trainable_variables)
    transfer_optimizer(optimizer, keras_optimizer, module, model)
    velocity = np.asarray(keras_optimizer.momentums[0])
    kept = optimizer.state[module.first.weight]["momentum_buffer"].numpy()
    wanted = kept.reshape(4, 4, 4, 7).transpose(3, 1, 2, 0).reshape(7, 64)
    np.testing.assert_allclose(velocity, -0.1 * wanted, rtol=1e-6)
