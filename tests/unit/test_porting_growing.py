"""Constructors as people write them: containers that grow, records of settings, names that Keras has itself."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("keras")

from tests.ported import proved  # noqa: E402

nn = torch.nn


class Appended(nn.Module):
    """Lists, dictionaries and sequences that get their modules later."""

    def __init__(self, widths=(4, 6)):
        super().__init__()
        self.blocks = nn.ModuleList()
        width = 3
        for wide in widths:
            block = nn.Linear(width, wide)
            self.blocks.append(block)
            width = wide
        self.more = nn.ModuleList([nn.Linear(width, width)])
        self.more.extend([nn.Linear(width, width), nn.ReLU()])
        self.more += [nn.Linear(width, 2)]
        self.named = nn.ModuleDict()
        for name in ("first", "second"):
            self.named[name] = nn.Linear(2, 2)
        self.named.add_module("third", nn.Linear(2, 2))
        self.tail = self._sequence(2)

    def _sequence(self, width):
        layers = nn.Sequential()
        layers.add_module("dense", nn.Linear(width, 3))
        layers.append(nn.Tanh())
        return layers

    def forward(self, x):
        for block in self.blocks:
            x = torch.relu(block(x))
        for layer in self.more:
            x = layer(x)
        x = self.named.first(x) + self.named["second"](x) * self.named.third(x)
        return self.tail(x)


def test_containers_grow() -> None:
    text = proved(Appended, (2, 3)).text
    assert "self.blocks.append(block)" in text
    assert "self.more.extend([keras.layers.Dense(2)])" in text
    assert 'self.named["third"] = keras.layers.Dense(2)' in text
    assert 'layers.add(keras.layers.Dense(3, name="dense"))' in text
    assert 'self.named["first"](x) + self.named["second"](x)' in text


class Plain(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(args.width, n) for n in args.shape])
        self.rate = args.rate

    def forward(self, x):
        return self.layers[0](x).sum(-1) * self.rate + self.layers[1](x).sum(-1)


def test_a_namespace_stays_one() -> None:
    text = proved(lambda: Plain(SimpleNamespace(width=8, shape=[2, 3], rate=2)), (2, 8)).text
    assert "model = Plain(SimpleNamespace(width=8, shape=[2, 3], rate=2))" in text
    assert "for n in args.shape" in text


def checked(function):
    @functools.wraps(function)
    def wrapper(self, *args, **kwargs):
        return function(self, *args, **{key: value for key, value in kwargs.items() if key[0] != "_"})

    return wrapper


class Named(nn.Module):
    """A constructor behind a decorator, with an argument that Keras' layers have too."""

    @checked
    def __init__(self, name, width=4, **params):
        super().__init__()
        self.dense = nn.Linear(width, width)
        if name == "leaky":
            self.act = nn.LeakyReLU(**params)
        else:
            self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.dense(x))


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Named("leaky", negative_slope=0.3), Named(name="plain")

    def forward(self, x):
        return self.second(self.first(x))


def test_arguments_that_keras_has_too_get_another_name() -> None:
    text = proved(Outer, (2, 4)).text
    assert "def __init__(self, name_, width=4, *, name=None, trainable=True, dtype=None, **params):" in text
    assert 'Named(name_="plain")' in text


class Scaled(nn.Module):
    def __init__(self, width=5, scale=1e-3, shift=True):
        super().__init__()
        self.gamma = nn.Parameter(scale * torch.ones(width))
        self.noise = nn.Parameter(torch.randn(1, width) / 4)
        self.shift = nn.Parameter(torch.zeros(width)) if shift else None
        self.frozen = nn.Parameter(torch.full((width,), 2.0), requires_grad=False)

    def forward(self, x):
        x = x * self.gamma + self.noise * self.frozen
        return x if self.shift is None else x + self.shift


def test_parameters_start_as_the_source_says() -> None:
    made = proved(Scaled, (2, 5))
    for part in (
        'shape=(width,), initializer=keras.initializers.Constant(scale), name="gamma"',
        "initializer=keras.initializers.RandomNormal(stddev=1.0 / (4))",
        'initializer="zeros", name="shift") if shift else None',
        "initializer=keras.initializers.Constant(2.0), trainable=False",
    ):
        assert part in " ".join(made.text.split()).replace("( ", "(").replace(" )", ")"), part


class Waves(nn.Module):
    """Tables that are computed once, saved or not."""

    def __init__(self, width=6, longest=11):
        super().__init__()
        position = torch.arange(longest).unsqueeze(1)
        rate = torch.exp(torch.arange(0, width, 2) * -0.7)
        table = torch.zeros(longest, width)
        table[:, 0::2] = torch.sin(position * rate)
        table[:, 1::2] = torch.cos(position * rate)
        self.register_buffer("table", table.unsqueeze(0), persistent=False)
        self.register_buffer("mask", torch.tril(torch.ones(longest, longest)) == 0)
        self.weights = torch.tensor([1.0, 2.0, 1.0]).div(4).repeat(2)
        self.dense = nn.Linear(width, width)

    def forward(self, x):
        size = x.shape[1]
        x = (self.dense(x) + self.table[:, :size]) * self.weights
        return x.masked_fill(self.mask[:size, :1], 0.5)


def test_tensors_of_the_constructor_are_computed() -> None:
    made = proved(Waves, (2, 7, 6))
    assert not any("zeros" in line and "table" in line for line in made.text.splitlines() if "self." in line)
    assert "ops.sin(" in made.text
    space: dict = {}
    exec(compile(made.written.text, "port", "exec"), space)
    fresh, source = space["Waves"](), Waves()
    np.testing.assert_allclose(np.asarray(fresh.table), source.table.numpy(), atol=1e-6)
    np.testing.assert_array_equal(np.asarray(fresh.mask), source.mask.numpy())
