"""Outputs that hide the network, or that hold their tensors in some structure: none is judged by what it hides."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from keras import ops
from torch.nn import functional as F

import parity
from tests.attacks.pairs import Module, conv, copied, functional, images, keras_conv

X = images()


def pooled(value: Any) -> Any:
    return ops.mean(value, (1, 2))


def report(keras_tail: Callable[[Any], Any], torch_tail: Callable[[Any], Any]) -> parity.Report:
    model = functional(keras_conv(), keras_tail)
    module = Module(lambda self, x: torch_tail(self.c(x)), c=conv())
    parity.transfer(module, functional(keras_conv()), inputs=X)
    return parity.compare(*copied(model, module, X), X)


HIDING: dict[str, tuple[Callable[[Any], Any], Callable[[Any, float], Any]]] = {
    "argmax": (lambda v: ops.argmax(v, -1), lambda v, k: (v * k).argmax(1)),
    "argmax as a list": (lambda v: ops.argmax(pooled(v), -1), lambda v, k: (v * k).mean((2, 3)).argmax(1).tolist()),
    "argmax as an array": (lambda v: ops.argmax(pooled(v), -1), lambda v, k: (v * k).mean((2, 3)).argmax(1).numpy()),
    "argsort": (lambda v: ops.argsort(pooled(v), -1), lambda v, k: (v * k).mean((2, 3)).argsort(1)),
    "indices of the greatest": (
        lambda v: ops.top_k(pooled(v), 2)[1], lambda v, k: (v * k).mean((2, 3)).topk(2)[1]),
    "a mask": (lambda v: v > 0.0, lambda v, k: v * k > 0.0),
    "a mask as numbers": (lambda v: ops.cast(v > 0.0, "float32"), lambda v, k: (v * k > 0.0).to(v.dtype)),
    "a mask that multiplies": (
        lambda v: v * ops.cast(v > 0.0, v.dtype), lambda v, k: v * (v * k > 0.0).to(v.dtype)),
    "rounded": (lambda v: ops.round(v), lambda v, k: (v * k).round()),
    "floor": (lambda v: ops.floor(v), lambda v, k: (v * k).floor()),
    "the sign": (lambda v: ops.sign(v), lambda v, k: (v * k).sign()),
    "rounded, with others": (
        lambda v: ops.concatenate([ops.round(v), v], -1),
        lambda v, k: torch.cat([(v * k).round(), v], 1)),
    "one hot": (
        lambda v: ops.one_hot(ops.argmax(pooled(v), -1), 4),
        lambda v, k: F.one_hot((v * k).mean((2, 3)).argmax(1), 4).to(v.dtype)),
    "whole numbers": (lambda v: ops.cast(v, "int32"), lambda v, k: (v * k).to(torch.int32)),
}  # fmt: skip


@pytest.mark.parametrize("name", HIDING)
def test_what_hides_is_judged_by_what_it_is_given(name: str) -> None:
    keras_tail, torch_tail = HIDING[name]
    equal = report(keras_tail, lambda v: torch_tail(v, 1.0))
    assert equal, str(equal)
    assert any("judged at what hiding steps are given" in note for note in equal.notes)
    assert not report(keras_tail, lambda v: torch_tail(v, 1.0001))


@dataclass
class Out:
    scores: Any
    extra: Any = None


class ModelOutput(OrderedDict[str, Any]):
    """A dictionary with attributes, as model libraries return them."""


Pair = namedtuple("Pair", "scores extra")
CONTAINERS: dict[str, Callable[[Any, Any], Any]] = {
    "dataclass": lambda a, b: Out(a, b),
    "named tuple": lambda a, b: Pair(a, b),
    "model output": lambda a, b: ModelOutput(scores=a, extra=b),
    "nested": lambda a, b: {"scores": a, "rest": [(b,), None]},
    "arrays": lambda a, b: [a, b.numpy()],
    "sparse": lambda a, b: [a, b.to_sparse()],
    "lists of numbers": lambda a, b: [a, b.tolist()],
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_structures_are_taken_apart(name: str) -> None:
    def keras_tail(v: Any) -> Any:
        return [v, pooled(v)]

    make = CONTAINERS[name]
    equal = report(keras_tail, lambda v: make(v, v.mean((2, 3))))
    assert equal, str(equal)
    assert equal.elements == 2 * 10 * 14 * 4 + 2 * 4
    assert not report(keras_tail, lambda v: make(v, v.mean((2, 3)) * 1.0001))


@pytest.mark.parametrize(
    ("name", "value"),
    [("set", {1.0}), ("str", "cat"), ("generator", (i for i in [1])), ("object", object()), ("bytes", b"1")],
)
def test_what_cannot_be_compared_is_refused_by_name(name: str, value: Any) -> None:
    found = report(lambda v: v, lambda v: {"scores": v, "extra": value})
    assert found.verdict == "INCONCLUSIVE"
    assert f"got {name} at output extra" in found.findings[0].evidence


def test_an_empty_output_beside_another() -> None:
    found = report(lambda v: {"a": v, "b": v[:, :0]}, lambda v: {"a": v, "b": v[:, :, :0]})
    assert found, str(found)
    assert not report(lambda v: {"a": v, "b": v[:, :0]}, lambda v: {"a": v + 1e-3, "b": v[:, :, :0]})


def test_moved_axes_are_said() -> None:
    found = report(lambda v: ops.reshape(v, (-1, 140, 4)), lambda v: v.flatten(2))
    assert found
    assert (
        "output: torch gives (2, 4, 140), Keras (2, 140, 4); torch's was compared with axis 1 moved to the end"
        in found.notes
    )
    plain = report(lambda v: ops.reshape(v, (-1, 140, 4)), lambda v: v.flatten(2).transpose(1, 2))
    assert plain
    assert not any("axis" in note for note in plain.notes)


def test_numbers_of_another_count_differ() -> None:
    found = report(lambda v: pooled(v), lambda v: [*v.mean((2, 3)).flatten().tolist(), np.float64(3.0)])
    assert found.verdict == "DIVERGED"
