"""Names that the dataflow contradicts do not decide: layers are paired by what they do, and no other cause is named."""

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
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from tests.zoo_apart import Torch

SIZE = 6
"""As many tokens as features: no shape tells anything."""


def scores(q: Any, k: Any) -> Any:
    return ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1))) / SIZE**0.5)


def torch_scores(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return (q @ k.transpose(1, 2) / SIZE**0.5).softmax(-1)


Join = Callable[..., Any]

FAMILIES: dict[str, tuple[tuple[str, ...], tuple[str, ...], Join, Join]] = {
    # the layers; which torch layer plays the part of each; Keras; torch, in the order of the parts
    "query and key": (
        ("q", "k", "v"), ("k", "q", "v"),
        lambda q, k, v: ops.matmul(scores(q, k), v), lambda q, k, v: torch_scores(q, k) @ v,
    ),
    "query and key, by a fused function": (
        ("q", "k", "v"), ("k", "q", "v"),
        lambda q, k, v: ops.matmul(scores(q, k), v),
        lambda q, k, v: F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0],
    ),
    "scores alone": (("q", "k"), ("k", "q"), scores, torch_scores),
    "key and value": (
        ("q", "k", "v"), ("q", "v", "k"),
        lambda q, k, v: ops.matmul(scores(q, k), v), lambda q, k, v: torch_scores(q, k) @ v,
    ),
    "all three": (
        ("q", "k", "v"), ("k", "v", "q"),
        lambda q, k, v: ops.matmul(scores(q, k), v), lambda q, k, v: torch_scores(q, k) @ v,
    ),
    "gate and up": (("gate", "up"), ("up", "gate"), lambda g, u: ops.silu(g) * u, lambda g, u: F.silu(g) * u),
    "a difference": (("a", "b"), ("b", "a"), lambda a, b: ops.tanh(a) - b, lambda a, b: a.tanh() - b),
}  # fmt: skip


def tokens(family: str) -> tuple[Any, Any, Any, dict[str, str]]:
    names, parts, join, torch_join = FAMILIES[family]
    x = i = keras.Input((SIZE, SIZE))
    x = L.LayerNormalization(epsilon=1e-5, name="norm")(i)
    model = keras.Model(i, L.Dense(SIZE, name="out")(join(*(L.Dense(SIZE, name=name)(x) for name in names))))
    module = Torch(
        lambda m, x: (lambda y: m.out(torch_join(*(getattr(m, part)(y) for part in parts))))(m.norm(x)),
        norm=nn.LayerNorm(SIZE, eps=1e-5), **{name: nn.Linear(SIZE, SIZE) for name in names},
        out=nn.Linear(SIZE, SIZE),
    )  # fmt: skip
    sample = np.random.default_rng(0).standard_normal((2, SIZE, SIZE)).astype("float32")
    return (
        model,
        module.eval(),
        sample,
        {"norm": "norm", "out": "out", **dict(zip(names, parts, strict=True))},
    )


def branches() -> tuple[Any, Any, Any, dict[str, str]]:
    """Two convolutions with each other's names; a pooling stands behind the one."""
    x = i = keras.Input((8, 8, 3))
    a, b = L.Conv2D(6, 3, name="wide")(i), L.Conv2D(6, 3, name="deep")(i)
    x = L.Conv2D(4, 3, name="out")(ops.relu(a) + ops.sigmoid(b))
    model = keras.Model(i, x)
    module = Torch(
        lambda m, x: m.out(m.deep(x).relu() + m.wide(x).sigmoid()),
        wide=nn.Conv2d(3, 6, 3), deep=nn.Conv2d(3, 6, 3), out=nn.Conv2d(6, 4, 3),
    )  # fmt: skip
    sample = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype("float32")
    return model, module.eval(), sample, {"wide": "deep", "deep": "wide", "out": "out"}


PAIRS = {**dict.fromkeys(FAMILIES, tokens), "branches of convolutions": lambda _: branches()}
QUICK = {"quick": True}


@pytest.mark.parametrize("name", PAIRS)
def test_weights_that_go_by_the_parts_are_equal(name: str) -> None:
    model, module, sample, parts = PAIRS[name](name)
    randomise(adapt(module), 3)
    parity.transfer(module, model, parts, inputs=sample)
    report = parity.compare(model, module, sample)
    assert report.verdict == "EQUAL", str(report)
    assert dict(report.pairs) == parts
    assert any("against their names" in note for note in report.notes)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("to_torch", [True, False], ids=["to torch", "to Keras"])
def test_weights_that_go_by_the_names_are_no_other_cause(name: str, to_torch: bool) -> None:
    model, module, sample, parts = PAIRS[name](name)
    source, target = (model, module) if to_torch else (module, model)
    randomise(adapt(source), 3)
    parity.transfer(source, target, inputs=sample)
    report = parity.compare(model, module, sample, quick=True)
    moved = {keras for keras, torch in parts.items() if keras != torch}
    assert report.verdict == "DIVERGED"
    assert dict(report.pairs) == parts
    causes = {(finding.keras, finding.cause) for finding in report.findings if finding.cause}
    assert causes <= {(keras, "weight-not-copied") for keras in moved}, str(report)
    assert moved <= {finding.keras for finding in report.findings}, str(report)


@pytest.mark.parametrize("name", ["query and key", "gate and up"])
def test_names_that_are_right_stay(name: str) -> None:
    """A fault of its own at the join is named as before."""
    model, module, sample, parts = tokens(name)
    straight = {key: key for key in parts}
    names, _, _, join = FAMILIES[name]
    module.run = lambda m, x: (
        lambda y: m.out(1.5 * join(*(getattr(m, part)(y) for part in names)))
    )(m.norm(x))  # fmt: skip
    randomise(adapt(module), 3)
    parity.transfer(module, model, straight, inputs=sample)
    report = parity.compare(model, module, sample, quick=True)
    assert report.verdict == "DIVERGED"
    assert dict(report.pairs) == straight
    assert not any("against their names" in note for note in report.notes)


@pytest.mark.parametrize("name", ["query and key", "key and value", "gate and up"])
def test_another_fault_beside_crossed_names(name: str) -> None:
    """No run gives the same then: nothing false is called verified."""
    model, module, sample, parts = tokens(name)
    module.norm.eps = 0.3
    randomise(adapt(module), 3)
    parity.transfer(module, model, parts, inputs=sample)
    report = parity.compare(model, module, sample, quick=True)
    assert report.verdict == "DIVERGED"
    causes = {finding.cause for finding in report.findings if finding.cause and finding.fix_verified}
    assert causes <= {"layernorm-epsilon", "weight-not-copied"}, str(report)
