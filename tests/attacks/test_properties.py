"""What must change no verdict: names, order of definition, order of the batch, permuted channels, wrappers, more outputs.

Each change is made to an equal pair, which must stay EQUAL, and to a pair with one fault, which must stay DIVERGED.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from tests.attacks.attempt import Weights, unexplained
from tests.attacks.written import batch_norm, conv, images, seeded

FAULTS = {"equal": 1e-5, "another epsilon": 1e-3}
SEEDS = range(3)


@dataclass(frozen=True)
class Net:
    """A small network on both sides, and how it is written.

    Attributes:
        eps: torch's epsilon; Keras has 1e-5.
        names: of the layers in Keras and in torch.
        order: in which order the layers are defined.
        seed: of the weights and the input.
        wrapped: whether each side lies in a further module.
        extra: whether both give an output more.
    """

    eps: float = 1e-5
    names: tuple[tuple[str, ...], tuple[str, ...]] = (("first", "norm", "last"),) * 2
    order: tuple[int, ...] = (0, 1, 2)
    seed: int = 0
    wrapped: tuple[bool, bool] = (False, False)
    extra: bool = False

    def layers(self, eps: float) -> tuple[Any, ...]:
        return conv(3, 6), batch_norm(6, eps), conv(6, 2, 1)

    def keras(self) -> Any:
        made: dict[int, Any] = {}
        for i in self.order:
            made[i] = self.layers(1e-5)[i].keras(self.names[0][i])
        image = keras.Input((None, None, 3))
        hidden = keras.ops.tanh(made[1](made[0](image)))
        result = made[2](hidden)
        inner = keras.Model(
            image, [result, keras.ops.mean(hidden, axis=(1, 2))] if self.extra else result, name="inner"
        )
        if not self.wrapped[0]:
            return inner
        outer = keras.Input((None, None, 3))
        return keras.Model(outer, inner(outer), name="outer")

    def torch(self) -> nn.Module:
        made = {i: self.layers(self.eps)[i].torch() for i in self.order}
        net = Torch([(self.names[1][i], made[i]) for i in self.order], self.names[1], self.extra)
        return (nn.Sequential(net) if self.wrapped[1] else net).eval()


class Torch(nn.Module):
    """The torch side."""

    def __init__(self, modules: list[tuple[str, nn.Module]], names: tuple[str, ...], extra: bool) -> None:
        super().__init__()
        for name, module in modules:
            self.add_module(name, module)
        self.names, self.extra = names, extra

    def forward(self, x: torch.Tensor) -> Any:
        first, norm, last = (self.get_submodule(name) for name in self.names)
        hidden = torch.tanh(norm(first(x)))
        return [last(hidden), hidden.mean((2, 3))] if self.extra else last(hidden)


def verdict(net: Net, values: np.ndarray, change: Callable[[Any, Any], None] | None = None) -> str:
    """Of both sides with torch's weights; `change` is made to both after the transfer."""
    seeded(net.seed)
    model, module = net.keras(), net.torch()
    randomise(adapt(module), net.seed)
    parity.transfer(module, model, inputs=values)
    if change:
        change(model, module)
    with unexplained():
        return str(parity.compare(model, module, values).verdict)


def _names(rng: np.random.Generator) -> tuple[str, ...]:
    return tuple("n" + "".join(rng.choice(list("abcdefgh"), 6)) for _ in range(3))


def _renamed(net: Net, rng: np.random.Generator) -> Net:
    return replace(net, names=(_names(rng), _names(rng)))


def _one_renamed(net: Net, rng: np.random.Generator) -> Net:
    names = list(net.names[1])
    names[int(rng.integers(3))] = "another"
    return replace(net, names=(net.names[0], tuple(names)))


def _reordered(net: Net, rng: np.random.Generator) -> Net:
    return replace(net, order=tuple(int(i) for i in rng.permutation(3)))


CHANGES: dict[str, Callable[[Net, np.random.Generator], Net]] = {
    "layers renamed on both sides": _renamed,
    "one layer renamed in torch": _one_renamed,
    "layers defined in another order": _reordered,
    "Keras wrapped": lambda net, rng: replace(net, wrapped=(True, False)),
    "torch wrapped": lambda net, rng: replace(net, wrapped=(False, True)),
    "both wrapped, renamed": lambda net, rng: replace(_renamed(net, rng), wrapped=(True, True)),
    "an output more": lambda net, rng: replace(net, extra=True),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("change", CHANGES)
def test_the_way_of_writing_changes_no_verdict(change: str, fault: str, seed: int) -> None:
    plain = Net(eps=FAULTS[fault], seed=seed)
    changed = CHANGES[change](plain, np.random.default_rng(seed))
    assert verdict(changed, images(seed)) == ("EQUAL" if fault == "equal" else "DIVERGED")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("how", ["reversed", "rolled", "doubled", "one alone"])
def test_the_order_of_the_batch_changes_no_verdict(how: str, fault: str, seed: int) -> None:
    values = images(seed, (3, 9, 12, 3))
    batch = {"reversed": values[::-1], "rolled": np.roll(values, 1, 0), "doubled": np.repeat(values, 2, 0),
             "one alone": values[:1]}[how]  # fmt: skip
    net = Net(eps=FAULTS[fault], seed=seed)
    assert verdict(net, np.ascontiguousarray(batch)) == ("EQUAL" if fault == "equal" else "DIVERGED")


def _permuted(order: np.ndarray) -> Callable[[Weights, str, str, str], None]:
    """Hidden channels in another order: the function stays."""

    def change(weights: Weights, first: str, norm: str, last: str) -> None:
        def turned(array: np.ndarray, axis: int) -> None:
            array[...] = np.take(array, order, axis)

        weights.edit(f"{first}.kernel", lambda a: turned(a, 3))
        weights.edit(f"{first}.bias", lambda a: turned(a, 0))
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            weights.edit(f"{norm}.{name}", lambda a: turned(a, 0))
        weights.edit(f"{last}.kernel", lambda a: turned(a, 2))

    return change


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_channels_permuted_alike_change_no_verdict(fault: str, seed: int) -> None:
    change = _permuted(np.random.default_rng(seed).permutation(6))

    def on_both(model: Any, module: Any) -> None:
        for side in (model, module):
            change(Weights(side), "first", "norm", "last")

    net = Net(eps=FAULTS[fault], seed=seed)
    assert verdict(net, images(seed), on_both) == ("EQUAL" if fault == "equal" else "DIVERGED")


@pytest.mark.parametrize("seed", SEEDS)
def test_channels_permuted_on_one_side_alone_are_other_weights(seed: int) -> None:
    """The same function, and weights that differ: paired tensors hold other values."""
    order = np.roll(np.arange(6), 1 + seed)
    found = verdict(
        Net(seed=seed),
        images(seed),
        lambda model, module: _permuted(order)(Weights(module), "first", "norm", "last"),
    )
    assert found == "DIVERGED"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_layer_by_itself_is_a_model(fault: str) -> None:
    values = images(0, (2, 9, 12, 6))
    layer = L.BatchNormalization(epsilon=1e-5)
    layer.build((None, None, None, 6))
    module = nn.BatchNorm2d(6, eps=FAULTS[fault]).eval()
    randomise(adapt(module), 0)
    parity.transfer(module, layer, inputs=values)
    with unexplained():
        found = parity.compare(layer, module, values).verdict
    assert found == ("EQUAL" if fault == "equal" else "DIVERGED")
