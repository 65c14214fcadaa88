"""compare: equal pairs are EQUAL, everything else is not, and neither model is changed by being looked at."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from tests.zoo import CASES, Case


def pair_of(case: Case, seed: int = 0) -> tuple[Any, Any, Any]:
    """Both models with the same random weights, and an input."""
    model, module = case.build()
    randomise(adapt(module), seed)
    parity.transfer(module, model, case.mapping or None)
    values = case.inputs()
    return model, module, values if len(values) > 1 else values[0]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_honest_pairs_are_equal(name: str, dtype: str) -> None:
    case = CASES[name]
    model, module, values = pair_of(case)
    report = parity.compare(model, module, values, dtype=dtype, mapping=case.mapping or None)
    assert report.verdict == "EQUAL", str(report)
    assert report.elements > 0
    assert report.structure <= 1e-11
    assert bool(report) is True
    assert report.first is None


@pytest.mark.parametrize("name", [name for name in CASES if name != "weights of its own"])
def test_random_inputs_come_from_the_model_itself(name: str) -> None:
    case = CASES[name]
    model, module, _ = pair_of(case, seed=1)
    report = parity.compare(model, module, mapping=case.mapping or None)
    assert report.verdict == "EQUAL", str(report)
    assert report.elements > 0


# --- small pairs, written for one question each ----------------------------------------------------


def functional(*steps: Any, shape: tuple[Any, ...] = (None, None, 3)) -> Any:
    x = image = keras.Input(shape)
    for step in steps:
        x = step(x)
    return keras.Model(image, x)


class Module(nn.Module):
    """Modules by name and a forward function over them."""

    def __init__(self, forward: Any, **modules: Any) -> None:
        super().__init__()
        self._function = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *inputs: Any) -> Any:
        return self._function(self, *inputs)


class Layer(keras.Model):
    def __init__(self, call: Any, **layers: Any) -> None:
        super().__init__()
        self._function = call
        for name, layer in layers.items():
            setattr(self, name, layer)

    def call(self, inputs: Any) -> Any:
        return self._function(self, inputs)


def conv_pair(change: Any = None, after: Any = None) -> tuple[Any, Any]:
    """One convolution on each side with the same weights; `change` edits either before, `after` wraps outputs."""
    model = functional(L.Conv2D(4, 3, name="conv"))
    module = Module(lambda self, x: self.conv(x), conv=nn.Conv2d(3, 4, 3))
    randomise(adapt(module))
    parity.transfer(module, model)
    if change:
        change(model, module)
    return model, module


X = np.random.default_rng(3).standard_normal((2, 9, 12, 3)).astype(np.float32)

EQUAL_PAIRS: dict[str, tuple[Any, Any]] = {
    "leaky relu": (
        lambda: functional(L.Conv2D(4, 3, name="c"), L.LeakyReLU(negative_slope=0.01)),
        lambda: Module(lambda s, x: F.leaky_relu(s.c(x)), c=nn.Conv2d(3, 4, 3)),
    ),
    "gelu, exact": (
        lambda: functional(L.Conv2D(4, 3, name="c"), lambda x: ops.gelu(x, approximate=False)),
        lambda: Module(lambda s, x: F.gelu(s.c(x)), c=nn.Conv2d(3, 4, 3)),
    ),
    "gelu, tanh": (
        lambda: functional(L.Conv2D(4, 3, name="c"), lambda x: ops.gelu(x, approximate=True)),
        lambda: Module(lambda s, x: F.gelu(s.c(x), approximate="tanh"), c=nn.Conv2d(3, 4, 3)),
    ),
    "rescaling": (
        lambda: functional(L.Rescaling(1 / 255.0, offset=-0.1), L.Conv2D(4, 3, name="c")),
        lambda: Module(lambda s, x: s.c(x / 255.0 - 0.1), c=nn.Conv2d(3, 4, 3)),
    ),
    "bilinear upsampling": (
        lambda: functional(L.Conv2D(4, 3, name="c"), L.UpSampling2D((2, 3), interpolation="bilinear")),
        lambda: Module(
            lambda s, x: F.interpolate(s.c(x), scale_factor=(2, 3), mode="bilinear"), c=nn.Conv2d(3, 4, 3)
        ),
    ),
    "bilinear resize to a size": (
        lambda: functional(L.Conv2D(4, 3, name="c"), L.Resizing(21, 23)),
        lambda: Module(
            lambda s, x: F.interpolate(s.c(x), size=(21, 23), mode="bilinear", align_corners=False),
            c=nn.Conv2d(3, 4, 3),
        ),
    ),
    "softmax over channels": (
        lambda: functional(L.Conv2D(4, 3, name="c"), L.Softmax()),
        lambda: Module(lambda s, x: F.softmax(s.c(x), 1), c=nn.Conv2d(3, 4, 3)),
    ),
    "torch gives channels last": (
        lambda: functional(L.Conv2D(4, 3, name="c")),
        lambda: Module(lambda s, x: s.c(x).permute(0, 2, 3, 1), c=nn.Conv2d(3, 4, 3)),
    ),
    "tuple against list": (
        lambda: Layer(lambda s, x: [s.c(x), s.d(x)], c=L.Conv2D(4, 3), d=L.Conv2D(2, 1)),
        lambda: Module(lambda s, x: (s.c(x), s.d(x)), c=nn.Conv2d(3, 4, 3), d=nn.Conv2d(3, 2, 1)),
    ),
    "None among the outputs": (
        lambda: functional(L.Conv2D(4, 3, name="c")),
        lambda: Module(lambda s, x: (s.c(x), None), c=nn.Conv2d(3, 4, 3)),
    ),
    "python constants and plain tensors": (
        lambda: _with_constant(),
        lambda: _torch_with_constant(),
    ),
    "dense as a 1x1 convolution": (
        lambda: functional(L.Dense(5, name="c")),
        lambda: Module(lambda s, x: s.c(x), c=nn.Conv2d(3, 5, 1)),
    ),
    "rank-3 outputs": (
        lambda: functional(L.Conv2D(4, 3, name="c"), lambda x: ops.mean(x, axis=2)),
        lambda: Module(lambda s, x: s.c(x).mean(3), c=nn.Conv2d(3, 4, 3)),
    ),
    "dropout left inactive": (
        lambda: functional(L.Conv2D(4, 3, name="c"), L.Dropout(0.5)),
        lambda: Module(lambda s, x: F.dropout(s.c(x), 0.5, s.training), c=nn.Conv2d(3, 4, 3)),
    ),
    "mixed precision policy": (
        lambda: functional(L.Conv2D(4, 3, name="c", dtype="mixed_float16"), L.Activation("relu", dtype="float32")),
        lambda: Module(lambda s, x: F.relu(s.c(x)), c=nn.Conv2d(3, 4, 3)),
    ),
    "float64 models": (
        lambda: functional(L.Conv2D(4, 3, name="c", dtype="float64")),
        lambda: Module(lambda s, x: s.c(x), c=nn.Conv2d(3, 4, 3, dtype=torch.float64)),
    ),
}  # fmt: skip


def _with_constant() -> Any:
    def call(self: Any, x: Any) -> Any:
        return self.c(x * self.gain - 0.3) / 0.7

    model = Layer(call, c=L.Conv2D(4, 3))
    model.gain = ops.convert_to_tensor(np.float32([0.5, 1.5, 2.5]))
    return model


def _torch_with_constant() -> Any:
    module = Module(lambda s, x: s.c(x * s.gain - 0.3) / 0.7, c=nn.Conv2d(3, 4, 3))
    module.gain = torch.tensor([0.5, 1.5, 2.5]).reshape(3, 1, 1)
    return module


@pytest.mark.parametrize("name", EQUAL_PAIRS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pairs_that_mean_the_same(name: str, dtype: str) -> None:
    model, module = (build() for build in EQUAL_PAIRS[name])
    if not model.built:
        model(X)
    randomise(adapt(module), 5)
    parity.transfer(module, model, inputs=X)
    report = parity.compare(model, module, X, dtype=dtype)
    assert report.verdict == "EQUAL", str(report)


@pytest.mark.parametrize(
    "given", [X.astype(np.float64), X * 1.0, np.ascontiguousarray(X)[::-1], list(X[None])]
)
def test_inputs_of_any_float_kind(given: Any) -> None:
    assert parity.compare(*conv_pair(), given).verdict == "EQUAL"


def test_uint8_images_become_floats_where_the_model_declares_floats() -> None:
    images = np.random.default_rng(0).integers(0, 256, X.shape).astype(np.uint8)
    report = parity.compare(*conv_pair(), images)
    assert report.verdict == "EQUAL"
    assert [note for note in report.notes if "what torch does with uint8 was not compared" in note]
    floats = parity.compare(*conv_pair(), images.astype(np.float32))
    assert not [note for note in floats.notes if "was not compared" in note]


# --- not equal, each for its reason ----------------------------------------------------------------


def _spoil(side: str, value: float) -> Any:
    def change(model: Any, module: Any) -> None:
        if side in {"keras", "both"}:
            bias = model.get_layer("conv").bias
            bias.assign(np.full(4, value, np.float32))
        if side in {"torch", "both"}:
            module.conv.bias.data.fill_(value)

    return change


def _raise(*_: Any) -> Any:
    raise RuntimeError("made to fail")


def _torch_function(function: Any) -> Any:
    def change(_: Any, module: Any) -> None:
        module._function = function

    return change


NOT_EQUAL: dict[str, tuple[Any, str, str]] = {
    # name: (change of a pair, verdict, kind of a finding)
    "NaN on the Keras side": (_spoil("keras", np.nan), "DIVERGED", "non-finite"),
    "NaN on the torch side": (_spoil("torch", np.nan), "DIVERGED", "non-finite"),
    "NaN on both": (_spoil("both", np.nan), "INCONCLUSIVE", "error"),
    "infinite on both": (_spoil("both", np.inf), "INCONCLUSIVE", "error"),
    "one bias": (lambda k, t: t.conv.bias.data[1].add_(1e-6), "DIVERGED", "layer"),
    "one size broadcast": (
        _torch_function(lambda s, x: s.conv(x)[:, :1].detach()), "DIVERGED", "shape"),
    "batch lost": (_torch_function(lambda s, x: s.conv(x)[:1]), "DIVERGED", "shape"),
    "one output more": (_torch_function(lambda s, x: (s.conv(x), s.conv(x) * 2)), "DIVERGED", "shape"),
    "no outputs": (_torch_function(lambda s, x: None), "DIVERGED", "shape"),
    "torch raises": (_torch_function(_raise), "INCONCLUSIVE", "error"),
    "dropout left on": (_torch_function(lambda s, x: F.dropout(s.conv(x))), "DIVERGED", "not-repeatable"),
    "random": (_torch_function(lambda s, x: s.conv(x) + torch.randn(())), "INCONCLUSIVE", "not-repeatable"),
    "height and width swapped": (
        _torch_function(lambda s, x: s.conv(x.transpose(2, 3)).transpose(2, 3)), "DIVERGED", "wiring"),
    "a step more": (_torch_function(lambda s, x: torch.relu(s.conv(x))), "DIVERGED", "output"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_EQUAL)
def test_verdict_fails_closed(name: str) -> None:
    change, verdict, kind = NOT_EQUAL[name]
    assert parity.compare(*conv_pair(), X).verdict == "EQUAL"  # the control
    report = parity.compare(*conv_pair(change), X, dtype="float32")
    assert report.verdict == verdict, str(report)
    assert kind in {finding.kind for finding in report.findings}, str(report)
    assert not report
    assert report.first is report.findings[0]
    with pytest.raises(parity.ParityError) as error:
        parity.assert_parity(*conv_pair(change), inputs=X)
    for finding in parity.compare(*conv_pair(change), X).findings:
        assert finding.kind in str(error.value)


def test_a_side_that_raises_in_keras() -> None:
    model, module = conv_pair()
    wrapped = Layer(_raise, conv=model.get_layer("conv"))
    wrapped.built = True
    report = parity.compare(wrapped, module, X)
    assert report.verdict == "INCONCLUSIVE"
    assert "made to fail" in str(report)


@pytest.mark.parametrize("dead", ["zero", "bias after a dead ReLU"])
def test_constant_outputs_prove_nothing(dead: str) -> None:
    head = [] if dead == "zero" else [L.Conv2D(2, 1, name="head")]
    model = functional(L.Conv2D(4, 3, activation="relu", name="conv"), *head)
    module = Module(
        lambda s, x: s.head(F.relu(s.conv(x))), conv=nn.Conv2d(3, 4, 3),
        head=nn.Conv2d(4, 2, 1) if head else nn.Identity(),
    )  # fmt: skip
    module.conv.bias.data.fill_(-1e6)
    parity.transfer(module, model)
    report = parity.compare(model, module, X)
    assert report.verdict == "INCONCLUSIVE"
    assert report.first is not None
    assert report.first.kind == "constant-output"


def test_a_constant_input_is_no_constant_output() -> None:
    model = functional(L.Dense(3, name="out"), shape=(5,))
    module = Module(lambda s, x: s.out(x), out=nn.Linear(5, 3))
    parity.transfer(module, model)
    assert parity.compare(model, module, np.ones((4, 5), np.float32)).verdict == "EQUAL"


@pytest.mark.parametrize("shape", [(0, 9, 12, 3)])
def test_nothing_compared_is_inconclusive(shape: tuple[int, ...]) -> None:
    report = parity.compare(*conv_pair(), np.zeros(shape, np.float32))
    assert report.verdict == "INCONCLUSIVE", str(report)


def test_unmatched_layers_that_run_are_never_equal() -> None:
    model, module = conv_pair()
    module.add_module("spare", nn.Conv2d(3, 4, 3))
    module.register_forward_hook(lambda self, inputs, output: output + 0 * self.spare(inputs[0]))
    report = parity.compare(model, module, X)
    assert report.verdict == "INCONCLUSIVE"
    assert "spare" in {finding.torch for finding in report.findings}
    assert report.max_rel_diff <= 1e-11


def test_unmatched_layers_that_never_run_are_said() -> None:
    model, module = conv_pair()
    module.add_module("spare", nn.Conv2d(3, 4, 3))
    report = parity.compare(model, module, X)
    assert report.verdict == "EQUAL"
    assert any("spare" in text and "never runs" in text for text in report.unproven)


def test_names_of_outputs_decide_which_is_which() -> None:
    model = Layer(lambda s, x: {"a": s.c(x), "b": s.d(x)}, c=L.Conv2D(4, 3), d=L.Conv2D(4, 3))
    model(X)
    both = {"c": nn.Conv2d(3, 4, 3), "d": nn.Conv2d(3, 4, 3)}
    module = Module(lambda s, x: {"b": s.d(x), "a": s.c(x)}, **both)
    parity.transfer(module, model)
    assert parity.compare(model, module, X).verdict == "EQUAL"
    module._function = lambda s, x: {"b": s.c(x), "a": s.d(x)}
    assert parity.compare(model, module, X).verdict == "DIVERGED"


# --- nothing is changed ----------------------------------------------------------------------------


def snapshot(model: Any, module: Any) -> list[Any]:
    """Identity, dtype, bits and modes of everything that a comparison might disturb."""
    layers = list(model._flatten_layers())
    return [
        [(id(v), id(v._value), v.dtype, np.array(v._value.read_value()).tobytes(), v.trainable) for v in model.variables],
        [(layer.name, layer.dtype_policy.name, layer.compute_dtype, layer.trainable) for layer in layers],
        [(id(t), t.dtype, t.data_ptr(), t.requires_grad, t.detach().numpy().tobytes())
         for t in [*module.parameters(), *module.buffers()]],
        [child.training for child in module.modules()],
        keras.config.floatx(), torch.get_default_dtype(), keras.config.dtype_policy().name, torch.is_grad_enabled(),
        str(L.Layer.__call__),
    ]  # fmt: skip


@pytest.mark.parametrize("trouble", ["none", "keras raises", "torch raises", "diverges"])
@pytest.mark.parametrize("name", ["nested Sequentials", "functional with branches", "layers used twice"])
def test_models_are_left_as_they_were(name: str, trouble: str) -> None:
    model, module, values = pair_of(CASES[name])
    module.train()
    next(module.children()).eval()
    before = snapshot(model, module)
    if trouble == "diverges":
        next(module.parameters()).data.mul_(1.01)
        before = snapshot(model, module)
    if trouble == "torch raises":
        module.register_forward_hook(_raise)
    if trouble == "keras raises":
        last = [layer for layer in model._flatten_layers() if isinstance(layer, L.Conv2D | L.Dense)][-1]
        last.call = _raise
    report = parity.compare(model, module, values, dtype="float32")
    expected = {"none": "EQUAL", "diverges": "DIVERGED"}.get(trouble, "INCONCLUSIVE")
    assert report.verdict == expected, str(report)
    assert snapshot(model, module) == before


def test_inputs_are_not_written_to() -> None:
    values = X.copy()
    parity.compare(*conv_pair(), values, dtype="float32")
    assert values.tobytes() == X.tobytes()


# --- requests that cannot be carried out -----------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train_steps": 1, "optimizer": "nosuch"}, "nosuch"),
        ({"train_steps": 1, "optimizer": {"name": "sgd", "moment": 1}}, "moment"),
        ({"dtype": "float8"}, "dtype='float8'"),
        ({"mapping": {"conv": 3}}, "mapping"),
    ],
)
def test_requests_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(parity.UsageError, match=message):
        parity.compare(*conv_pair(), X, **arguments)


def test_models_of_one_framework_and_no_models() -> None:
    model, module = conv_pair()
    for pair in ((model, model), (module, module), (model, 3), (type(model), module)):
        with pytest.raises(parity.UsageError, match="model must be"):
            parity.compare(*pair, X)


def test_either_order() -> None:
    model, module = conv_pair()
    assert parity.compare(module, model, X).verdict == "EQUAL"


def test_json_has_no_infinities(tmp_path: Any) -> None:
    report = parity.compare(*conv_pair(_spoil("torch", np.nan)), X)
    report.to_json(tmp_path / "r.json")
    text = (tmp_path / "r.json").read_text()
    values = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert {"verdict", "max_abs_diff", "max_rel_diff", "findings", "environment"} <= set(values)
    report.to_html(tmp_path / "r.html")
    assert "DIVERGED" in (tmp_path / "r.html").read_text()


class OddAtOddWidths(torch.nn.Module):
    """Rolls the image between its layers, and then raises, where the width is odd."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.second = torch.nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        if x.shape[-1] % 2 == 0:
            return self.second(x)
        self.second(x.roll(1, -1))
        raise ValueError("the width must be even")


def test_a_difference_on_a_size_that_is_then_refused_is_not_forgotten() -> None:
    """The next size, which both sides take, would be EQUAL."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="first")(image)
    model = keras.Model(image, keras.layers.Conv2D(2, 3, padding="same", name="second")(x))
    module = OddAtOddWidths()
    parity.transfer(module, model)
    even = np.random.default_rng(0).standard_normal((2, 18, 24, 3))
    assert parity.compare(model, module, even).verdict == "EQUAL"
    report = parity.compare(model, module)
    assert report.verdict == "DIVERGED"
    assert report.first is not None
    assert (report.first.keras, report.first.kind) == ("second", "wiring")


def test_an_operation_without_float64_is_told_from_a_wrong_input() -> None:
    image = keras.Input((4, 6, 8, 2))
    rounded = L.Lambda(tf.quantization.fake_quant_with_min_max_args)  # TensorFlow has it in float32 alone
    model = keras.Model(image, rounded(L.Conv3D(3, 1)(image)))
    module = nn.Sequential(nn.Conv3d(2, 3, 1))
    parity.transfer(module, model)
    report = parity.compare(model, module)
    assert report.verdict == "INCONCLUSIVE"
    assert [finding.kind for finding in report.findings] == ["error"]
    assert "takes no float64" in str(report.findings[0].fix)
    wrong = parity.compare(model, module, np.ones((1, 4, 6, 8, 5)))
    assert "give one that both models take" in str(wrong.findings[0].fix)


@pytest.mark.parametrize("wrap", ["weight_norm", "spectral_norm"])
def test_a_weight_that_a_layer_computes_is_copied_as_it_is_without_its_computation(wrap: str) -> None:
    model = keras.Sequential([keras.Input((None, None, 3)), L.Conv2D(4, 3)])
    module = nn.Sequential(getattr(nn.utils.parametrizations, wrap)(nn.Conv2d(3, 4, 3)))
    parity.transfer(module, model)
    assert parity.compare(model, module).verdict == "EQUAL"
    nn.utils.parametrize.remove_parametrizations(module[0], "weight")
    parity.transfer(module, model)
    assert parity.compare(model, module).verdict == "EQUAL"


def test_unmatched_tensors_are_reported_by_kind_and_counted() -> None:
    """Few of them one by one; many in groups that fit a screen, and each of them in the findings."""
    image = keras.Input((None, None, 3))
    layers = [L.Conv2D(7 + n, 1, name=f"keras_{n}") for n in range(20)]
    model = keras.Model(image, [layer(image) for layer in layers])
    module = nn.Sequential(*(nn.Conv2d(3, 70 + n, 1) for n in range(20)))
    report = parity.compare(model, module)
    unmatched = [finding for finding in report.findings if finding.problem is not None]
    assert len(unmatched) == 80
    text = str(report)
    assert "Keras tensors with no counterpart in torch: 40, of 20 layers" in text
    assert "keras_0 (Conv2D): kernel (1, 1, 3, 7), bias (7,)" in text
    assert "torch tensors with no counterpart in Keras: 40, of 20 layers" in text
    assert len(text.splitlines()) < 24
    assert not any("problem" in finding.to_dict() for finding in report.findings)


def test_a_lone_bias_of_a_model_that_is_one_layer_is_named() -> None:
    model = keras.layers.Conv2D(4, 3)
    model.build((None, 9, 11, 3))
    module = nn.Conv2d(3, 4, 3, bias=False)
    parity.transfer(model, module, strict=False)
    found = [finding for finding in parity.compare(model, module).findings if finding.cause == "missing-bias"]
    assert [finding.fix for finding in found] == ["give torch layer (the model itself) a bias"]
