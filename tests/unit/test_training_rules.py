"""Hyperparameters that differ are found and named, with match_rules too; what one side states alone is named."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import parity
from parity.core.layout import identity
from parity.core.rules import Rule, advance
from parity.pairing.evidence import Evidence
from parity.pairing.pairs import LayerPair
from parity.pairing.slots import Slot
from parity.training.requests import hyperparameters_of
from parity.training.steps.optimizer_causes import OptimizerStep, explain_step
from parity.training.steps.parts import PARTS, differing_parts
from parity.training.steps.simulated import effect_of

T = torch.optim
K = keras.optimizers
S, R = keras.optimizers.schedules, torch.optim.lr_scheduler


@functools.cache
def pair() -> tuple[Any, Any, Any]:
    """A small pair whose rules alone can differ."""
    image = keras.Input((5,))
    model = keras.Model(image, L.Dense(3, name="b")(L.Dense(4, activation="tanh", name="a")(image)))
    module = nn.Sequential()
    module.add_module("a", nn.Linear(5, 4))
    module.add_module("tanh", nn.Tanh())
    module.add_module("b", nn.Linear(4, 3))
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    parity.transfer(module, model)
    return model, module, np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)


def trained(optimizer: Any, steps: int = 3, match: bool = True, **more: Any) -> Any:
    return parity.compare(
        *pair(), train_steps=steps, optimizer=optimizer, match_rules=match, quick=True, **more
    )


def keras_sgd(rate: Any = 0.01, **more: Any) -> Any:
    return K.SGD(rate, **more)


def torch_sgd(rate: float = 0.01, **more: Any) -> Any:
    return lambda p: T.SGD(p, rate, **more)


def keras_adam(**more: Any) -> Any:
    return K.Adam(0.01, **{"epsilon": 1e-8, **more})


def torch_adam(**more: Any) -> Any:
    return lambda p: T.Adam(p, 0.01, **more)


def keras_rms(**more: Any) -> Any:
    return K.RMSprop(0.01, **{"rho": 0.99, "epsilon": 1e-8, **more})


def torch_rms(**more: Any) -> Any:
    return lambda p: T.RMSprop(p, 0.01, **more)


def halved(rate: float) -> Any:
    def make(parameters: Any) -> Any:
        optimizer = T.SGD(parameters, rate, momentum=0.9)
        return optimizer, R.StepLR(optimizer, 1, 0.5)

    return make


def around(make: Any, **more: Any) -> dict[str, Any]:
    """torch's side as a dictionary."""
    return {"optimizer": make, **more}


DIFFERENT: dict[str, tuple[Any, Any, str]] = {
    "beta_1 smaller in Keras": (keras_adam(beta_1=0.5), torch_adam(), "beta_1"),
    "beta_1 smaller in torch": (keras_adam(), torch_adam(betas=(0.5, 0.999)), "beta_1"),
    "beta_2 smaller in Keras": (keras_adam(beta_2=0.9), torch_adam(), "beta_2"),
    "beta_2 smaller in torch": (keras_adam(), torch_adam(betas=(0.9, 0.9)), "beta_2"),
    "halved in Keras": (
        keras_sgd(S.PiecewiseConstantDecay([0, 1], [0.02, 0.01, 0.005]), momentum=0.9),
        torch_sgd(0.02, momentum=0.9),
        "learning_rate",
    ),
    "halved in torch": (keras_sgd(0.02, momentum=0.9), halved(0.02), "learning_rate"),
    "RMSprop's momentum in Keras": (keras_rms(momentum=0.9), torch_rms(), "momentum=0.9 in Keras, 0 in torch"),
    "RMSprop's momentum in torch": (keras_rms(), torch_rms(momentum=0.9), "momentum=0 in Keras, 0.9 in torch"),
    "another momentum": (keras_rms(momentum=0.9), torch_rms(momentum=0.5), "momentum"),
    "average in Keras": (keras_adam(use_ema=True, ema_momentum=0.9), torch_adam(), "EMA"),
    "average in torch": (keras_adam(), around(torch_adam(), ema_momentum=0.9), "EMA"),
    "another average": (
        keras_sgd(use_ema=True, ema_momentum=0.9), around(torch_sgd(), ema_momentum=0.99), "ema_momentum=0.9",
    ),
    "overwritten in Keras": (
        keras_sgd(use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=2),
        around(torch_sgd(), ema_momentum=0.9),
        "after every 2 updates",
    ),
    "amsgrad in Keras": (keras_adam(amsgrad=True), torch_adam(), "amsgrad"),
    "amsgrad in torch": (keras_adam(), torch_adam(amsgrad=True), "amsgrad"),
    "rho": (keras_rms(rho=0.9), torch_rms(), "rho=0.9"),
    "rho in torch": (keras_rms(), torch_rms(alpha=0.9), "rho=0.99 in Keras, 0.9 in torch"),
    "centered in Keras": (keras_rms(centered=True), torch_rms(), "centered"),
    "centered in torch": (keras_rms(), torch_rms(centered=True), "centered"),
    "nesterov in Keras": (keras_sgd(momentum=0.9, nesterov=True), torch_sgd(momentum=0.9), "nesterov"),
    "nesterov in torch": (keras_sgd(momentum=0.9), torch_sgd(momentum=0.9, nesterov=True), "nesterov"),
    "dampening": (keras_sgd(momentum=0.9), torch_sgd(momentum=0.9, dampening=0.5), "dampening"),
    "maximize": (keras_sgd(), torch_sgd(maximize=True), "maximize"),
    "another epsilon": (keras_adam(epsilon=1e-7), torch_adam(), "epsilon"),
    "another decay": (
        K.AdamW(0.01, weight_decay=0.1, epsilon=1e-8), lambda p: T.AdamW(p, 0.01, weight_decay=0.2), "weight decay",
    ),
    "clipped in Keras": (keras_sgd(clipvalue=1e-3), torch_sgd(), "clipvalue"),
    "clipped in torch": (keras_sgd(), around(torch_sgd(), clipvalue=1e-3), "clipvalue"),
    "clipped never": (keras_sgd(global_clipnorm=1e9), torch_sgd(), "global_clipnorm"),
    "clipped otherwise": (keras_sgd(clipnorm=1e-3), around(torch_sgd(), global_clipnorm=1e-3), "clipnorm"),
    "gathered in Keras": (keras_sgd(gradient_accumulation_steps=2), torch_sgd(), "gradient_accumulation_steps=2"),
    "gathered in torch": (keras_sgd(), around(torch_sgd(), gradient_accumulation_steps=2), "accumulation_steps=1"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT)
def test_matched_rules_hide_no_number(case: str) -> None:
    """match_rules takes over what the frameworks differ in by themselves, and nothing that the user set."""
    first, second, name = DIFFERENT[case]
    report = trained((first, second))
    assert report.verdict == "DIVERGED", str(report)
    named = [finding for finding in report.findings if name in finding.evidence]
    assert named, str(report)
    assert all(finding.kind == "training" for finding in report.findings), str(report)
    assert len(report.findings) == 1, str(report)


EQUAL: dict[str, tuple[Any, Any]] = {
    "Adam": (keras_adam(), torch_adam()),
    "AMSGrad": (keras_adam(amsgrad=True), torch_adam(amsgrad=True)),
    "RMSprop": (keras_rms(momentum=0.9, centered=True), torch_rms(momentum=0.9, centered=True)),
    "AdamW": (K.AdamW(0.01, weight_decay=0.1, epsilon=1e-8), lambda p: T.AdamW(p, 0.01, weight_decay=0.1)),
    "average": (keras_adam(use_ema=True, ema_momentum=0.9), around(torch_adam(), ema_momentum=0.9)),
    "overwriting average": (
        keras_sgd(use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=2),
        around(torch_sgd(), ema_momentum=0.9, ema_overwrite_frequency=2),
    ),
    "gathered": (
        keras_adam(gradient_accumulation_steps=2),
        around(torch_adam(), gradient_accumulation_steps=2),
    ),
    "halved": (
        keras_sgd(S.PiecewiseConstantDecay([0, 1, 2], [0.02, 0.01, 0.005, 0.0025]), momentum=0.9),
        halved(0.02),
    ),
    "exponential": (
        keras_sgd(S.ExponentialDecay(0.01, 1, 0.7)),
        lambda p: (lambda o: (o, R.ExponentialLR(o, 0.7)))(T.SGD(p, 0.01)),
    ),
    "cosine": (
        keras_sgd(S.CosineDecay(0.01, 10)),
        around(torch_sgd(), scheduler=lambda o: R.CosineAnnealingLR(o, 10)),
    ),
    "clipped by value": (keras_sgd(clipvalue=1e-3), around(torch_sgd(), clipvalue=1e-3)),
    "clipped by a function": (
        keras_sgd(clipvalue=1e-3),
        around(torch_sgd(), clip=functools.partial(nn.utils.clip_grad_value_, clip_value=1e-3)),
    ),
    "clipped each": (keras_sgd(clipnorm=1e-3), around(torch_sgd(), clipnorm=1e-3)),
    "clipped by norm": (keras_sgd(global_clipnorm=1e-3), around(torch_sgd(), global_clipnorm=1e-3)),
    "loss scaled": (keras_sgd(loss_scale_factor=1024.0), around(torch_sgd(), loss_scale_factor=1024.0)),
}


@pytest.mark.parametrize("case", EQUAL)
def test_rules_that_do_the_same_are_equal(case: str) -> None:
    report = trained(EQUAL[case], steps=4)
    assert report.verdict == "EQUAL", str(report)


def test_a_dictionary_for_both_sides_takes_every_option() -> None:
    for options in (
        {"gradient_accumulation_steps": 2},
        {"ema_momentum": 0.9},
        {"ema_momentum": 0.9, "ema_overwrite_frequency": 2},
        {"clipvalue": 1e-3},
        {"loss_scale_factor": 8.0},
    ):
        report = trained({"name": "sgd", "lr": 0.01, **options}, steps=4)
        assert report.verdict == "EQUAL", f"{options}: {report}"


class InFloat32(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of the user's own that computes in float32 whatever its numbers are."""

    def __call__(self, step: Any) -> Any:
        return keras.ops.cast(0.01, "float32") / (keras.ops.cast(step, "float32") + 1.0)

    def get_config(self) -> dict[str, Any]:
        return {}


def test_a_schedules_float32_rounding_is_no_fault() -> None:
    """A constant 0.01 is 0.0099999998 in a Keras schedule; a rate that is 1e-4 off is a difference."""

    def torch_side(rate: float) -> Any:
        return around(torch_sgd(rate), scheduler=lambda o: R.LambdaLR(o, lambda step: 1.0 / (step + 1)))

    report = trained((keras_sgd(InFloat32()), torch_side(0.01)), match=False)
    assert report.verdict == "EQUAL", str(report)
    assert any("float32" in note for note in report.notes)
    report = trained((keras_sgd(InFloat32()), torch_side(0.01 * (1 + 1e-4))))
    assert report.verdict == "DIVERGED"
    assert "learning_rate" in report.findings[0].evidence


# --- what one side states alone ---------------------------------------------------------------------


class WithMore(keras.optimizers.SGD):
    """An optimizer with a number that parity does not know."""

    def __init__(self, learning_rate: float = 0.01, patience: float = 3.0, **more: Any) -> None:
        super().__init__(learning_rate, **more)
        self.patience = patience

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "patience": self.patience}


def with_group_key(parameters: Any) -> Any:
    return T.SGD([{"params": list(parameters), "trust": 0.5}], 0.01)


def odd_clip(parameters: Any) -> None:
    for parameter in parameters:
        parameter.grad = parameter.grad / (1.0 + parameter.grad.abs())


UNKNOWN: dict[str, tuple[Any, Any, str]] = {
    "Keras setting": (WithMore(), torch_sgd(), "patience=3.0"),
    "torch setting": (keras_sgd(), with_group_key, "trust=0.5"),
    "loss scale in Keras": (keras_sgd(loss_scale_factor=1024.0), torch_sgd(), "1024 in Keras, none in torch"),
    "loss scale in torch": (
        keras_sgd(),
        around(torch_sgd(), loss_scale_factor=8.0),
        "none in Keras, 8 in torch",
    ),
    "dynamic loss scale": (K.LossScaleOptimizer(keras_sgd()), torch_sgd(), "dynamic from 32768"),
    "unknown rules": (K.Adagrad(0.01, 0.0, 1e-10), lambda p: T.Adagrad(p, 0.01, eps=1e-10), "Adagrad"),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_known_is_named_and_never_equal(case: str) -> None:
    first, second, name = UNKNOWN[case]
    report = trained((first, second), match=case != "unknown rules")
    assert report.verdict != "EQUAL", str(report)
    named = [finding for finding in report.findings if finding.kind == "not-compared"]
    assert any(name in finding.evidence for finding in named), str(report)
    if case != "unknown rules":
        assert report.verdict == "INCONCLUSIVE", str(report)


def test_a_clipping_function_of_no_known_rule_is_named() -> None:
    report = trained((keras_sgd(), around(torch_sgd(), clip=odd_clip)))
    assert report.verdict == "DIVERGED"
    assert any("clips gradients" in finding.evidence for finding in report.findings)


def test_an_optimizer_that_does_not_do_what_it_says_is_named() -> None:
    """A step hook shrinks a gradient that is zero in these steps' rules; on both sides the steps are the same."""

    class Slower(T.SGD):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.data.mul_(0.5)
            super().step()

    report = trained((keras_sgd(), lambda p: Slower(p, 0.01)))
    assert report.verdict == "DIVERGED", str(report)


def test_parameters_that_the_optimizer_does_not_hold_are_named() -> None:
    _, module, _ = pair()
    report = trained((keras_sgd(), lambda _: T.SGD(module.a.parameters(), 0.01)))
    assert report.verdict == "DIVERGED"
    assert any("none of the parameters" in finding.evidence for finding in report.findings), str(report)


# --- the rules' parts ---------------------------------------------------------------------------------


def test_every_field_of_a_rule_belongs_to_one_part() -> None:
    fields = [field for part in PARTS for field in part.fields]
    assert sorted(fields) == sorted(set(Rule.__dataclass_fields__) - {"algorithm"})


def test_a_part_without_effect_is_no_difference() -> None:
    plain = Rule("adam", 0.01)
    for other, effect in (
        (Rule("adam", 0.01, amsgrad=True), True),
        (Rule("adam", 0.01, momentum=0.5), False),  # Adam has none
        (Rule("adam", 0.01, epsilon=1e-300, epsilon_at="raw"), False),
    ):
        base = Rule("adam", 0.01, epsilon=1e-300) if other.epsilon_at == "raw" else plain
        found = {part.name: effect_of(part, [base], [other]) for part in differing_parts(base, other)}
        assert (max(found.values()) > 1e-6) == effect, found


def test_rounding_that_adam_enlarges_hides_no_rule() -> None:
    """A gradient of 1e-10 that is off by 1e-13 moves Adam's step by a thousandth of the rate; epsilon differs too."""
    rng = np.random.default_rng(0)
    weights = {"k": rng.standard_normal((4, 3))}
    given = {"k": rng.standard_normal((4, 3))}
    given["k"][1, 2] = 1e-10
    rounded = {"k": given["k"] + 1e-13 * np.sign(rng.standard_normal((4, 3)))}
    rules = {"k": Rule("adam", 0.1, epsilon_at="raw")}, {"k": Rule("adam", 0.1)}
    slot = Slot("k", "k", identity((4, 3)))
    pairs = [(LayerPair("layer", ("layer",), (slot,), Evidence.PATH), slot)]

    def steps(wrong: float = 0.0) -> list[OptimizerStep]:
        made = []
        for rule, gradients in zip(rules, (given, rounded), strict=True):
            after, _ = advance(rule, weights, gradients, {})
            made.append(OptimizerStep(weights, gradients, {}, rule, {"k": after["k"] + wrong * len(made)}))
        return made

    keras_step, torch_step = steps()
    found = explain_step([keras_step], [torch_step], pairs, slot, set())
    assert [finding.cause for finding in found.rules] == ["adam-epsilon"]
    keras_step, torch_step = steps(wrong=1e-3)
    assert not explain_step([keras_step], [torch_step], pairs, slot, set()).known


# --- requests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("addam", "Did you mean 'adam'"),
        ({"name": "adam", "momentum": 0.9}, "options of adam"),
        ({"name": "sgd", "momentun": 0.9}, "Did you mean 'momentum'"),
        ({"name": "sgd", "momentum": "0.9"}, "momentum must be"),
        ({"name": "sgd", "lr": -1.0}, "lr must be"),
        ({"name": "sgd", "lr": []}, "lr must be"),
        ({"name": "adam", "betas": (0.9,)}, "two numbers"),
        ({"name": "sgd", "gradient_accumulation_steps": 0}, "at least 1"),
        ({"nam": "sgd"}, "must be one of"),
        (3, "name, a dictionary"),
    ],
)
def test_mistyped_requests_are_refused_before_anything_runs(wanted: Any, message: str) -> None:
    model, module, _ = pair()
    with pytest.raises(parity.UsageError, match=message):
        parity.compare(model, module, np.zeros((0, 0)), train_steps=1, optimizer=wanted)


def test_mistyped_losses_and_torch_items_are_refused() -> None:
    model, module, values = pair()
    with pytest.raises(parity.UsageError, match="Did you mean 'mse'"):
        parity.compare(model, module, np.zeros((0, 0)), gradients=True, loss="msee")
    with pytest.raises(parity.UsageError, match="Did you mean 'clipnorm'"):
        parity.compare(
            model, module, values, train_steps=1, optimizer=(keras_sgd(), around(torch_sgd(), clipnrm=1.0))
        )
    with pytest.raises(parity.UsageError, match="no optimizer"):
        parity.compare(model, module, values, train_steps=1, optimizer=(keras_sgd(), {"clipnorm": 1.0}))
    given = around(torch_sgd(), scheduler=R.ReduceLROnPlateau)
    with pytest.raises(parity.UsageError, match="ReduceLROnPlateau"):
        parity.compare(model, module, values, train_steps=1, optimizer=(keras_sgd(), given))
    assert hyperparameters_of({"name": "adamw", "betas": [0.9, 0.99]}, 1.0).options["betas"] == [0.9, 0.99]


@pytest.mark.parametrize("loss", ["mse", "mae", "bce", "cross-entropy"])
def test_losses_by_name_are_the_same_on_both_sides(loss: str) -> None:
    report = parity.compare(*pair(), gradients=True, train_steps=2, loss=loss)
    assert report.verdict == "EQUAL", str(report)


# --- rounding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [False, True])
def test_gradients_behind_the_flat_end_of_gelu(wrong: bool) -> None:
    """There GELU subtracts numbers near one, so its small results carry their rounding; a fault is found all the same."""
    x = keras.Input((8,))
    y = L.Activation(lambda v: keras.ops.gelu(v, approximate=wrong))(L.Dense(64, name="a")(x))
    model = keras.Model(x, L.Dense(64, name="b")(y))
    torch.manual_seed(0)
    module = nn.Sequential()
    for name, layer in (("a", nn.Linear(8, 64)), ("gelu", nn.GELU()), ("b", nn.Linear(64, 64))):
        module.add_module(name, layer)
    nn.init.uniform_(module.a.bias, -7.5, -4.0)
    parity.transfer(module, model)
    values = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    report = parity.compare(
        model, module, values, quick=True, gradients=True, train_steps=2, optimizer="adam", match_rules=True
    )
    assert report.verdict == ("DIVERGED" if wrong else "EQUAL"), report


@pytest.mark.parametrize("seed", [1, 3, 7, 16])
def test_a_bias_in_front_of_two_normalised_examples(seed: int) -> None:
    """Its gradient is rounding alone, much or nothing: few runs may show nothing of what an element's is."""
    x = keras.Input((64,))
    y = L.BatchNormalization(epsilon=1e-5, momentum=0.9, name="n")(L.Dense(64, name="a")(x))
    model = keras.Model(x, L.Dense(5, name="b")(keras.ops.sigmoid(y)))
    torch.manual_seed(seed)
    module = nn.Sequential()
    layers = (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Sigmoid(), nn.Linear(64, 5))
    for name, layer in zip(("a", "n", "sigmoid", "b"), layers, strict=True):
        module.add_module(name, layer)
    nn.init.uniform_(module.n.weight, 0.5, 2.0)
    parity.transfer(module, model)
    values = np.random.default_rng(seed).standard_normal((2, 64)).astype(np.float32)
    report = parity.compare(
        model, module, values, quick=True, gradients=True, train_steps=3, optimizer="adam", match_rules=True
    )
    assert report.verdict == "EQUAL", report
