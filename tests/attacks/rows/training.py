"""Training that differs where inference is the same: optimizers, penalties, schedules, frozen layers, dropout, losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import torch
from keras import layers as L
from torch import nn
from torch.nn import functional as F

from tests.attacks.attempt import Attempt
from tests.attacks.written import Layer, Written, dense, embedding, images

KIND = "training that differs"
INPUTS = (images(shape=(6, 5)),)
MATCHED = (
    r"^judged with torch's rule on both sides \[adam-epsilon\] at b: epsilon=0\.01, added to the root before the bias "
    r"correction, in Keras; 0\.01, added to the bias-corrected root, in torch; the step differs by "
)
"""What a note says where `match_rules` was asked for: the number is the same, and only the frameworks' rules differ."""
TWO = {"a": dense(5, 4), "b": dense(4, 3)}
PLAIN = Written(lambda xp, m, x: m.b(xp.tanh(m.a(x))), TWO)


def pair(keras_make: Callable[[], Any], torch_make: Any) -> dict[str, Any]:
    """A pair of optimizers, made anew for each comparison."""
    return {"keras_make": keras_make, "torch_make": torch_make}


K, T = keras.optimizers, torch.optim

# (Keras optimizer, torch optimizer): each pair has other rules.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "momentum": pair(lambda: K.SGD(0.1, momentum=0.9), lambda p: T.SGD(p, 0.1, momentum=0.8)),
    "no momentum": pair(lambda: K.SGD(0.1), lambda p: T.SGD(p, 0.1, momentum=0.9)),
    "Nesterov": pair(lambda: K.SGD(0.1, momentum=0.9, nesterov=True), lambda p: T.SGD(p, 0.1, momentum=0.9)),
    "dampening": pair(lambda: K.SGD(0.1, momentum=0.9), lambda p: T.SGD(p, 0.1, momentum=0.9, dampening=0.5)),
    "learning rate": pair(lambda: K.SGD(0.1), lambda p: T.SGD(p, 0.1001)),
    "beta_1": pair(lambda: K.Adam(0.01, beta_1=0.5), lambda p: T.Adam(p, 0.01)),
    "beta_2": pair(lambda: K.Adam(0.01, beta_2=0.99), lambda p: T.Adam(p, 0.01)),
    "a great epsilon": pair(lambda: K.Adam(0.01, epsilon=1e-2), lambda p: T.Adam(p, 0.01, eps=1e-2)),
    "two epsilons": pair(lambda: K.Adam(0.01, epsilon=1e-2), lambda p: T.Adam(p, 0.01, eps=1e-3)),
    "amsgrad": pair(lambda: K.Adam(0.01, amsgrad=True), lambda p: T.Adam(p, 0.01)),
    "Adam for AdamW": pair(lambda: K.Adam(0.01), lambda p: T.AdamW(p, 0.01, weight_decay=0.1)),
    "weight decay": pair(lambda: K.AdamW(0.01, weight_decay=0.1), lambda p: T.AdamW(p, 0.01, weight_decay=0.01)),
    "RMSprop's momentum": pair(lambda: K.RMSprop(0.01, momentum=0.9), lambda p: T.RMSprop(p, 0.01, alpha=0.9)),
    "RMSprop's rho": pair(lambda: K.RMSprop(0.01, rho=0.9), lambda p: T.RMSprop(p, 0.01, alpha=0.99)),
    "RMSprop centered": pair(lambda: K.RMSprop(0.01, rho=0.9, centered=True), lambda p: T.RMSprop(p, 0.01, alpha=0.9)),
    "clipping by norm": pair(lambda: K.SGD(0.1, clipnorm=1e-2), lambda p: T.SGD(p, 0.1)),
    "clipping by value": pair(lambda: K.SGD(0.1, clipvalue=1e-3), lambda p: T.SGD(p, 0.1)),
    "clipping by the global norm": pair(lambda: K.SGD(0.1, global_clipnorm=1e-2), lambda p: T.SGD(p, 0.1)),
    "an average of the weights": pair(lambda: K.SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=1),
                                      lambda p: T.SGD(p, 0.1)),
    "a schedule that halves": pair(
        lambda: K.SGD(K.schedules.ExponentialDecay(0.1, 1, 0.5, staircase=True)), lambda p: T.SGD(p, 0.1)),
    "gradients gathered over two steps": pair(
        lambda: K.SGD(0.1, gradient_accumulation_steps=2), lambda p: T.SGD(p, 0.1)),
    "torch maximises": pair(lambda: K.SGD(0.1), lambda p: T.SGD(p, 0.1, maximize=True)),
}  # fmt: skip


def dropout(keras_make: Callable[[str], Any], torch_make: Callable[[], nn.Module]) -> Mapping[str, Layer]:
    return {**TWO, "drop": Layer(keras_make, torch_make)}


def _dropped(xp: Any, m: Any, x: Any) -> Any:
    return m.b(m.drop(xp.tanh(m.a(x))))


def _penalised(**more: Any) -> Written:
    return Written(PLAIN.forward, {"a": dense(5, 4, **more), "b": dense(4, 3)})


def _frozen(side: str) -> Written:
    def torch_layer() -> nn.Module:
        return nn.Linear(5, 4).requires_grad_(side != "torch")

    layer = Layer(lambda name: L.Dense(4, name=name, trainable=side != "keras"), torch_layer)
    return Written(PLAIN.forward, {"a": layer, "b": dense(4, 3)})


def _weighted_loss(xp: Any, m: Any, x: Any) -> Any:
    y = m.a(x)
    if xp.side == "keras":
        m.me.add_loss(0.5 * xp.sum(y * y))
    return m.b(xp.tanh(y))


def _detached(xp: Any, m: Any, x: Any) -> Any:
    y = xp.tanh(m.a(x))
    return m.b(xp.stop_gradient(y) if xp.side == "keras" else y.detach())


# (Keras network, torch network): the same in inference.
NETWORKS: dict[str, tuple[Written, Written]] = {
    "a penalty on the kernel": (_penalised(kernel_regularizer=keras.regularizers.L2(0.1)), PLAIN),
    "a penalty on the bias": (_penalised(bias_regularizer=keras.regularizers.L1(0.1)), PLAIN),
    "a penalty on the activity": (_penalised(activity_regularizer=keras.regularizers.L2(0.1)), PLAIN),
    "a constraint of the kernel": (_penalised(kernel_constraint=keras.constraints.MaxNorm(0.1)), PLAIN),
    "a loss added in call": (Written(_weighted_loss, TWO, live=True), PLAIN),
    "a layer frozen in Keras": (_frozen("keras"), PLAIN),
    "a layer frozen in torch": (PLAIN, _frozen("torch")),
    "a gradient cut in Keras": (Written(_detached, TWO), PLAIN),
    "a gradient cut in torch": (PLAIN, Written(_detached, TWO)),
    "dropout's rate": (Written(_dropped, dropout(lambda n: L.Dropout(0.2, name=n), lambda: nn.Dropout(0.5))),) * 2,
    "noise for dropout": (Written(_dropped, dropout(lambda n: L.GaussianNoise(0.3, name=n), lambda: nn.Dropout(0.3))),) * 2,
    "alpha dropout for dropout": (
        Written(_dropped, dropout(lambda n: L.AlphaDropout(0.3, name=n), lambda: nn.Dropout(0.3))),) * 2,
    "no dropout in torch": (Written(_dropped, dropout(lambda n: L.Dropout(0.3, name=n), nn.Identity)),) * 2,
    "a batch normalisation's momentum": (
        Written(lambda xp, m, x: m.b(m.n(m.a(x))), {**TWO, "n": Layer(
            lambda n: L.BatchNormalization(momentum=0.99, epsilon=1e-5, name=n),
            lambda: nn.BatchNorm1d(4, eps=1e-5, momentum=0.1))}),) * 2,
}  # fmt: skip

DROPPING = dropout(lambda n: L.Dropout(0.3, name=n), lambda: nn.Dropout(0.3))

# Where dropout stands, or what it multiplies: each differs from `_dropped`, with the same layers and rates.
PLACES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "on the input": lambda xp, m, x: m.b(xp.tanh(m.a(m.drop(x)))),
    "in front of the activation": lambda xp, m, x: m.b(xp.tanh(m.drop(m.a(x)))),
    "on the output": lambda xp, m, x: m.drop(m.b(xp.tanh(m.a(x)))),
    "around a sum": lambda xp, m, x: m.b(m.drop(xp.tanh(m.a(x)) + 1.0) - 1.0),
    "a mask of ones, unscaled": lambda xp, m, x: m.b(
        xp.tanh(m.a(x)) * xp.like(m.drop(xp.ones_like(m.a(x))) > 0, x)
    ),
}  # fmt: skip

LOSSES: dict[str, tuple[Any, Any]] = {
    "absolute for squared error": (keras.losses.MeanAbsoluteError(), nn.MSELoss()),
    "a sum for a mean": (keras.losses.MeanSquaredError(), nn.MSELoss(reduction="sum")),
    "Huber's delta": (keras.losses.Huber(delta=0.1), nn.HuberLoss(delta=0.2)),
}

MSE, CROSS = keras.losses.MeanSquaredError(), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
LABELS = np.array([1, 2, 2, 1, 1, 2], np.int32)


def _branching(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    loss = ((outputs - targets) ** 2).mean()
    if outputs.shape[0] > 100:
        loss = loss * 2.0
    return loss


# (loss of Keras, loss of torch, targets), and what must be named: alike on the outputs and targets of this batch.
FAR_LOSSES: dict[str, tuple[tuple[Any, ...], str]] = {
    "Huber's delta, never reached": ((keras.losses.Huber(delta=100.0), nn.HuberLoss(delta=200.0)), ""),
    "a limit, never reached": ((MSE, lambda o, y: ((o - y) ** 2).clamp(max=1e9).mean()), ""),
    "divided by the usual batch": ((MSE, lambda o, y: ((o - y) ** 2).sum() / 18.0), ""),
    "a label left out that no example has": (
        (CROSS, lambda o, y: F.cross_entropy(o, y.long(), ignore_index=0), LABELS), ""),
    "a weight of a class that no example has": (
        (CROSS, lambda o, y: F.cross_entropy(o, y.long(), o.new_tensor([5.0, 1.0, 1.0])), LABELS), ""),
    "a branch for great batches": (
        (MSE, _branching), r"^branches .*training\.py:\d+: `outputs.shape\[0\] > 100` was never true"),
    "logarithms that guard against zero": (
        (keras.losses.BinaryCrossentropy(), nn.BCELoss()), r"^limits the losses of probabilities next to 0 and 1 are "),
}  # fmt: skip


class _Limited(torch.autograd.Function):
    """What it is given; gradients are limited on their way back."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 1.0

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return gradient.clamp(-1e3, 1e3)


@keras.ops.custom_gradient
def _limited(x: Any) -> Any:
    def gradient(*given: Any, upstream: Any = None) -> Any:
        return keras.ops.clip(given[0] if upstream is None else upstream, -1e3, 1e3)

    return x * 1.0, gradient


def _clipped_back(xp: Any, m: Any, x: Any) -> Any:
    y = xp.tanh(m.a(x))
    return m.b(_limited(y) if xp.side == "keras" else _Limited.apply(y))


def _hooked(xp: Any, m: Any, x: Any) -> Any:
    y = m.a(x)
    if getattr(y, "requires_grad", False):
        y.register_hook(lambda gradient: gradient.clamp(-1e3, 1e3))
    return m.b(xp.tanh(y))


def _noisy_back(xp: Any, m: Any, x: Any) -> Any:
    """Noise on the way back hides a factor, where what noise moves is taken for rounding."""
    y = xp.tanh(m.a(x))
    if getattr(y, "requires_grad", False):
        y.register_hook(lambda gradient: gradient * (1.5 + 0.3 * torch.randn_like(gradient)))
    return m.b(y)


AVERAGED = Written(lambda xp, m, x: m.b(m.n(m.a(x))), {**TWO, "n": Layer(
    lambda n: L.BatchNormalization(momentum=0.0, epsilon=1e-5, name=n),
    lambda: nn.BatchNorm1d(4, eps=1e-5, momentum=None))})  # fmt: skip
"""torch's statistics are averages of all batches, Keras' are those of the last one."""

PIECES = K.schedules.PiecewiseConstantDecay


def _milestone(update: int) -> Callable[[Any], Any]:
    return lambda optimizer: T.lr_scheduler.MultiStepLR(optimizer, [update], 0.1)


class Limiting(T.SGD):
    """Limits gradients in its step."""

    def step(self, closure: Any = None) -> Any:
        for parameter in self.param_groups[0]["params"]:
            parameter.grad.clamp_(-1e6, 1e6)
        return super().step(closure)


class LimitingInKeras(K.SGD):
    """The same in Keras."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        super().update_step(keras.ops.clip(gradient, -1e6, 1e6), variable, learning_rate)


def _warm(parameters: Any) -> Any:
    """An optimizer that has made steps already."""
    optimizer = T.SGD(parameters, 0.1, momentum=0.9)
    for parameter in optimizer.param_groups[0]["params"]:
        optimizer.state[parameter]["momentum_buffer"] = torch.ones_like(parameter)
    return optimizer


def _watched() -> nn.Module:
    """A layer that drops small gradients."""
    layer = TWO["a"].torch()
    layer.weight.register_hook(lambda g: torch.where(g.abs() < 1e-13, torch.zeros_like(g), g))  # type: ignore[union-attr,operator]
    return layer


# Optimizers that are alike for as many steps as are compared, and what must be named.
LATER: dict[str, tuple[dict[str, Any], str]] = {
    "a schedule of Keras alone, from update 1001 on": (
        pair(lambda: K.SGD(PIECES([1000], [0.1, 0.01])), lambda p: T.SGD(p, 0.1)), ""),
    "schedules with other milestones": (
        pair(lambda: K.SGD(PIECES([1000], [0.1, 0.01])),
             {"optimizer": lambda p: T.SGD(p, 0.1), "scheduler": _milestone(2001)}),
        r"^training learning rates: that of update 1,002 is 0\.01 in Keras and 0\.1 in torch"),
    "averages that replace the weights after 100 and after 200 updates": (
        pair(lambda: K.SGD(0.1, use_ema=True, ema_momentum=0.99, ema_overwrite_frequency=100),
             {"optimizer": lambda p: T.SGD(p, 0.1), "ema_momentum": 0.99, "ema_overwrite_frequency": 200}), ""),
    "a step of one's own that limits gradients": (
        pair(lambda: K.SGD(0.1), lambda p: Limiting(p, 0.1)), r"^training what Limiting\.step does with other gradients"),
    "the same in Keras": (
        pair(lambda: LimitingInKeras(0.1), lambda p: T.SGD(p, 0.1)),
        r"^training what LimitingInKeras\.update_step does with other gradients"),
    "a momentum from before": (
        pair(lambda: K.SGD(0.1, momentum=0.9), _warm), r"^training the state that SGD held already"),
}  # fmt: skip


def _in_training(change: Callable[..., Any]) -> Callable[..., Any]:
    """The plain network, with `change(ops, m, result, input)` of its result in training alone."""

    def forward(xp: Any, m: Any, x: Any) -> Any:
        result = m.b(xp.tanh(m.a(x)))
        if m.training:
            result = change(xp, m, result, x)
        return result

    return forward


def _great_batch(xp: Any, m: Any, result: Any, x: Any) -> Any:
    if x.shape[0] > 100:
        return result * 2.0
    return result


def _later(xp: Any, m: Any, result: Any, x: Any) -> Any:
    m.memory["steps"] = m.memory.get("steps", 0) + 1
    return result * (1.0 + float(m.memory["steps"] > 1000))


# What training alone does, and what must be named.
IN_TRAINING: dict[str, tuple[Callable[..., Any], str]] = {
    "what great values alone meet": (
        lambda xp, m, result, x: result + xp.relu(xp.sum(x, axis=-1, keepdims=True) - 20.0), ""),
    "a clip at 1e6": (lambda xp, m, result, x: xp.clip(result, -1e6, 1e6),
                      r"^limits (clip|clamp) in the model itself( \(\d\))?: its operand never lay above"),
    "another function of great batches": (
        _great_batch, r"^branches .*training\.py:\d+: `x.shape\[0\] > 100` was never true"),
    "another function of a batch of six": (
        lambda xp, m, result, x: result * (1.0 + float(x.shape[0] != 6)), ""),
    "another function from step 1000 on": (_later, r"^state .*memory\['steps'\] of the \w+ side changes in training"),
}  # fmt: skip


class Counting(nn.Linear):
    """A dense layer that counts its steps of training in a buffer, and changes at the thousandth."""

    def __init__(self) -> None:
        super().__init__(5, 4)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.steps += 1
        return super().forward(x) * (1.0 + (self.steps > 1000).to(x.dtype))


TOKENS = (np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int32),)
LOOKED_UP = Written(lambda xp, m, x: m.d(m.e(x)), {"e": embedding(10, 5), "d": dense(5, 3)})


def _table(**more: Any) -> Written:
    layer = Layer(LOOKED_UP.layers["e"].keras, lambda: nn.Embedding(10, 5, **more))
    return Written(LOOKED_UP.forward, {**LOOKED_UP.layers, "e": layer})


def beyond_the_batch() -> Iterator[Attempt]:
    """What one batch of training does not show."""
    both = {"gradients": True, "train_steps": 2}
    live = Written(PLAIN.forward, TWO, live=True)
    for name, (losses, excused) in FAR_LOSSES.items():
        ends = isinstance(losses[1], nn.BCELoss)
        network = Written(lambda xp, m, x: xp.sigmoid(PLAIN.forward(xp, m, x)), TWO) if ends else PLAIN
        arguments = {**both, "loss": losses}
        yield Attempt(KIND, f"loss: {name}", network, network, "torch", INPUTS, arguments, excused=excused)
    limited = Written(_clipped_back, TWO, live=True)
    for side in ("torch", "keras"):
        yield Attempt(KIND, "gradients limited on the way back", live, limited, side, INPUTS, both)
        for name, (change, excused) in IN_TRAINING.items():
            changed = Written(_in_training(change), TWO, live=True)
            yield Attempt(KIND, f"{name}, in training", live, changed, side, INPUTS, both, excused=excused)
    yield Attempt(
        KIND, "a hook that limits gradients", live, Written(_hooked, TWO, live=True), "torch", INPUTS, both
    )
    noisy = Written(_noisy_back, TWO, live=True)
    for name, arguments in (("gradients", both), ("steps", {"train_steps": 2})):
        yield Attempt(KIND, f"noise on the way back, {name}", live, noisy, "torch", INPUTS, arguments)
    for steps in (1, 2):
        arguments = {"train_steps": steps, "match_rules": True}
        yield Attempt(
            KIND, f"averaged statistics, steps: {steps}", AVERAGED, AVERAGED, "torch", INPUTS, arguments
        )
    for name, (made, excused) in LATER.items():
        arguments = {"train_steps": 3, "match_rules": True, "made": made}
        yield Attempt(KIND, name, PLAIN, PLAIN, "torch", INPUTS, arguments, excused=excused)
    counting = Written(PLAIN.forward, {**TWO, "a": Layer(TWO["a"].keras, Counting)})
    counted = r"^state a\.steps of the torch side changes in training"
    yield Attempt(KIND, "a buffer that counts steps", PLAIN, counting, "torch", INPUTS, both, excused=counted)
    watched = Written(PLAIN.forward, {**TWO, "a": Layer(TWO["a"].keras, _watched)})
    said = r"^training what hooks do to other gradients of a\.weight \(torch\)"
    yield Attempt(
        KIND, "a hook that drops small gradients", PLAIN, watched, "torch", INPUTS, both, excused=said
    )
    for name, more in (("padding that no example has", {"padding_idx": 0}),
                       ("gradients by frequency, no token twice", {"scale_grad_by_freq": True})):  # fmt: skip
        yield Attempt(KIND, f"a table: {name}", LOOKED_UP, _table(**more), "torch", TOKENS, both)


def rows() -> Iterator[Attempt]:
    yield from beyond_the_batch()
    for name, made in OPTIMIZERS.items():
        for match in (False, True):
            named = f"{name}{', match_rules' if match else ''}"
            arguments = {"train_steps": 3, "match_rules": match, "made": made}
            excused = MATCHED if match and name == "a great epsilon" else ""
            yield Attempt(KIND, named, PLAIN, PLAIN, "torch", INPUTS, arguments, excused=excused)
    for name, (keras_net, torch_net) in NETWORKS.items():
        for match in (False, True):
            arguments = {"gradients": True, "train_steps": 2, "match_rules": match}
            named = f"{name}{', match_rules' if match else ''}"
            yield Attempt(KIND, named, keras_net, torch_net, "torch", INPUTS, arguments)
    for name, forward in PLACES.items():
        nets = Written(_dropped, DROPPING), Written(forward, DROPPING)
        for side, (keras_net, torch_net) in (("torch", nets), ("keras", nets[::-1])):
            arguments = {"gradients": True, "train_steps": 2, "match_rules": True}
            yield Attempt(KIND, f"dropout {name}", keras_net, torch_net, side, INPUTS, arguments)
    for name, losses in LOSSES.items():
        yield Attempt(
            KIND, f"loss: {name}", PLAIN, PLAIN, "torch", INPUTS, {"gradients": True, "loss": losses}
        )
    mode = Written(lambda xp, m, x: m.b(xp.tanh(m.a(x))) * (1.0 + float(m.training)), TWO, live=True)
    live = Written(PLAIN.forward, TWO, live=True)
    for side in ("torch", "keras"):
        yield Attempt(KIND, "twice the result in training", live, mode, side, INPUTS, {"gradients": True})
