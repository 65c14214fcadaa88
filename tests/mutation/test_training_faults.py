"""Faults that show in training alone, seeded in models of unlike structure: found, placed and named; clean controls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
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
from tests.mutation.faults import attribute
from tests.mutation.undone import undone
from tests.zoo import CASES

MODELS = ("functional with branches", "nested Sequentials", "dense after Flatten", "layers used twice")
NORMS = {
    "functional with branches": ("stem_bn", "stem.bn"),
    "nested Sequentials": ("stem.batch_normalization", "stem.1"),
    "dense after Flatten": ("norm", "norm"),
    "layers used twice": ("norm", "norm"),
}


@functools.cache
def clean(name: str) -> tuple[Any, Any, Any]:
    """One pair with equal random weights and momenta; every fault undoes itself, which `undone` verifies."""
    keras.utils.clear_session()  # names that Keras gives are numbered from the beginning
    model, module = CASES[name].build()
    for layer in model._flatten_layers():
        if isinstance(layer, L.BatchNormalization):
            layer.momentum = 0.9
    randomise(adapt(module), 3)
    values = CASES[name].inputs()
    parity.transfer(module, model, inputs=values)
    return model, module, values


def keras_layer(model: Any, path: str) -> Any:
    return adapt(model).objects[path]  # type: ignore[attr-defined]


# --- the faults -----------------------------------------------------------------------------------


def momentum(model: Any, module: Any, keras_path: str, torch_path: str) -> Any:
    return attribute(module.get_submodule(torch_path), "momentum", 0.3)


def frozen(model: Any, module: Any, keras_path: str, torch_path: str) -> Any:
    return attribute(keras_layer(model, keras_path), "trainable", False)


@contextmanager
def frozen_in_torch(model: Any, module: Any, keras_path: str, torch_path: str) -> Iterator[None]:
    """What people do: train(), then eval() on the normalisation."""
    before = {layer: layer.training for layer in module.modules()}
    module.train()
    module.get_submodule(torch_path).eval()
    try:
        yield
    finally:
        for layer, training in before.items():
            layer.training = training


def left_on(model: Any, module: Any, keras_path: str, torch_path: str) -> Any:
    norm = module.get_submodule(torch_path)

    def forward(x: Any) -> Any:
        return F.batch_norm(
            x, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, 0.1, norm.eps
        )

    return attribute(norm, "forward", forward)


@contextmanager
def left_on_in_keras(model: Any, module: Any, keras_path: str, torch_path: str) -> Iterator[None]:
    layer = keras_layer(model, keras_path)
    plain = layer.call
    vars(layer)["call"] = lambda x, training=None, **more: plain(x, training=True, **more)
    try:
        yield
    finally:
        del vars(layer)["call"]


def detached(model: Any, module: Any, keras_path: str, torch_path: str) -> Any:
    norm = module.get_submodule(torch_path)
    plain = type(norm).forward
    return attribute(norm, "forward", lambda x: plain(norm, x).detach())


def without_gradient(model: Any, module: Any, keras_path: str, torch_path: str) -> Any:
    norm = module.get_submodule(torch_path)
    plain = type(norm).forward

    def forward(x: Any) -> Any:
        with torch.no_grad():
            return plain(norm, x)

    return attribute(norm, "forward", forward)


@contextmanager
def stopped_in_keras(model: Any, module: Any, keras_path: str, torch_path: str) -> Iterator[None]:
    layer = keras_layer(model, keras_path)
    plain = layer.call
    vars(layer)["call"] = lambda *args, **more: ops.stop_gradient(plain(*args, **more))
    try:
        yield
    finally:
        del vars(layer)["call"]


def clipped_gradient(model: Any, module: Any, keras_path: str, torch_path: str) -> Any:
    """The right values and a gradient that no cut explains: there is no name for it."""

    class Clipped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient.clamp(-1e-4, 1e-4)

    norm = module.get_submodule(torch_path)
    plain = type(norm).forward
    return attribute(norm, "forward", lambda x: Clipped.apply(plain(norm, x)))


def half_gradient(model: Any, module: Any, keras_path: str, torch_path: str) -> Any:
    """The right values, and half the gradient."""
    norm = module.get_submodule(torch_path)
    plain = type(norm).forward

    def forward(x: Any) -> Any:
        y = plain(norm, x)
        return 0.5 * y + 0.5 * y.detach()

    return attribute(norm, "forward", forward)


@dataclass(frozen=True)
class Fault:
    """How to seed it, what to compare, and what must be found at the normalisation."""

    seed: Callable[..., Any]
    cause: str | None
    kind: str = "training"
    arguments: dict[str, Any] = field(default_factory=lambda: {"train_steps": 1, "match_rules": True})
    verified: bool = True


FAULTS = (
    Fault(momentum, "batchnorm-momentum"),
    Fault(frozen, "batchnorm-frozen"),
    Fault(frozen_in_torch, "batchnorm-frozen"),
    Fault(left_on, "train-mode-left-on"),
    Fault(left_on_in_keras, "train-mode-left-on"),
    Fault(detached, "gradient-stopped", "gradient", {"gradients": True}),
    Fault(without_gradient, "gradient-stopped", "gradient", {"gradients": True}),
    Fault(stopped_in_keras, "gradient-stopped", "gradient", {"gradients": True}),
    Fault(half_gradient, "gradient-stopped", "gradient", {"gradients": True}),
    Fault(clipped_gradient, None, "gradient", {"gradients": True}, False),
)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.seed.__name__)
def test_fault_at_a_layer_is_found_and_named(fault: Fault, name: str) -> None:
    model, module, values = clean(name)
    paths = NORMS[name]
    with undone(fault.seed(model, module, *paths), model, module):
        report = parity.compare(model, module, values, **fault.arguments)
    assert report.verdict == "DIVERGED", str(report)
    assert report.first is not None
    assert (report.first.keras, report.first.torch, report.first.cause) == (*paths, fault.cause), str(report)
    places = {(f.keras, f.torch) for f in report.findings}
    assert places == {paths}, str(report)
    if fault.seed is not left_on_in_keras:  # whose passes change what the forward comparison reads afterwards
        assert {f.cause for f in report.findings} == {fault.cause}, str(report)
    assert report.first.kind in {fault.kind, "layer"}, str(report)
    assert report.first.fix_verified == fault.verified, str(report)


@pytest.mark.parametrize("name", MODELS)
def test_clean_control(name: str) -> None:
    """With one rule nothing differs; strictly, the running variance alone does, and nothing else is hidden."""
    report = parity.compare(*clean(name), gradients=True, train_steps=2, match_rules=True)
    assert report.verdict == "EQUAL", str(report)
    assert report.training["gradients_training"] < 1e-11
    assert report.training["training"] < 1e-11
    strict = parity.compare(*clean(name), train_steps=1)
    places = {(f.keras, f.torch, f.cause, f.fix_verified) for f in strict.findings}
    assert places == {(*NORMS[name], "batchnorm-running-variance", True)}, str(strict)
    assert strict.verdict == "DIVERGED"


# --- the optimizer --------------------------------------------------------------------------------


def keras_sgd(**more: Any) -> Any:
    return keras.optimizers.SGD(0.01, momentum=np.float64(0.9), **more)


def torch_sgd(**more: Any) -> Any:
    return lambda parameters: torch.optim.SGD(parameters, 0.01, momentum=0.9, **more)


OPTIMIZERS: dict[str, tuple[Any, set[str | None]]] = {
    "learning rate changes": ({"name": "sgd", "lr": [0.01, 0.004]}, {"sgd-learning-rate-in-buffer"}),
    "Adam": ({"name": "adam", "lr": 0.01, "epsilon": 1e-4}, {"adam-epsilon"}),
    "Adam, eps of another size": (
        (keras.optimizers.Adam(0.01, epsilon=1e-3), lambda p: torch.optim.Adam(p, 0.01, eps=1e-8)),
        {"adam-epsilon"},
    ),
    "RMSprop": ({"name": "rmsprop", "lr": 0.001, "epsilon": 1e-4}, {"adam-epsilon"}),
    "coupled decay": ((keras_sgd(weight_decay=0.1), torch_sgd(weight_decay=0.1)), {"weight-decay-coupling"}),
    "decay on one side": ((keras_sgd(), torch_sgd(weight_decay=0.1)), {"weight-decay-coupling"}),
    "Adam for AdamW": (
        (
            keras.optimizers.AdamW(0.01, weight_decay=0.1, epsilon=1e-300),
            lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1, eps=1e-300),
        ),
        {"weight-decay-coupling"},
    ),
    "clipping": ({"name": "sgd", "lr": 0.01, "global_clipnorm": 0.1}, {"gradient-clipping"}),
    "another rate": (
        (keras.optimizers.SGD(0.01), lambda p: torch.optim.SGD(p, 0.02)),
        {None},
    ),
    "another momentum": (
        (keras_sgd(), lambda p: torch.optim.SGD(p, 0.01, momentum=0.5)),
        {None},
    ),
    "two at once": (
        (
            keras.optimizers.Adam(0.01, epsilon=1e-3, weight_decay=0.1),
            lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.2),
        ),
        {"adam-epsilon", "weight-decay-coupling"},
    ),
}
PLAIN = ("lists and dictionaries", "explicit padding", "embedding")


NAMED = ("learning rate changes", "Adam", "coupled decay", "clipping")  # each cause in three models
PAIRS = [(case, name) for case in OPTIMIZERS for name in (PLAIN if case in NAMED else PLAIN[:1])]


@pytest.mark.parametrize(("case", "name"), PAIRS)
def test_optimizers_that_differ(case: str, name: str) -> None:
    optimizer, causes = OPTIMIZERS[case]
    report = parity.compare(*clean(name), train_steps=3, optimizer=optimizer)
    assert report.verdict == "DIVERGED", str(report)
    assert {finding.cause for finding in report.findings} == causes, str(report)
    assert all(finding.fix_verified and finding.kind == "training" for finding in report.findings), str(
        report
    )


SAME: dict[str, Any] = {
    "SGD": "sgd",
    "Nesterov": "sgd-nesterov",
    "clipped values": {"name": "sgd", "clipvalue": 0.001},
    "AdamW": {"name": "adamw", "epsilon": 1e-300},
    "RMSprop": {"name": "rmsprop", "epsilon": 1e-300},
    "own pair": (keras_sgd(nesterov=True), torch_sgd(nesterov=True)),
}


@pytest.mark.parametrize("case", SAME)
def test_optimizers_that_do_not_differ(case: str) -> None:
    report = parity.compare(*clean(PLAIN[0]), train_steps=3, optimizer=SAME[case])
    assert report.verdict == "EQUAL", str(report)


@pytest.mark.parametrize("case", ["learning rate changes", "Adam", "RMSprop", "coupled decay", "clipping"])
def test_the_frameworks_own_rules_are_notes_where_they_are_matched(case: str) -> None:
    optimizer, (cause,) = OPTIMIZERS[case]
    report = parity.compare(*clean(PLAIN[1]), train_steps=3, optimizer=optimizer, match_rules=True)
    assert report.verdict == "EQUAL", str(report)
    assert any(str(cause) in note for note in report.notes), str(report)


def test_a_regulariser_is_twice_a_weight_decay() -> None:
    model, module, values = clean(PLAIN[0])
    layers = [keras_layer(model, path) for path in ("blocks.0", "blocks.1")]
    stack = ExitStack()
    with undone(stack, model, module):
        for layer in layers:
            layer.kernel.regularizer = keras.regularizers.L2(0.05)
            stack.callback(setattr, layer.kernel, "regularizer", None)
        kernels = {"blocks.0.weight", "blocks.1.weight"}

        def groups(share: float) -> Any:
            def make(parameters: Any) -> Any:
                named = dict(module.named_parameters())
                decayed = [named[path] for path in sorted(kernels)]
                others = [value for path, value in named.items() if path not in kernels]
                return torch.optim.SGD(
                    [{"params": decayed, "weight_decay": share}, {"params": others}], 0.01, momentum=0.9
                )

            return make

        right = parity.compare(model, module, values, train_steps=2, optimizer=(keras_sgd(), groups(0.1)))
        wrong = parity.compare(model, module, values, train_steps=2, optimizer=(keras_sgd(), groups(0.05)))
    assert right.verdict == "EQUAL", str(right)
    (finding,) = wrong.findings
    assert (finding.cause, finding.fix_verified) == ("weight-decay-coupling", True)
    assert "2*c*w" in finding.evidence


# --- dropout --------------------------------------------------------------------------------------


def dropout_pair(name: str, ours: float, theirs: float) -> tuple[Any, Any, Any]:
    """Three models with a random layer, and its rate on either side."""
    shape = {"dense": (4, 6), "image": (2, 8, 9, 3), "functional": (4, 6)}[name]
    image = keras.Input(shape[1:])
    if name == "image":
        x = L.SpatialDropout2D(ours, name="drop")(L.Conv2D(4, 3, name="first")(image))
        model = keras.Model(image, L.Conv2D(2, 1, name="second")(x))
        module: Any = nn.Sequential()
        module.add_module("first", nn.Conv2d(3, 4, 3))
        module.add_module("drop", nn.Dropout2d(theirs))
        module.add_module("second", nn.Conv2d(4, 2, 1))
    else:
        x = L.Dropout(ours, name="drop")(L.Dense(5, name="first")(image))
        model = keras.Model(image, L.Dense(2, name="second")(x))
        module = nn.Sequential()
        module.add_module("first", nn.Linear(6, 5))
        module.add_module("drop", Functional(theirs) if name == "functional" else nn.Dropout(theirs))
        module.add_module("second", nn.Linear(5, 2))
    parity.transfer(module, model)
    return model, module, np.random.default_rng(0).standard_normal(shape).astype(np.float32)


class Functional(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.rate, self.training)


@pytest.mark.parametrize("name", ["dense", "image", "functional"])
def test_dropout(name: str) -> None:
    same = parity.compare(*dropout_pair(name, 0.3, 0.3), gradients=True, train_steps=2)
    assert same.verdict == "EQUAL", str(same)
    assert any("switched off" in note for note in same.notes)
    for rate in (0.5, 0.0):
        report = parity.compare(*dropout_pair(name, 0.3, rate), gradients=True, train_steps=2)
        (finding,) = report.findings
        assert (finding.keras, finding.cause, finding.fix_verified) == ("drop", "dropout-rate", True), str(
            report
        )
        assert report.verdict == "DIVERGED"
    assert finding.torch is None  # the second one has none


KINDS = {  # Keras layer, torch module, and words that the finding must use for either
    "spatial": (lambda rate: L.SpatialDropout2D(rate, name="drop"), nn.Dropout, "whole channels", "single elements"),
    "plain": (lambda rate: L.Dropout(rate, name="drop"), nn.Dropout2d, "single elements", "whole channels"),
    "alpha": (lambda rate: L.AlphaDropout(rate, name="drop"), nn.Dropout, "alpha dropout", "single elements"),
    "gaussian": (lambda rate: L.GaussianDropout(rate, name="drop"), nn.Dropout, "Gaussian", "single elements"),
    "example": (lambda rate: L.Dropout(rate, noise_shape=(None, 1, 1, 1), name="drop"), nn.Dropout2d,
                "whole examples", "whole channels"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_dropout_kind(name: str) -> None:
    make, module_class, keras_words, torch_words = KINDS[name]
    image = keras.Input((8, 9, 3))
    x = make(0.3)(L.Conv2D(4, 3, name="first")(image))
    model = keras.Model(image, L.Conv2D(2, 1, name="second")(x))
    module: Any = nn.Sequential()
    module.add_module("first", nn.Conv2d(3, 4, 3))
    module.add_module("drop", module_class(0.3))
    module.add_module("second", nn.Conv2d(4, 2, 1))
    parity.transfer(module, model)
    report = parity.compare(
        model, module, np.random.default_rng(0).standard_normal((2, 8, 9, 3)), gradients=True
    )
    (finding,) = report.findings
    place = finding.keras, finding.torch, finding.cause, finding.fix_verified
    assert place == ("drop", "drop", "dropout-kind", True), str(report)
    before, _, after = finding.evidence.partition(" in Keras, ")
    assert keras_words in before
    assert torch_words in after
    assert "both sides" not in finding.fix, "one rate on both sides is no fix where the kinds differ"
    assert report.verdict == "DIVERGED"


# --- a shared layer that became two ---------------------------------------------------------------


class SharedKeras(keras.Model):
    def __init__(self, make: Callable[[], Any], out: Callable[[], Any]) -> None:
        super().__init__()
        self.first, self.out = make(), out()

    def call(self, x: Any) -> Any:
        return self.out(ops.tanh(self.first(ops.tanh(self.first(x)))))


class Doubled(nn.Module):
    def __init__(self, make: Callable[[], Any], out: Callable[[], Any], shared: bool) -> None:
        super().__init__()
        self.first, self.out = make(), out()
        self.again = self.first if shared else make()
        self.again.load_state_dict(self.first.state_dict())

    def forward(self, x: Any) -> Any:
        return self.out(torch.tanh(self.again(torch.tanh(self.first(x)))))


SHARED: dict[str, tuple[Any, Any, Any, Any, tuple[int, ...]]] = {
    "convolution": (lambda: L.Conv2D(3, 3, padding="same"), lambda: L.Conv2D(2, 1), lambda: nn.Conv2d(3, 3, 3, padding=1),
                    lambda: nn.Conv2d(3, 2, 1), (2, 6, 7, 3)),
    "dense": (lambda: L.Dense(5), lambda: L.Dense(2), lambda: nn.Linear(5, 5), lambda: nn.Linear(5, 2), (4, 5)),
    "signal": (lambda: L.Conv1D(3, 3, padding="same"), lambda: L.Conv1D(2, 1), lambda: nn.Conv1d(3, 3, 3, padding=1),
               lambda: nn.Conv1d(3, 2, 1), (2, 9, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_layer_that_became_two(name: str) -> None:
    ours, out, theirs, other_out, shape = SHARED[name]
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    model = SharedKeras(ours, out)
    model(values)
    control = Doubled(theirs, other_out, shared=True)
    parity.transfer(control, model, inputs=values)
    report = parity.compare(model, control, values, gradients=True, train_steps=2)
    assert report.verdict == "EQUAL", str(report)
    module = Doubled(theirs, other_out, shared=False)
    module.load_state_dict({**control.state_dict()})
    report = parity.compare(model, module, values, gradients=True, train_steps=2)
    found = [f for f in report.findings if f.kind in {"gradient", "training"}]
    assert [(f.keras, f.cause, f.fix_verified) for f in found] == [
        ("first", "shared-layer-duplicated", True)
    ], str(report)
    assert report.verdict == "DIVERGED"


class DoubledKeras(keras.Model):
    def __init__(self, make: Callable[[], Any], out: Callable[[], Any]) -> None:
        super().__init__()
        self.first, self.again, self.out = make(), make(), out()

    def call(self, x: Any) -> Any:
        return self.out(ops.tanh(self.again(ops.tanh(self.first(x)))))


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_module_that_became_two_in_keras(name: str) -> None:
    ours, out, theirs, other_out, shape = SHARED[name]
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    model, module = DoubledKeras(ours, out), Doubled(theirs, other_out, shared=True)
    model(values)
    parity.transfer(module, model, strict=False)
    model.again.set_weights(model.first.get_weights())
    report = parity.compare(model, module, values, gradients=True, train_steps=2)
    found = [f for f in report.findings if f.kind in {"gradient", "training"}]
    assert [(f.torch, f.cause, f.fix_verified) for f in found] == [
        ("first", "shared-layer-duplicated", True)
    ], str(report)
    assert report.verdict == "DIVERGED"


# --- the loss -------------------------------------------------------------------------------------


def classifier(name: str) -> tuple[Any, Any, Any]:
    """Three models whose outputs are probabilities."""
    shape = {"dense": (4, 6), "image": (2, 8, 9, 3), "signal": (2, 9, 3)}[name]
    image = keras.Input(shape[1:])
    layer = {
        "dense": L.Dense(5, name="first"),
        "image": L.Conv2D(4, 3, name="first"),
        "signal": L.Conv1D(4, 3, name="first"),
    }
    model = keras.Model(image, L.Softmax(name="soft")(layer[name](image)))
    module = nn.Sequential()
    torch_layer = {"dense": nn.Linear(6, 5), "image": nn.Conv2d(3, 4, 3), "signal": nn.Conv1d(3, 4, 3)}
    module.add_module("first", torch_layer[name])
    module.add_module("soft", nn.Softmax(1))
    parity.transfer(module, model)
    return model, module, np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def nll(outputs: Any, targets: Any) -> Any:
    return -(targets * torch.log(outputs)).sum(1).mean()


CLASSIFIERS = ("dense", "image", "signal")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_double_softmax(name: str) -> None:
    pair = classifier(name)
    entropy = keras.losses.CategoricalCrossentropy
    right = parity.compare(*pair, gradients=True, train_steps=1, loss=(entropy(), nll))
    assert right.verdict == "EQUAL", str(right)

    def of_logits(
        targets: Any, outputs: Any
    ) -> Any:  # Keras itself finds a softmax right in front of its loss
        return entropy(from_logits=True)(targets, outputs * 1.0)

    for loss in ((entropy(), nn.CrossEntropyLoss()), (of_logits, nll)):
        report = parity.compare(*pair, gradients=True, train_steps=1, loss=loss)
        (finding,) = report.findings
        assert (finding.cause, finding.fix_verified) == ("double-softmax", True), str(report)


@pytest.mark.parametrize("name", ["functional with branches", "nested Sequentials", "dense after Flatten"])
def test_loss_reduction(name: str) -> None:
    mean = keras.losses.MeanSquaredError()
    right = parity.compare(*clean(name), gradients=True, loss=(mean, nn.MSELoss()))
    assert right.verdict == "EQUAL", str(right)
    for theirs in (nn.MSELoss(reduction="sum"), lambda o, t: nn.functional.mse_loss(o, t) / o.shape[0]):
        report = parity.compare(*clean(name), gradients=True, loss=(mean, theirs))
        (finding,) = report.findings
        assert (finding.cause, finding.kind, finding.fix_verified) == ("loss-reduction", "training", True), (
            str(report)
        )


def per_row(name: str) -> tuple[Any, Any, Any]:
    """A network with one number for each example, image or step."""
    shape = {"dense": (8, 6), "image": (4, 8, 9, 3), "signal": (5, 12, 3)}[name]
    image = keras.Input(shape[1:])
    hidden = {"dense": L.Dense(7), "image": L.Conv2D(4, 3), "signal": L.Conv1D(4, 3)}[name]
    x = L.Activation("tanh")(hidden(image))
    if name != "dense":
        x = L.GlobalAveragePooling2D()(x) if name == "image" else L.GlobalAveragePooling1D()(x)
    model = keras.Model(image, L.Dense(1)(x))
    first = {"dense": nn.Linear(6, 7), "image": nn.Conv2d(3, 4, 3), "signal": nn.Conv1d(3, 4, 3)}[name]
    pool = {"dense": [], "image": [nn.AdaptiveAvgPool2d(1), nn.Flatten()],
            "signal": [nn.AdaptiveAvgPool1d(1), nn.Flatten()]}[name]  # fmt: skip
    module = nn.Sequential(first, nn.Tanh(), *pool, nn.Linear(7 if name == "dense" else 4, 1))
    parity.transfer(module, model)
    return model, module, np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", ["dense", "image", "signal"])
def test_a_loss_that_broadcasts(name: str) -> None:
    model, module, values = per_row(name)
    targets = np.random.default_rng(1).standard_normal((len(values), 1))
    plain = (lambda t, o: ops.mean((o - t) ** 2)), nn.MSELoss()
    right = parity.compare(model, module, values, gradients=True, loss=(*plain, targets))
    assert right.verdict == "EQUAL", str(right)
    for loss, side in (
        ((plain[0], lambda o, t: ((o - t.reshape(-1)) ** 2).mean()), "torch"),
        ((plain[0], lambda o, t: (o.squeeze(1) - t).abs().square().mean()), "torch"),
        (((lambda t, o: ops.mean((o - ops.reshape(t, (-1,))) ** 2)), plain[1]), "Keras"),
    ):
        report = parity.compare(model, module, values, gradients=True, loss=(*loss, targets))
        (finding,) = report.findings
        assert (finding.cause, finding.kind, finding.fix_verified) == ("loss-broadcast", "training", True), (
            str(report)
        )
        assert f"{side}'s loss" in finding.evidence
        if side == "torch":
            assert "test_training_faults.py:" in str(finding.torch_at), str(report)


def dice(axes: tuple[int, ...], numpy_like: Any) -> Any:
    """One minus the ratio of two sums over some axes, and the mean of what is left."""

    def loss(first: Any, second: Any) -> Any:
        ratio = (2.0 * numpy_like.sum(first * second, axes) + 1e-3) / (
            numpy_like.sum(first + second, axes) + 1e-3
        )
        return 1.0 - numpy_like.mean(ratio)

    return loss


def masks(name: str) -> tuple[Any, Any, Any]:
    """A network that gives a share for each place and class, and the axes of the places on either side."""
    shape = {"image": (3, 8, 9, 3), "signal": (4, 12, 3), "volume": (2, 4, 5, 6, 3)}[name]
    rank = len(shape) - 2
    image = keras.Input(shape[1:])
    model = keras.Model(image, getattr(L, f"Conv{rank}D")(2, 3, padding="same", activation="sigmoid")(image))
    module = nn.Sequential(getattr(nn, f"Conv{rank}d")(3, 2, 3, padding=1), nn.Sigmoid())
    parity.transfer(module, model)
    return model, module, np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", ["image", "signal", "volume"])
def test_a_loss_over_other_axes(name: str) -> None:
    model, module, values = masks(name)
    rank = values.ndim - 2
    places = tuple(range(1, rank + 1)), tuple(range(2, rank + 2))
    right = parity.compare(
        model, module, values, gradients=True, loss=(dice(places[0], ops), dice(places[1], torch))
    )
    assert right.verdict == "EQUAL", str(right)
    for keras_axes, torch_axes, side in (
        (places[0], (0, *places[1]), "torch sums"),
        ((0, *places[0]), places[1], "Keras sums"),
        (places[0], (1, *places[1]), "torch sums"),
        ((*places[0], rank + 1), places[1], "Keras sums"),
        (places[0], (0, 1, *places[1]), "torch sums"),
    ):
        loss = dice(keras_axes, ops), dice(torch_axes, torch)
        report = parity.compare(model, module, values, gradients=True, loss=loss)
        (finding,) = report.findings
        assert (finding.cause, finding.kind, finding.fix_verified) == ("loss-axes", "training", True), str(
            report
        )
        assert side in finding.evidence, str(report)


def test_a_loss_of_another_formula_has_no_name() -> None:
    """Neither a shape nor a factor makes the absolute error the squared one."""
    model, module, values = masks("image")
    loss = keras.losses.MeanSquaredError(), nn.L1Loss()
    (finding,) = parity.compare(model, module, values, gradients=True, loss=loss).findings
    assert (finding.cause, finding.fix, finding.fix_verified) == (None, None, False)


def test_ignored_pixels_in_the_denominator() -> None:
    """Sparse targets with a class that is ignored: torch divides by what is left, the port by everything."""
    model, module, values = classifier("image")
    targets = np.random.default_rng(1).integers(0, 4, (2, 6, 7))

    def ours(wanted: Any, outputs: Any) -> Any:
        keep = ops.cast(wanted != 3, outputs.dtype)
        picked = ops.sum(ops.one_hot(wanted, 4, dtype=outputs.dtype) * ops.log(outputs), -1)
        return -ops.sum(picked * keep) / np.float64(2 * 6 * 7)

    def theirs(outputs: Any, wanted: Any) -> Any:
        return F.nll_loss(torch.log(outputs), wanted, ignore_index=3)

    report = parity.compare(model, module, values, gradients=True, loss=(ours, theirs, targets))
    (finding,) = report.findings
    assert (finding.cause, finding.fix_verified) == ("loss-reduction", True), str(report)


def test_a_parameter_that_one_side_alone_trains() -> None:
    model, module, values = clean("lists and dictionaries")
    with undone(attribute(module.heads["edge"].weight, "requires_grad", False), model, module):
        report = parity.compare(model, module, values, gradients=True, train_steps=2)
    (finding,) = report.findings
    assert (finding.keras, finding.kind) == ("heads.edge", "training")
    assert "Keras alone" in finding.evidence
