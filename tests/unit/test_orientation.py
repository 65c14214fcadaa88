"""Branches that only a setting, an axis or a constant tells apart: paired right, by a run, and never by a guess."""

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
from parity.pairing.evidence import Evidence
from parity.weights.models import pair_models
from tests.zoo_apart import Torch, image

SIZE = 6
MASK = np.random.default_rng(5).integers(-9, 9, (2, 5, SIZE)) / 8
FIRST, SECOND = (torch.tensor(m) for m in MASK)
Join = Callable[[Any, Any], Any]

TOKENS: dict[str, tuple[Join, Join]] = {
    "broadcast products": (
        lambda a, b: ops.softmax(ops.sum(ops.expand_dims(a, 2) * ops.expand_dims(b, 1), -1)),
        lambda a, b: (b.unsqueeze(1) * a.unsqueeze(2)).sum(-1).softmax(-1),
    ),
    "broadcast sums": (
        lambda a, b: ops.softmax(ops.sum(ops.tanh(ops.expand_dims(a, 2) + ops.expand_dims(b, 1)), -1)),
        lambda a, b: torch.tanh(b.unsqueeze(1) + a.unsqueeze(2)).sum(-1).softmax(-1),
    ),
    "broadcast maxima": (
        lambda a, b: ops.softmax(ops.sum(ops.maximum(a[:, :, None], b[:, None]), -1)),
        lambda a, b: torch.maximum(b[:, None], a[:, :, None]).sum(-1).softmax(-1),
    ),
    "repeated products": (
        lambda a, b: ops.softmax(ops.sum(ops.tile(a[:, :, None], (1, 1, 5, 1)) * ops.repeat(b[:, None], 5, 1), -1)),
        lambda a, b: (b[:, None].repeat(1, 5, 1, 1) * a[:, :, None].expand(-1, 5, 5, SIZE)).sum(-1).softmax(-1),
    ),
    "an outer product of letters": (
        lambda a, b: ops.softmax(ops.sum(ops.einsum("nid,njd->nijd", a, b), -1)),
        lambda a, b: (b.reshape(-1, 1, 5, SIZE) * a.reshape(-1, 5, 1, SIZE)).sum(-1).softmax(-1),
    ),
    "a product of letters": (
        lambda a, b: ops.softmax(ops.einsum("nid,njd->nij", a, b)),
        lambda a, b: torch.einsum("njd,nid->nij", b, a).softmax(-1),
    ),
    "distances": (
        lambda a, b: ops.softmax(-ops.sum(ops.square(a[:, :, None] - b[:, None]), -1)),
        lambda a, b: (-(b.unsqueeze(1) - a.unsqueeze(2)).pow(2).sum(-1)).softmax(-1),
    ),
    "relations": (
        lambda a, b: ops.sum(ops.relu(ops.expand_dims(a, 2) + ops.expand_dims(b, 1)), 2),
        lambda a, b: (b.unsqueeze(1) + a.unsqueeze(2)).relu().sum(2),
    ),
    "quotients": (
        lambda a, b: ops.sum(ops.expand_dims(a, 2) / (2.0 + ops.square(ops.expand_dims(b, 1))), -1),
        lambda a, b: (a.unsqueeze(2) / (2.0 + b.unsqueeze(1) ** 2)).sum(-1),
    ),
    "factors": (lambda a, b: 2.0 * a + b * 3.0, lambda a, b: b * 3.0 + a * 2.0),
    "offsets": (lambda a, b: (a + 2.0) * (b + 3.0), lambda a, b: (b + 3.0) * (a + 2.0)),
    "constant tensors": (
        lambda a, b: a * ops.cast(MASK[0], a.dtype) + b * ops.cast(MASK[1], a.dtype),
        lambda a, b: b * SECOND.to(b.dtype) + a * FIRST.to(a.dtype),
    ),
    "paddings": (
        lambda a, b: ops.pad(a, ((0, 0), (1, 0), (0, 0))) + ops.pad(b, ((0, 0), (0, 1), (0, 0))),
        lambda a, b: F.pad(b, (0, 0, 0, 1)) + F.pad(a, (0, 0, 1, 0)),
    ),
    "sums": (
        lambda a, b: ops.softmax(ops.sum(a[:, :, :5], 1) + 3.0 * ops.sum(b[:, :, :5], 2)),
        lambda a, b: (3.0 * b[:, :, :5].sum(2) + a[:, :, :5].sum(1)).softmax(-1),
    ),
    "order in time": (
        lambda a, b: ops.flip(a, 1) + ops.roll(b, 1, axis=1),
        lambda a, b: b.roll(1, 1) + a.flip(1),
    ),
    "subtraction the other way round": (lambda a, b: ops.tanh(a - b), lambda a, b: torch.rsub(b, a).tanh()),
    "a transposed product": (
        lambda a, b: ops.transpose(ops.softmax(ops.matmul(a, ops.transpose(b, (0, 2, 1)))), (0, 2, 1)),
        lambda a, b: torch.matmul(b, a.transpose(1, 2)).softmax(1),
    ),
    "a transposed product as it is": (
        lambda a, b: ops.sum(ops.expand_dims(a, 2) * ops.expand_dims(b, 1), -1),
        lambda a, b: (b.unsqueeze(2) * a.unsqueeze(1)).sum(-1).transpose(1, 2),
    ),
    "a product of sums": (
        lambda a, b: ops.einsum("nid,njd->nij", a, ops.relu(b)) + 1.0,
        lambda a, b: torch.matmul(a, b.relu().transpose(1, 2)) + 1.0,
    ),
}  # fmt: skip
"""(Keras, torch): what joins two like branches."""
BROADCAST = (
    "broadcast products", "broadcast sums", "broadcast maxima", "repeated products", "an outer product of letters",
    "a product of letters", "distances", "relations", "quotients",
)  # fmt: skip
"""Those in which the axes tell the operands apart, whichever comes first."""


def tokens(name: str, epsilon: float = 1e-3) -> tuple[Any, Any, Any]:
    """Two dense layers behind a normalisation, which only what joins them tells apart; made in other orders."""
    join = TOKENS[name]
    i = keras.Input((5, SIZE))
    x = L.LayerNormalization(epsilon=1e-3, name="norm")(i)
    a, b = L.Dense(SIZE, name="p"), L.Dense(SIZE, name="q")
    right, left = b(x), a(x)
    model = keras.Model(i, join[0](left, right))
    module = Torch(
        lambda m, x: (lambda y: join[1](m.u(y), m.v(y)))(m.n(x)),
        v=nn.Linear(SIZE, SIZE), u=nn.Linear(SIZE, SIZE), n=nn.LayerNorm(SIZE, eps=epsilon),
    )  # fmt: skip
    return model, module.eval(), image(2, 5, SIZE)


IMAGES: dict[str, tuple[Join, Join]] = {
    "rows and columns": (
        lambda a, b: ops.mean(a[:, :3], (1, 2)) + ops.mean(b[:, :, :3], (1, 2)),
        lambda a, b: b[:, :, :, :3].mean((2, 3)) + a[:, :, :3].mean((2, 3)),
    ),
    "gates": (
        lambda a, b: ops.sum(a, 1, keepdims=True) * ops.sum(b, 2, keepdims=True),
        lambda a, b: b.sum(3, keepdim=True) * a.sum(2, keepdim=True),
    ),
    "as many channels as rows": (
        lambda a, b: ops.max(a, 3, keepdims=True) + ops.max(b, 1, keepdims=True),
        lambda a, b: b.amax(2, keepdim=True) + a.amax(1, keepdim=True),
    ),
    "a turned image": (
        lambda a, b: a + ops.transpose(b, (0, 2, 1, 3)),
        lambda a, b: b.transpose(2, 3) + a,
    ),
    "paddings of images": (
        lambda a, b: ops.pad(a, ((0, 0), (1, 0), (0, 1), (0, 0))) + ops.pad(b, ((0, 0), (0, 1), (1, 0), (0, 0))),
        lambda a, b: F.pad(b, (1, 0, 0, 1)) + F.pad(a, (0, 1, 1, 0)),
    ),
}  # fmt: skip


def images(name: str) -> tuple[Any, Any, Any]:
    """Two convolutions of a square image with as many channels as rows behind them."""
    join = IMAGES[name]
    i = keras.Input((8, 8, 3))
    a, b = L.Conv2D(6, 3, name="p"), L.Conv2D(6, 3, name="q")
    right, left = b(i), a(i)
    model = keras.Model(i, join[0](left, right))
    module = Torch(lambda m, x: join[1](m.u(x), m.v(x)), v=nn.Conv2d(3, 6, 3), u=nn.Conv2d(3, 6, 3))
    return model, module.eval(), image(2, 8, 8, 3)


PAIRS = {**dict.fromkeys(TOKENS, tokens), **dict.fromkeys(IMAGES, images)}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("to_torch", [True, False], ids=["to torch", "to Keras"])
def test_like_branches_are_told_apart(name: str, to_torch: bool) -> None:
    """Copied without hints, either way, the two compute the same."""
    model, module, sample = PAIRS[name](name)
    source, target = (model, module) if to_torch else (module, model)
    randomise(adapt(source), 3)
    found = dict(parity.transfer(source, target, inputs=sample).pairs)
    assert (found["p"], found["q"]) == ("u", "v")
    report = parity.compare(model, module, sample)
    assert report.verdict == "EQUAL", str(report)


@pytest.mark.parametrize("name", ["broadcast products", "factors", "a transposed product"])
def test_a_fault_elsewhere_is_named_there(name: str) -> None:
    """With weights copied by hand, the one fault is named, and nothing at the branches."""
    model, module, sample = tokens(name, epsilon=0.3)
    randomise(adapt(module), 3)
    parity.transfer(module, model, {"norm": "n", "p": "u", "q": "v"}, inputs=sample)
    report = parity.compare(model, module, sample)
    assert [finding.cause for finding in report.findings] == ["layernorm-epsilon"], str(report)


@pytest.mark.parametrize("name", BROADCAST)
@pytest.mark.parametrize("to_torch", [True, False], ids=["to torch", "to Keras"])
def test_axes_tell_operands_apart_where_no_run_can(name: str, to_torch: bool) -> None:
    """Another fault keeps every run from giving the same: the pairs are right, and it alone is named."""
    model, module, sample = tokens(name, epsilon=0.3)
    source, target = (model, module) if to_torch else (module, model)
    randomise(adapt(source), 3)
    found = dict(parity.transfer(source, target, inputs=sample).pairs)
    assert (found["p"], found["q"]) == ("u", "v")
    report = parity.compare(model, module, sample, quick=True)
    assert [finding.cause for finding in report.findings] == ["layernorm-epsilon"], str(report)


@pytest.mark.parametrize("epsilon", [0.3, 0.05])
def test_no_cause_is_named_for_a_pairing_in_doubt(epsilon: float) -> None:
    """A product computed transposed, beside another fault: no run decides, and the softmax is not blamed."""
    model, module, sample = tokens("broadcast products", epsilon)
    module.run = lambda m, x: (lambda y: (m.v(y) @ m.u(y).transpose(1, 2)).transpose(1, 2).softmax(-1))(
        m.n(x)
    )
    randomise(adapt(module), 3)
    parity.transfer(module, model, inputs=sample)
    report = parity.compare(model, module, sample, quick=True)
    causes = [finding.cause for finding in report.findings if finding.cause]
    assert causes == ["layernorm-epsilon"], str(report)
    assert any("p and u, q and v as pairs" in finding.evidence for finding in report.findings), str(report)


def test_outputs_that_are_turned_round_are_the_last_choice() -> None:
    """The product is computed transposed and turned back: with the branches exchanged it would come out transposed."""
    model, module, sample = tokens("a transposed product as it is")
    randomise(adapt(module), 3)
    assert dict(parity.transfer(module, model, inputs=sample).pairs)["p"] == "u"
    report = parity.compare(model, module, sample, quick=True)
    assert report, str(report)
    assert not any("torch gives" in note for note in report.notes), report.notes


@pytest.mark.parametrize("name", ["broadcast products", "factors", "a transposed product"])
def test_weights_in_the_wrong_branch_are_no_other_cause(name: str) -> None:
    """Loaded crosswise, the two differ in their weights; no step behind them is blamed."""
    model, module, sample = tokens(name)
    randomise(adapt(module), 3)
    parity.transfer(module, model, {"norm": "n", "p": "v", "q": "u"}, inputs=sample)
    report = parity.compare(model, module, sample)
    assert report.verdict == "DIVERGED"
    assert {finding.keras for finding in report.findings} <= {"p", "q"}, str(report)


@pytest.mark.parametrize("name", ["broadcast products", "factors"])
def test_where_the_graphs_are_not_the_same(name: str) -> None:
    """The torch side runs its normalisation twice: equal weights in the wrong branches do not decide."""
    model, module, sample = tokens(name)
    join = TOKENS[name][1]
    module.run = lambda m, x: join(m.u(m.n(x)), m.v(m.n(x)))
    randomise(adapt(module), 3)
    parity.transfer(module, model, {"norm": "n", "p": "v", "q": "u"}, inputs=sample)
    report = parity.compare(model, module, sample)
    assert {finding.cause for finding in report.findings} <= {None, "weight-not-copied"}, str(report)


def test_a_run_is_the_evidence() -> None:
    model, module, sample = tokens("factors")
    pairing = pair_models(adapt(model), adapt(module), None, [sample])
    assert {item.keras: item.evidence for item in pairing.pairs} == {
        "norm": Evidence.DATAFLOW,
        "p": Evidence.DATAFLOW_RUN,
        "q": Evidence.DATAFLOW_RUN,
    }


def test_what_no_run_confirms_is_left_open() -> None:
    """The activation behind differs, so that no pairing gives the same: refused, with what to do."""
    model, module, sample = tokens("factors")
    inner = module.run
    module.run = lambda m, x: inner(m, x) ** 2
    model = keras.Model(model.inputs, ops.sin(5.0 * model.outputs[0]))
    with pytest.raises(parity.PairingError, match="could be any of torch"):
        parity.transfer(module, model, inputs=sample)
    report = parity.compare(model, module, sample)
    assert report.verdict != "EQUAL"
    assert not any(finding.cause for finding in report.findings), str(report)
