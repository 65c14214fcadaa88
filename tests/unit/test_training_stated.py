"""What a Keras model adds to its training: losses of layers, regularisers, constraints; and tensors that are split."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
from tf_impl import optimizers as tf_optimizers

MSE = keras.losses.MeanSquaredError
compare = functools.partial(parity.compare, quick=True)
VALUES = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 3)
        self.hidden: Any = None

    def forward(self, x: Any) -> Any:
        self.hidden = torch.tanh(self.a(x))
        return self.b(self.hidden)


class AddsLoss(L.Layer):
    """A layer that adds a loss of its own."""

    def call(self, x: Any) -> Any:
        self.add_loss(0.1 * keras.ops.mean(keras.ops.square(x)))
        return x


def pair(middle: Callable[[], Any] | None = None, **dense: Any) -> tuple[Any, Any]:
    image = keras.Input((5,))
    x = L.Dense(4, activation="tanh", name="a", **dense)(image)
    x = middle()(x) if middle else x
    model, module = keras.Model(image, L.Dense(3, name="b")(x)), Net()
    randomise(adapt(module), 0)
    parity.transfer(module, model)
    return model, module


def mse(outputs: Any, targets: Any) -> Any:
    return ((outputs - targets) ** 2).mean()


# --- losses of layers ---------------------------------------------------------------------------------

L1 = keras.regularizers.L1
EXTRAS: dict[str, tuple[Callable[[], tuple[Any, Any]], Callable[[Any], Any], str]] = {
    "add_loss": (lambda: pair(AddsLoss), lambda m: 0.1 * (m.hidden**2).mean(), "add_loss of adds_loss"),
    "activity of a dense layer": (
        lambda: pair(activity_regularizer=L1(0.01)),
        lambda m: 0.01 * m.hidden.abs().sum() / len(m.hidden),
        "activity regulariser L1",
    ),
    "activity layer": (
        lambda: pair(lambda: L.ActivityRegularization(l2=0.02)), lambda m: 0.02 * (m.hidden**2).sum() / len(m.hidden),
        "activity_regularization",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EXTRAS)
def test_losses_that_layers_add_are_compared_or_named(case: str) -> None:
    build, added, name = EXTRAS[case]
    model, module = build()

    def same(outputs: Any, targets: Any) -> Any:
        return mse(outputs, targets) + added(module)

    arguments: dict[str, Any] = {"gradients": True, "train_steps": 2}
    report = compare(model, module, VALUES, loss=(MSE(), same), **arguments)
    assert report.verdict == "EQUAL", str(report)
    report = compare(model, module, VALUES, loss=(MSE(), mse), **arguments)
    assert report.verdict == "DIVERGED"
    (finding,) = report.findings
    assert name.lower() in finding.evidence.lower(), str(report)
    assert finding.fix_verified
    report = compare(model, module, VALUES, **arguments)  # no loss: torch's side cannot state it
    assert report.verdict == "INCONCLUSIVE", str(report)
    (finding,) = report.findings
    assert finding.kind == "not-compared"
    assert name.lower() in finding.evidence.lower()
    report = compare(model, module, VALUES, loss=(MSE(), lambda o, t: same(o, t) + 0.001), **arguments)
    assert report.verdict == "DIVERGED"


@pytest.mark.parametrize("which", ["kernel_regularizer", "bias_regularizer"])
def test_a_regulariser_in_torchs_loss_is_the_same(which: str) -> None:
    model, module = pair(**{which: keras.regularizers.L1L2(0.01, 0.02)})
    held = module.a.weight if which == "kernel_regularizer" else module.a.bias

    def same(outputs: Any, targets: Any) -> Any:
        return mse(outputs, targets) + 0.01 * held.abs().sum() + 0.02 * (held**2).sum()

    report = compare(model, module, VALUES, gradients=True, train_steps=2, loss=(MSE(), same))
    assert report.verdict == "EQUAL", str(report)
    report = compare(model, module, VALUES, gradients=True, train_steps=2, loss=(MSE(), mse))
    assert report.verdict == "DIVERGED", str(report)
    report = compare(model, module, VALUES, gradients=True, train_steps=2)
    assert report.verdict == "DIVERGED", str(report)


# --- constraints --------------------------------------------------------------------------------------


def non_negative(module: Any) -> None:
    module.a.weight.clamp_(min=0.0)


def short(bound: float) -> Callable[[Any], None]:
    def limit(module: Any) -> None:
        norms = module.a.weight.norm(dim=1, keepdim=True)
        module.a.weight.mul_(norms.clamp(max=bound) / (1e-7 + norms))

    return limit


C = keras.constraints


@pytest.mark.parametrize(
    ("constraint", "after_step", "verdict"),
    [
        (C.NonNeg(), non_negative, "EQUAL"),
        (C.MaxNorm(0.5), short(0.5), "EQUAL"),
        (C.MaxNorm(0.5), short(0.6), "DIVERGED"),
        (C.MaxNorm(1e3), short(1e4), "DIVERGED"),  # no step reaches it: the weights are enlarged
        (C.NonNeg(), None, "DIVERGED"),
        (C.MaxNorm(0.5), None, "DIVERGED"),
        (None, non_negative, "DIVERGED"),
        (lambda w: keras.ops.clip(w, -50.0, 50.0), None, "INCONCLUSIVE"),  # not reached, and not stated
    ],
)
def test_weight_constraints(constraint: Any, after_step: Any, verdict: str) -> None:
    model, module = pair(kernel_constraint=constraint)
    torch_side: dict[str, Any] = {"optimizer": lambda p: torch.optim.SGD(p, 0.05)}
    if after_step is not None:
        torch_side["after_step"] = after_step
    optimizer = (keras.optimizers.SGD(0.05), torch_side)
    report = compare(model, module, VALUES, train_steps=2, optimizer=optimizer, match_rules=True)
    assert report.verdict == verdict, str(report)
    if verdict != "EQUAL":
        assert any("weight constraint" in finding.evidence for finding in report.findings), str(report)


def test_a_bias_constraint_is_named_too() -> None:
    model, module = pair(bias_constraint=C.NonNeg())
    report = compare(model, module, VALUES, train_steps=2)
    assert report.verdict == "DIVERGED"
    assert "NonNeg() to a.bias" in report.findings[0].evidence, str(report)


# --- a training of the model's own ----------------------------------------------------------------------


class OwnStep(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = L.Dense(4, activation="tanh"), L.Dense(3)

    def call(self, x: Any) -> Any:
        return self.b(self.a(x))

    def train_step(self, *data: Any) -> Any:
        return super().train_step(*data)


def test_a_training_step_of_the_models_own_is_named() -> None:
    model, module = OwnStep(), Net()
    model(VALUES)
    parity.transfer(module, model)
    report = compare(model, module, VALUES, train_steps=1)
    assert report.verdict == "INCONCLUSIVE"
    assert "OwnStep.train_step" in report.findings[0].evidence
    assert compare(model, module, VALUES, gradients=True).verdict == "EQUAL"


def test_hooks_after_a_gradient_are_named() -> None:
    model, module = pair()
    handle = module.a.weight.register_post_accumulate_grad_hook(lambda p: None)
    report = compare(model, module, VALUES, train_steps=1)
    handle.remove()
    assert report.verdict == "INCONCLUSIVE"
    assert "hooks after the gradient of a.weight" in report.findings[0].evidence


class Own(torch.optim.SGD):
    """A step of its own, which here does nothing more."""

    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class OwnGroups(torch.optim.SGD):
    """A method of torch's that its step calls."""

    def _init_group(self, *given: Any) -> Any:
        return super()._init_group(*given)  # type: ignore[misc]


def _put_in(parameters: Any) -> Any:
    optimizer = torch.optim.SGD(parameters, 0.1)
    plain = optimizer.step
    optimizer.step = lambda closure=None: plain(closure)  # type: ignore[method-assign]
    return optimizer


class OwnInKeras(keras.optimizers.SGD):
    """The same in Keras."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient, variable, learning_rate)


def _scheduled(parameters: Any) -> dict[str, Any]:
    optimizer = torch.optim.SGD(parameters, 0.1)
    return {"optimizer": optimizer, "scheduler": torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)}


def _hooked(parameters: Any) -> Any:
    optimizer = torch.optim.SGD(parameters, 0.1)
    optimizer.register_step_post_hook(lambda *given: None)
    return optimizer


def _stepped(model: Any) -> Any:
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    optimizer.variables[-1].assign(optimizer.variables[-1] + 0.5)
    return optimizer


UPDATES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], list[str]]] = {
    "the frameworks' own": (lambda model: keras.optimizers.SGD(0.1), lambda p: torch.optim.SGD(p, 0.1), []),
    "with a scheduler, which wraps the step": (lambda model: keras.optimizers.SGD(0.1), _scheduled, []),
    "tf_impl's": (lambda model: tf_optimizers.SGD(0.1), lambda p: torch.optim.SGD(p, 0.1), []),
    "a step": (lambda model: keras.optimizers.SGD(0.1), lambda p: Own(p, 0.1),
               ["what Own.step does with other gradients, and later (torch)"]),
    "what a step calls": (lambda model: keras.optimizers.SGD(0.1), lambda p: OwnGroups(p, 0.1),
                          ["what OwnGroups._init_group does with other gradients, and later (torch)"]),
    "a step that was put in": (lambda model: keras.optimizers.SGD(0.1), _put_in,
                               ["what SGD.step does with other gradients, and later (torch)"]),
    "a step in Keras": (lambda model: OwnInKeras(0.1), lambda p: torch.optim.SGD(p, 0.1),
                        ["what OwnInKeras.update_step does with other gradients, and later (keras)"]),
    "a hook": (lambda model: keras.optimizers.SGD(0.1), _hooked,
               ["what hooks of SGD do with other gradients, and later (torch)"]),
    "a state": (_stepped, lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
                ["the state that SGD held already; the updates begin without any (keras)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", UPDATES)
def test_updates_by_code_of_ones_own_are_named(name: str) -> None:
    model, module = pair()
    ours, theirs, wanted = UPDATES[name]
    report = compare(model, module, VALUES, train_steps=2, optimizer=(ours(model), theirs), match_rules=True)
    assert report.verdict == "EQUAL", str(report)
    assert [str(entry) for entry in report.unproven if entry.kind == "training"] == wanted


def test_hooks_on_gradients_are_named_without_steps() -> None:
    model, module = pair()
    module.a.weight.register_hook(lambda gradient: gradient)
    module.b.register_full_backward_hook(lambda *given: None)
    report = compare(model, module, VALUES, gradients=True)
    assert report.verdict == "EQUAL", str(report)
    assert "what hooks do to other gradients of a.weight, b (torch)" in map(str, report.unproven)


# --- tensors that are split or folded -------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self, fused: bool, shared: bool = False) -> None:
        super().__init__()
        more = {} if fused else {"kdim": 16, "vdim": 16}
        self.att = nn.MultiheadAttention(16, 2, batch_first=True, **more)
        if not fused:
            self.att._qkv_same_embed_dim = False
        self.twice = shared

    def forward(self, x: Any) -> Any:
        x = self.att(x, x, x, need_weights=False)[0]
        return self.att(x, x, x, need_weights=False)[0] if self.twice else x


def attention(shared: bool = False) -> tuple[Any, Any, Any]:
    image = keras.Input((5, 16))
    layer = L.MultiHeadAttention(2, 8, name="att")
    x = layer(image, image)
    model, module = keras.Model(image, layer(x, x) if shared else x), Attention(True, shared)
    randomise(adapt(module), 0)
    values = np.random.default_rng(0).standard_normal((2, 5, 16)).astype(np.float32)
    parity.transfer(module, model, inputs=values)
    return model, module, values


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    "optimizer", ["sgd", {"name": "adam", "epsilon": 1e-300}, {"name": "sgd", "clipvalue": 1e-3}]
)
def test_attention_in_one_matrix_trains_the_same(optimizer: Any, shared: bool) -> None:
    """torch holds query, key and value in rows of one tensor: gradients, steps and states are compared by rows."""
    report = compare(*attention(shared), gradients=True, train_steps=2, optimizer=optimizer)
    assert report.verdict == "EQUAL", str(report)


def test_a_gradient_that_is_wrong_in_some_rows_is_found() -> None:
    model, module, values = attention()

    def wrong(gradient: Any) -> Any:
        gradient = gradient.clone()
        gradient[16:32] *= 1.001  # of the key alone
        return gradient

    handle = module.att.in_proj_weight.register_hook(wrong)
    report = compare(model, module, values, gradients=True)
    handle.remove()
    assert report.verdict == "DIVERGED"
    assert "key" in str(report.first), str(report)


def test_a_norm_of_the_whole_matrix_is_another_clipping() -> None:
    """clipnorm is for each tensor: torch's holds three of Keras'. That is named, and the global norm is the same."""
    report = compare(*attention(), train_steps=2, optimizer={"name": "sgd", "lr": 0.01, "clipnorm": 1e-3})
    assert report.verdict == "DIVERGED"
    assert {finding.cause for finding in report.findings} == {"gradient-clipping"}, str(report)
    options = {"name": "sgd", "lr": 0.01, "global_clipnorm": 1e-3}
    report = compare(*attention(), train_steps=2, optimizer=options, match_rules=True)
    assert report.verdict == "EQUAL", str(report)


SPLIT: dict[str, tuple[Callable[[], Any], Callable[[], Any], tuple[int, ...]]] = {
    "separable": (
        lambda: [L.SeparableConv2D(4, 3, name="s")],
        lambda: nn.Sequential(nn.Conv2d(3, 3, 3, groups=3, bias=False), nn.Conv2d(3, 4, 1)),
        (2, 7, 6, 3),
    ),
    "depthwise": (
        lambda: [L.DepthwiseConv2D(3, depth_multiplier=2)],
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3)),
        (2, 7, 6, 3),
    ),
    "bias in front of a normalisation": (
        lambda: [L.Conv2D(4, 3, use_bias=False), L.BatchNormalization(momentum=0.9, epsilon=1e-5)],
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
        (2, 7, 6, 3),
    ),
    "dense after Flatten": (
        lambda: [L.Flatten(), L.Dense(4)], lambda: nn.Sequential(nn.Flatten(), nn.Linear(90, 4)), (2, 6, 5, 3),
    ),
    "dense as a convolution": (lambda: [L.Dense(4)], lambda: nn.Sequential(nn.Conv2d(3, 4, 1)), (2, 7, 6, 3)),
    "embedding": (lambda: [L.Embedding(9, 4)], lambda: nn.Sequential(nn.Embedding(9, 4)), (2, 7)),
}  # fmt: skip


@pytest.mark.parametrize("case", SPLIT)
def test_split_and_folded_tensors_train_the_same(case: str) -> None:
    layers, make, shape = SPLIT[case]
    whole = case == "embedding"
    model = keras.Sequential([keras.Input(shape[1:], dtype="int32" if whole else None), *layers()])
    module = make()
    rng = np.random.default_rng(0)
    values = (
        rng.integers(0, 9, shape).astype("int32") if whole else rng.standard_normal(shape).astype(np.float32)
    )
    randomise(adapt(module), 0)
    parity.transfer(module, model, inputs=values)
    report = compare(model, module, values, gradients=True, train_steps=2, match_rules=True)
    assert report.verdict == "EQUAL", str(report)


# --- every element by its own rounding ------------------------------------------------------------------


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 3), nn.Linear(5, 2)

    def forward(self, x: Any) -> Any:
        return {"a": 1e8 * self.a(x), "b": self.b(x)}


def test_a_huge_gradient_hides_no_other() -> None:
    """The gradient of one head is 1e16 times that of the other, whose own is wrong by a millionth."""
    image = keras.Input((5,))
    outputs = {"a": 1e8 * L.Dense(3, name="a")(image), "b": L.Dense(2, name="b")(image)}
    model, module = keras.Model(image, outputs), TwoHeads()
    parity.transfer(module, model)
    report = compare(
        model, module, VALUES, gradients=True, train_steps=2, optimizer={"name": "sgd", "lr": 1e-18}
    )
    assert report.verdict == "EQUAL", str(report)
    handle = module.b.weight.register_hook(lambda gradient: gradient * (1.0 + 1e-6))
    report = compare(model, module, VALUES, gradients=True)
    handle.remove()
    assert report.verdict == "DIVERGED", str(report)
    assert {finding.keras for finding in report.findings} == {"b"}, str(report)


class Variance(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(5, 8)

    def forward(self, x: Any) -> Any:
        y = self.a(x) + 1000.0
        return (y * y).sum(1) / 8 - (y.sum(1) / 8) ** 2


def test_a_pair_that_enlarges_rounding_trains_equal() -> None:
    """E[y²] - E[y]² at a mean of 1000: outputs and gradients lose seven digits on both sides."""
    image = keras.Input((5,))
    y = L.Dense(8, name="a")(image) + 1000.0
    mean = keras.ops.mean
    model = keras.Model(image, mean(y * y, -1) - mean(y, -1) * mean(y, -1))
    module = Variance()
    parity.transfer(module, model)
    report = compare(model, module, VALUES, gradients=True, train_steps=2)
    assert report.verdict == "EQUAL", str(report)
    with torch.no_grad():
        module.a.bias[0] += 1e-6
    assert compare(model, module, VALUES, gradients=True).verdict == "DIVERGED"
