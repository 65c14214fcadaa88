"""Training parity: rules against the frameworks' optimizers, state carried over, requests, and models left as they were."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import parity
from parity.adapters import adapt, trainer_of
from parity.adapters.probe import randomise
from parity.core.layout import identity
from parity.core.rules import NAMES, Rule, clipped, in_torch_terms, update
from parity.core.trainer import Evaluation, WatchedCall
from parity.core.types import Both
from parity.pairing.pair import LayerPair
from parity.pairing.slots import Slot
from parity.training import shared_layers, train_mode
from parity.training.gaps import gaps
from parity.training.requests import hyperparameters_of
from parity.training.steps.statistics import Statistics, explain_statistics
from parity.training.ties import Tie
from tests.zoo import CASES
from tf_impl import optimizers as keras_optimizers
from torch_impl import optimizers as torch_optimizers

# --- tf_impl.optimizers against torch.optim ---------------------------------------------------------

STEPS = 20
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.2, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "momentum": 0.5}),
    ("RMSprop", {"lr": 0.01, "eps": 1e-5, "weight_decay": 0.1, "momentum": 0.5, "centered": True}),
]


@pytest.fixture
def float64() -> Iterator[None]:
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


def gradients(count: int = STEPS) -> Any:
    """Of all sizes: small ones show where epsilon goes, and whether the first moment is corrected."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 4, 3)) * np.array([1e-8, 1e-4, 1.0, 100.0])[:, None]


def followed(ours: Any, theirs: Any, changes: dict[int, float] | None = None) -> float:
    """Greatest distance of two runs from one weight on the same gradients; the rate may change between steps."""
    start = np.random.default_rng(1).normal(size=(4, 3))
    variable, parameter = keras.Variable(start, dtype="float64"), nn.Parameter(torch.tensor(start))
    optimizer, other = ours(), theirs([parameter])
    optimizer.build([variable])
    greatest = 0.0
    for step, gradient in enumerate(gradients()):
        if changes and step in changes:
            optimizer.learning_rate = other.param_groups[0]["lr"] = changes[step]
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        parameter.grad = torch.tensor(gradient)
        other.step()
        value = keras.ops.convert_to_numpy(variable.value)
        greatest = max(greatest, float(np.abs(value - parameter.detach().numpy()).max()))
    return greatest


@pytest.mark.parametrize(("name", "arguments"), ROWS)
def test_both_halves_take_the_steps_of_torch(float64: None, name: str, arguments: dict[str, Any]) -> None:
    def ours() -> Any:
        return getattr(keras_optimizers, name)(**arguments)

    for package in (torch.optim, torch_optimizers):
        assert followed(ours, lambda p, package=package: getattr(package, name)(p, **arguments)) < 1e-12
    lr = arguments.get("lr", 1e-3)
    changed = followed(ours, lambda p: getattr(torch.optim, name)(p, **arguments), {7: lr / 3, 12: lr / 2})
    assert changed < 1e-12


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_keras_own_optimizers_do_not(float64: None, name: str) -> None:
    """The differences that the halves' optimizers are for."""
    arguments: dict[str, Any] = {"SGD": {"momentum": 0.9}}.get(name, {"epsilon": 1e-8})
    theirs: dict[str, Any] = {"SGD": {"momentum": 0.9}}.get(name, {"eps": 1e-8})
    if name == "RMSprop":
        arguments["rho"] = 0.99
    apart = followed(
        lambda: getattr(keras.optimizers, name)(0.01, **arguments),
        lambda p: getattr(torch.optim, name)(p, 0.01, **theirs),
        {7: 0.004},
    )
    assert apart > 1e-6


@pytest.mark.parametrize(("name", "arguments"), ROWS)
def test_an_optimizer_is_saved_and_made_again(name: str, arguments: dict[str, Any]) -> None:
    optimizer = getattr(keras_optimizers, name)(**arguments)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    scheduled = getattr(keras_optimizers, name)(**{**arguments, "lr": schedule})
    again = type(scheduled).from_config(scheduled.get_config())
    assert float(again.learning_rate) == pytest.approx(0.1)


def test_nesterov_needs_momentum() -> None:
    for half in (
        keras_optimizers.SGD,
        lambda **more: torch_optimizers.SGD([nn.Parameter(torch.ones(1))], **more),
    ):
        with pytest.raises(ValueError, match="momentum"):
            half(lr=0.1, nesterov=True)


def test_a_model_trains_with_it() -> None:
    model = keras.Sequential([keras.Input((3,)), L.Dense(2)])
    model.compile(keras_optimizers.Adam(0.1), "mse")
    x, y = np.random.default_rng(0).normal(size=(2, 16, 3)).astype(np.float32)
    losses = model.fit(x, y[:, :2], epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


# --- the rules in NumPy against both frameworks -----------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options", [{}, {"weight_decay": 0.1}, {"global_clipnorm": 0.5}, {"clipnorm": 0.5}], ids=str
)
def test_rules_describe_the_frameworks_optimizers(name: str, options: dict[str, Any]) -> None:
    """What parity reads of an optimizer, in NumPy, takes the optimizer's own steps, on both sides."""
    model, module = CASES["two inputs"].build()
    hyperparameters = hyperparameters_of({"name": name, "lr": [0.1, 0.05, 0.02], **options}, 0.1)
    rng = np.random.default_rng(0)
    for trainer in (trainer_of(adapt(model)), trainer_of(adapt(module))):
        with trainer.session():
            weights, states = trainer.state(), {}
            trainer.start(hyperparameters)
            for step in range(3):
                wanted = {path: rng.normal(size=weights[path].shape) for path in sorted(trainer.trainable())}
                trainer.apply(wanted, step)
                rules = trainer.rules()
                cut = clipped(rules, wanted)
                for path in wanted:
                    weights[path], states[path] = update(
                        rules[path], weights[path], cut[path], states.get(path, {})
                    )
            after, optimizer_state = trainer.state(), trainer.optimizer_state()
            for path in wanted:
                np.testing.assert_allclose(after[path], weights[path], rtol=1e-12, atol=1e-13)
                assert set(optimizer_state[path]) - {"step"} == set(states[path]) - {"step"}
                for kept in set(optimizer_state[path]) - {"step"}:
                    np.testing.assert_allclose(
                        optimizer_state[path][kept], states[path][kept], rtol=1e-11, atol=1e-14
                    )


def test_a_velocity_in_torch_terms() -> None:
    weight, gradient = np.ones(3), np.arange(3.0)
    ours, theirs = (Rule("sgd", 0.1, momentum=0.9, rate_in_velocity=held) for held in (True, False))
    states = [update(rule, weight, gradient, {})[1] for rule in (ours, theirs)]
    np.testing.assert_allclose(in_torch_terms(ours, states[0])["velocity"], states[1]["velocity"])


# --- optimizer state carried over -------------------------------------------------------------------

OPTIMIZERS: dict[str, tuple[Any, Any]] = {
    "SGD": (
        lambda: keras.optimizers.SGD(0.05, momentum=np.float64(0.9)),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    ),
    "Nesterov": (
        lambda: keras.optimizers.SGD(0.05, momentum=np.float64(0.9), nesterov=True),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
    ),
    "Adam": (  # an epsilon that is nothing beside the root: the rules differ in where it goes
        lambda: keras.optimizers.Adam(0.01, epsilon=1e-300),
        lambda p: torch.optim.Adam(p, 0.01, eps=1e-300),
    ),
    "RMSprop": (
        lambda: keras.optimizers.RMSprop(0.01, rho=0.99, momentum=np.float64(0.5), epsilon=1e-300),
        lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5, eps=1e-300),
    ),
    "our SGD": (
        lambda: keras_optimizers.SGD(0.05, momentum=0.9),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    ),
    "our Adam": (
        lambda: keras_optimizers.Adam(0.01, amsgrad=True),
        lambda p: torch.optim.Adam(p, 0.01, amsgrad=True),
    ),
    "our RMSprop": (
        lambda: keras_optimizers.RMSprop(0.01, momentum=0.5, centered=True),
        lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5, centered=True),
    ),
}


class Continued:
    """One pair in float64, and steps of either side on the same gradients."""

    def __init__(self) -> None:
        image = keras.Input((None, None, 3))
        x = L.Conv2D(4, 3, name="a")(image)
        self.model = keras.Model(image, L.Conv2DTranspose(2, (2, 3), strides=2, name="b")(x))
        self.module = nn.Sequential()
        self.module.add_module("a", nn.Conv2d(3, 4, 3))
        self.module.add_module("b", nn.ConvTranspose2d(4, 2, (2, 3), stride=2))
        self.module.double()
        self.start = {name: value.clone() for name, value in self.module.state_dict().items()}
        self.gradients = [
            {name: torch.randn(value.shape, dtype=torch.float64) for name, value in self.start.items()}
            for _ in range(8)
        ]

    def torch_steps(self, optimizer: Any, steps: range) -> None:
        for step in steps:
            for name, parameter in self.module.named_parameters():
                parameter.grad = self.gradients[step][name].clone()
            optimizer.step()

    def keras_steps(self, optimizer: Any, steps: range) -> None:
        for step in steps:
            values = []
            for variable in self.model.trainable_variables:
                layer, name = variable.path.split("/")
                value = self.gradients[step][f"{layer}.{'weight' if name == 'kernel' else 'bias'}"].numpy()
                values.append(value.transpose(2, 3, 1, 0) if name == "kernel" else value)
            optimizer.apply(
                [keras.ops.convert_to_tensor(value) for value in values], self.model.trainable_variables
            )

    def apart(self, other: dict[str, Any]) -> float:
        return max(
            float((other[name] - value).abs().max()) for name, value in self.module.state_dict().items()
        )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_exactly_after_a_transfer_either_way(float64: None, name: str) -> None:
    from parity.adapters.keras.exact import exact_float64

    ours, theirs = OPTIMIZERS[name]
    pair = Continued()
    optimizer = theirs(pair.module.parameters())
    pair.torch_steps(optimizer, range(8))
    wanted = {name: value.clone() for name, value in pair.module.state_dict().items()}
    with exact_float64():
        pair.module.load_state_dict(pair.start)  # torch, then Keras
        optimizer, keras_optimizer = theirs(pair.module.parameters()), ours()
        pair.torch_steps(optimizer, range(4))
        parity.transfer(pair.module, pair.model)
        assert parity.transfer_optimizer(optimizer, keras_optimizer, pair.module, pair.model) == 4
        pair.keras_steps(keras_optimizer, range(4, 8))
        parity.transfer(pair.model, pair.module)
        assert pair.apart(wanted) < 1e-13
        pair.module.load_state_dict(pair.start)  # Keras, then torch
        parity.transfer(pair.module, pair.model)
        keras_optimizer, optimizer = ours(), theirs(pair.module.parameters())
        keras_optimizer.build(pair.model.trainable_variables)
        pair.keras_steps(keras_optimizer, range(4))
        parity.transfer(pair.model, pair.module)
        assert parity.transfer_optimizer(keras_optimizer, optimizer, pair.model, pair.module) == 4
        pair.torch_steps(optimizer, range(4, 8))
        assert pair.apart(wanted) < 1e-13
        # Without the state it does not go on the same: the test can fail.
        pair.module.load_state_dict(pair.start)
        optimizer = theirs(pair.module.parameters())
        pair.torch_steps(optimizer, range(4))
        pair.torch_steps(theirs(pair.module.parameters()), range(4, 8))
        assert pair.apart(wanted) > 1e-4


def test_states_that_cannot_correspond_are_refused() -> None:
    pair = Continued()
    pair.module.float()
    optimizer = torch.optim.Adam(pair.module.parameters())
    for parameter in pair.module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for other, message in (
        (keras.optimizers.SGD(0.1, momentum=0.9), "same kinds of state"),
        (keras.optimizers.Adagrad(0.1), "state must be known"),
    ):
        with pytest.raises(parity.UsageError, match=message):
            parity.transfer_optimizer(optimizer, other, pair.module, pair.model)
    optimizer.state[pair.module.a.weight]["step"] += 1
    with pytest.raises(parity.UsageError, match="counts its steps once"):
        parity.transfer_optimizer(optimizer, keras.optimizers.Adam(), pair.module, pair.model)


# --- causes -----------------------------------------------------------------------------------------


def statistics(keep: tuple[float, float], unbiased: tuple[bool, bool], off: float = 0.0) -> Statistics:
    """One normalisation after one step, by a rule on either side."""
    rng = np.random.default_rng(0)
    mean, variance, batch_mean, batch_variance = rng.uniform(0.5, 2.0, (4, 5))
    after = [
        (
            k * mean + (1 - k) * batch_mean,
            k * variance + (1 - k) * batch_variance * (8 / 7 if wide else 1.0) + off,
        )
        for k, wide in zip(keep, unbiased, strict=True)
    ]
    pair = LayerPair("bn", ("bn",), (), "path")
    return Statistics(pair, [(batch_mean, batch_variance, 8)], (mean, variance), after[0], after[1], keep)


@pytest.mark.parametrize(
    ("keep", "unbiased", "causes"),
    [
        ((0.9, 0.9), (False, True), ["batchnorm-running-variance"]),
        ((0.9, 0.9), (True, False), ["batchnorm-running-variance"]),
        ((0.99, 0.9), (False, False), ["batchnorm-momentum"]),
        ((0.99, 0.9), (False, True), ["batchnorm-momentum", "batchnorm-running-variance"]),
        ((0.1, 1.0 - 0.9), (False, True), ["batchnorm-running-variance"]),  # 1 - 0.9 is not 0.1 in binary
    ],
)
def test_causes_of_statistics(keep: Any, unbiased: Any, causes: list[str]) -> None:
    found = explain_statistics(statistics(keep, unbiased))
    assert [finding.cause for finding in (*found.findings, *found.rules)] == causes
    assert all(finding.fix_verified for finding in (*found.findings, *found.rules))


def test_no_cause_is_claimed_where_no_rule_fits() -> None:
    found = explain_statistics(statistics((0.9, 0.8), (False, True), off=1e-6))
    assert [finding.cause for finding in found.findings] == [None]
    assert not found.rules


def test_a_zero_gradient_is_judged_by_what_rounding_does_to_it() -> None:
    """Noise on a gradient that is zero is no difference; the same noise on one that is not known to round is."""
    slot = Slot("conv.bias", "conv.bias", identity((2,)))
    slots = [(LayerPair("conv", ("conv",), (slot,), "path"), slot)]
    ours, theirs = {"conv.bias": np.array([1e-17, 2e-17])}, {"conv.bias": np.array([-1e-17, 1e-17])}
    (excused,) = gaps(slots, ours, theirs, Both({}, {"conv.bias": np.full(2, 2e-17)}))
    (real,) = gaps(slots, ours, theirs, Both({}, {}))
    (half,) = gaps(slots, ours, theirs, Both({}, {"conv.bias": np.array([2e-17, 0.0])}))
    assert not excused.beyond
    assert real.beyond
    assert half.beyond  # every element by its own


def test_one_huge_gradient_hides_no_other() -> None:
    """1e9 next to 1: a difference of 1e-6 was within 1e-11 of the tensor's scale, and within the floor of all."""
    huge = Slot("a.kernel", "a.weight", identity((2,)))
    plain = Slot("b.kernel", "b.weight", identity((1,)))
    slots = [
        (LayerPair("a", ("a",), (huge,), "path"), huge),
        (LayerPair("b", ("b",), (plain,), "path"), plain),
    ]
    ours = {"a.kernel": np.array([1e12, 1.0]), "b.kernel": np.array([1.0])}
    theirs = {"a.weight": np.array([1e12, 1.0 + 1e-9]), "b.weight": np.array([1.0 + 1e-9])}
    spreads = Both({}, {"a.weight": np.array([1e-4, 1e-16]), "b.weight": np.array([1e-16])})
    assert [gap.beyond for gap in gaps(slots, ours, theirs, spreads)] == [True, True]
    same = {"a.weight": np.array([1e12 * (1 + 1e-15), 1.0]), "b.weight": np.array([1.0])}
    assert [gap.beyond for gap in gaps(slots, ours, same, spreads)] == [False, False]


def test_copies_whose_gradients_cancel_are_one_tensor() -> None:
    """The sum is zero on both sides: that proves the tie, and there is no scale to divide by."""
    tie = Tie("keras", ("a.kernel", "b.kernel"), "a.weight", Slot("a.kernel", "a.weight", identity((2,))))
    gradient, nothing = np.array([1.0, 2.0]), np.zeros(2)
    copies: dict[str, Any] = {"a.kernel": gradient, "b.kernel": -gradient}
    assert shared_layers._proven(tie, Both(copies, {"a.weight": nothing})) == 0.0
    assert shared_layers._proven(tie, Both(copies, {"a.weight": gradient})) is None


def test_a_call_that_gets_less_is_no_place_of_a_difference() -> None:
    """The torch layer gets one tensor where the Keras layer gets two: what it gives says nothing of the layer."""
    x, y = np.ones((2, 3)), np.zeros((2, 3))

    def passes(*inputs: Any) -> Both[Evaluation]:
        keras_call, torch_call = WatchedCall("a", 0, [x, y], x), WatchedCall("b", 0, list(inputs), x + 1.0)
        return Both(*(Evaluation(0.0, [], {}, [], [call]) for call in (keras_call, torch_call)))

    bench: Any = SimpleNamespace(watched={"a": "b"})
    for inputs, place in (((x, y), ("a", "b")), ((x,), (None, None)), ((x, x), (None, None))):
        finding = train_mode.first_output(bench, passes(*inputs))
        assert (finding.keras, finding.torch) == place


@pytest.mark.parametrize("name", ["hard_sigmoid", "hard_swish", "gelu", "silu", "elu", "softplus", "selu"])
def test_gradients_of_activations_are_exact_in_float64(name: str) -> None:
    """torch's own gradient of the hard sigmoid holds a sixth in float32: 3e-8 off, which is no fault of a port."""
    modules = {"hard_sigmoid": nn.Hardsigmoid(), "hard_swish": nn.Hardswish(), "gelu": nn.GELU(), "silu": nn.SiLU(),
               "elu": nn.ELU(), "softplus": nn.Softplus(threshold=40), "selu": nn.SELU()}  # fmt: skip
    torch.manual_seed(
        1
    )  # from 20 on torch's softplus is its input, and Keras' 2e-9 more: no probe may come there
    model = keras.Sequential(
        [keras.Input((5,)), L.Dense(6, name="0"), L.Activation(name), L.Dense(2, name="2")]
    )
    module = nn.Sequential(nn.Linear(5, 6), modules[name], nn.Linear(6, 2))
    parity.transfer(module, model)
    values = 4.0 * np.random.default_rng(0).standard_normal((9, 5)).astype(np.float32)
    report = parity.compare(model, module, values, gradients=True)
    assert report.verdict == "EQUAL", str(report)


def test_gradients_alone_say_that_running_statistics_are_not_compared() -> None:
    model = keras.Sequential([keras.Input((6, 7, 3)), L.BatchNormalization(momentum=0.5, epsilon=1e-5)])
    module = nn.Sequential(nn.BatchNorm2d(3, momentum=0.1))
    parity.transfer(module, model)
    values = np.random.default_rng(0).standard_normal((4, 6, 7, 3)).astype(np.float32)
    said = "what a pass in training makes of running statistics was not compared"
    report = parity.compare(model, module, values, gradients=True)
    assert [note for note in report.notes if note.startswith(said)], str(report)
    report = parity.compare(model, module, values, gradients=True, train_steps=1)
    assert not [note for note in report.notes if note.startswith(said)], str(report)
    assert "batchnorm-momentum" in {finding.cause for finding in report.findings}


# --- the models come back, and requests ---------------------------------------------------------------


def everything(model: Any, module: Any) -> list[Any]:
    state = [keras.ops.convert_to_numpy(v.value).tobytes() for v in model.variables]
    state += [(v.trainable, v.dtype) for v in model.variables]
    state += [(name, value.numpy().tobytes(), value.dtype) for name, value in module.state_dict().items()]
    state += [(name, m.training) for name, m in module.named_modules()]
    state += [
        (name, p.requires_grad, None if p.grad is None else p.grad.numpy().tobytes())
        for name, p in module.named_parameters()
    ]
    return [*state, torch.get_rng_state().numpy().tobytes(), keras.config.floatx(), torch.get_default_dtype()]


@pytest.mark.parametrize("name", ["dense after Flatten", "layers used twice"])
def test_both_models_come_back_exactly_as_they_were(name: str) -> None:
    model, module = CASES[name].build()
    randomise(adapt(module), 3)
    parity.transfer(module, model, inputs=CASES[name].inputs())
    module.train()
    next(iter(module.parameters())).grad = torch.ones_like(next(iter(module.parameters())))
    before = everything(model, module)
    report = parity.compare(model, module, CASES[name].inputs(), gradients=True, train_steps=2)
    assert {finding.cause for finding in report.findings} == {
        "batchnorm-momentum",
        "batchnorm-running-variance",
    }
    assert everything(model, module) == before


def test_optimizers_that_are_given_come_back_too() -> None:
    model, module = CASES["two inputs"].build()
    parity.transfer(module, model)
    ours, theirs = keras.optimizers.Adam(0.01), torch.optim.Adam(module.parameters(), 0.01, eps=1e-7)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    theirs.step()
    parity.transfer(module, model)
    before = repr(theirs.state_dict())
    report = parity.compare(
        model, module, CASES["two inputs"].inputs(), train_steps=2, optimizer=(ours, theirs)
    )
    assert [finding.cause for finding in report.findings] == ["adam-epsilon"]
    assert repr(theirs.state_dict()) == before
    assert int(ours.iterations) == 0
    assert not ours.built


def test_a_model_that_fit_does_not_train_is_noted() -> None:
    """Keras passes training=True to a `call` that asks for it, and to no other."""
    for name, noted in (("layers used twice", True), ("dense after Flatten", False)):
        model, module = CASES[name].build()
        parity.transfer(module, model, inputs=CASES[name].inputs())
        report = parity.compare(model, module, CASES[name].inputs(), gradients=True)
        assert report.verdict == "EQUAL", str(report)
        assert any("fit()" in note for note in report.notes) == noted
    model, _ = CASES["layers used twice"].build()
    model.compile("sgd", "mse")
    (x,) = CASES["layers used twice"].inputs()
    before = keras.ops.convert_to_numpy(model.norm.moving_mean.value)
    model.fit(x, np.zeros((2, 9, 12, 3)), verbose=0)
    assert np.array_equal(keras.ops.convert_to_numpy(model.norm.moving_mean.value), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "lion"}, "rmsprop"),
        ({"optimizer": {"name": "sgd", "momentun": 0.9}}, "momentun"),
        ({"optimizer": {"name": "sgd", "clipnorm": 1.0, "clipvalue": 1.0}}, "one clipping"),
        ({"optimizer": ("sgd",)}, "pair"),
        ({"loss": (keras.losses.MeanSquaredError(), nn.MSELoss(reduction="none"))}, "one number"),
    ],
)
def test_requests_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    model, module = CASES["two inputs"].build()
    parity.transfer(module, model)
    with pytest.raises(parity.UsageError, match=message):
        parity.compare(model, module, CASES["two inputs"].inputs(), train_steps=1, **arguments)


def test_figures_are_reported_and_outputs_that_differ_are_not_trained() -> None:
    model, module = CASES["two inputs"].build()
    parity.transfer(module, model)
    values = CASES["two inputs"].inputs()
    report = parity.compare(model, module, values, gradients=True, train_steps=3)
    assert report.verdict == "EQUAL", str(report)
    losses = report.training["losses"]
    assert len(losses["keras"]) == len(set(losses["keras"])) == 3  # every step differs
    np.testing.assert_allclose(losses["keras"], losses["torch"], rtol=1e-11)
    assert 0.0 < report.training["gradients_training"] < 1e-11
    with torch.no_grad():
        module.a.weight[0, 0, 0, 0] += 1e-3
    report = parity.compare(model, module, values, gradients=True, train_steps=3)
    assert report.verdict == "DIVERGED"
    assert report.training == {}
    assert any("not compared" in note for note in report.notes)


def test_models_without_parameters_have_no_steps_to_compare() -> None:
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.MaxPooling2D(2)(image))
    report = parity.compare(model, torch.nn.MaxPool2d(2), gradients=True, train_steps=2)
    assert report.verdict == "EQUAL", str(report)
    assert any("nothing to train" in note for note in report.notes)
