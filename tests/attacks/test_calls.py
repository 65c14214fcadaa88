"""Which layers a side runs: what is said of a call must be so, however the layer is called and whatever it gives."""

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
from tests.attacks.pairs import Module, images

TOKENS = (2, 10, 12)
ONE_SIDED = {"missing-call", "extra-call"}


def tokens(shape: tuple[int, ...] = TOKENS) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def seeded(module: nn.Module) -> nn.Module:
    """The same module with weights of a fixed seed, none of them zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.4)
    return module


def compared(model: Any, module: nn.Module, values: Any) -> Any:
    seeded(module).eval()
    parity.transfer(module, model, inputs=values)
    return parity.compare(model, module, values)


def attention(**options: Any) -> Any:
    """A Keras model: attention, a normalisation, a dense layer."""
    image = keras.Input(TOKENS[1:])
    value = L.MultiHeadAttention(4, 3, name="mha")(image, image, **options)
    return keras.Model(
        image, L.Dense(5, name="fc")(L.LayerNormalization(epsilon=1e-3, name="ln")(value + image))
    )


def cross(source: Any = None) -> Any:
    """A Keras model whose query, value and key are three tensors."""
    image = keras.Input(TOKENS[1:])
    query, value, key = (L.Dense(12, name=name)(image) for name in "qvk")
    made = L.MultiHeadAttention(4, 3, name="mha")(query, value, key=key)
    return keras.Model(
        image, L.Dense(5, name="fc")(L.LayerNormalization(epsilon=1e-3, name="ln")(made + image))
    )


def parts(eps: float = 1e-3, batch_first: bool = True, **more: nn.Module) -> dict[str, nn.Module]:
    made = nn.MultiheadAttention(12, 4, batch_first=batch_first)
    return {**more, "mha": made, "ln": nn.LayerNorm(12, eps=eps), "fc": nn.Linear(12, 5)}


def linears() -> dict[str, nn.Module]:
    return {name: nn.Linear(12, 12) for name in "qvk"}


def turned(s: Any, x: Any) -> Any:
    y = x.transpose(0, 1)
    return s.fc(s.ln(s.mha(y, y, y)[0].transpose(0, 1) + x))


def crossed(s: Any, x: Any, exchanged: bool = False) -> Any:
    key, value = (s.v(x), s.k(x)) if exchanged else (s.k(x), s.v(x))
    return s.fc(s.ln(s.mha(s.q(x), key, value)[0] + x))


def causal(s: Any, x: Any) -> Any:
    mask = torch.triu(torch.ones(10, 10, dtype=torch.bool), 1)
    return s.fc(s.ln(s.mha(x, x, x, attn_mask=mask)[0] + x))


# Name: (Keras model, torch forward, modules, places that may be found; none for EQUAL pairs).
ATTENTION: dict[
    str, tuple[Callable[[], Any], Callable[[Any, Any], Any], dict[str, nn.Module], set[str | None]]
] = {
    "equal": (attention, lambda s, x: s.fc(s.ln(s.mha(x, x, x)[0] + x)), parts(), set()),
    "epsilon behind it": (attention, lambda s, x: s.fc(s.ln(s.mha(x, x, x)[0] + x)), parts(1e-5), {"ln"}),
    "batch second": (attention, turned, parts(batch_first=False), set()),
    "batch second, epsilon": (attention, turned, parts(1e-5, batch_first=False), {"ln"}),
    "no weights asked for": (attention, lambda s, x: s.fc(s.ln(s.mha(x, x, x, need_weights=False)[0] + x)),
                             parts(1e-5), {"ln"}),
    "keywords": (attention, lambda s, x: s.fc(s.ln(s.mha(value=x, key=x, query=x)[0] + x)), parts(1e-5), {"ln"}),
    "a causal mask on one side": (attention, causal, parts(), {"mha"}),
    "causal on both": (lambda: attention(use_causal_mask=True), causal, parts(), set()),
    "half of the scores": (attention, lambda s, x: s.fc(s.ln(s.mha(x * 0.5, x, x)[0] + x)), parts(), {"mha"}),
    "the sum left out": (attention, lambda s, x: s.fc(s.ln(s.mha(x, x, x)[0])), parts(), {"ln"}),
    "query, value and key": (cross, crossed, parts(**linears()), set()),
    "query, value and key, epsilon": (cross, crossed, parts(1e-5, **linears()), {"ln"}),
    "value and key exchanged": (cross, lambda s, x: crossed(s, x, True), parts(**linears()), {"mha"}),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_recorded(name: str) -> None:
    build, forward, modules, places = ATTENTION[name]
    model, module = build(), seeded(Module(forward, **modules)).eval()
    mapping = {name: name for name in "qvk"} if "q" in modules else None
    parity.transfer(module, model, inputs=tokens(), mapping=mapping)
    report = parity.compare(model, module, tokens(), mapping=mapping)
    assert report.verdict == ("DIVERGED" if places else "EQUAL"), str(report)
    assert not ONE_SIDED & {finding.kind for finding in report.findings}, str(report)
    assert {finding.torch for finding in report.findings} == places, str(report)


def encoder_layer() -> Any:
    """What nn.TransformerEncoderLayer computes, in Keras."""
    image = keras.Input(TOKENS[1:])
    value = L.LayerNormalization(epsilon=1e-5, name="norm1")(
        image + L.MultiHeadAttention(4, 3, name="self_attn")(image, image)
    )
    hidden = L.Dense(12, name="linear2")(ops.relu(L.Dense(20, name="linear1")(value)))
    value = L.LayerNormalization(epsilon=1e-3, name="norm2")(value + hidden)
    return keras.Model(image, L.Dense(5, name="fc")(value))


def test_a_fast_path_hides_no_layer() -> None:
    """In inference torch computes the whole encoder layer at once, and calls none of its modules."""
    layer = nn.TransformerEncoderLayer(12, 4, 20, dropout=0.0, batch_first=True)
    for eps, places in ((1e-3, set()), (1e-5, {"layer.norm2"})):
        layer.norm2.eps = eps
        module = Module(lambda s, x: s.fc(s.layer(x)), layer=layer, fc=nn.Linear(12, 5))
        report = compared(encoder_layer(), module, tokens())
        assert report.verdict == ("DIVERGED" if places else "EQUAL"), str(report)
        assert {finding.torch for finding in report.findings} == places, str(report)


def test_a_trace_takes_no_fast_path() -> None:
    """Hooks and a function mode both switch it off."""
    layer = nn.TransformerEncoderLayer(12, 4, 20, dropout=0.0, batch_first=True).eval()
    trace = adapt(layer).trace([tokens()])[1]
    assert [len(trace.calls(path)) for path in ("self_attn", "linear1", "norm2")] == [1, 1, 1]


def convolutions(eps: float = 1e-3) -> Any:
    image = keras.Input((12, 16, 3))
    value = L.ReLU(name="act")(L.Conv2D(4, 3, name="first")(image))
    value = L.BatchNormalization(epsilon=eps, name="norm")(L.Conv2D(4, 3, name="second")(value))
    return keras.Model(image, L.Conv2D(5, 1, name="last")(value))


def torch_parts(eps: float = 1e-5) -> dict[str, nn.Module]:
    return {
        "first": nn.Conv2d(3, 4, 3),
        "act": nn.ReLU(),
        "second": nn.Conv2d(4, 4, 3),
        "norm": nn.BatchNorm2d(4, eps=eps),
        "last": nn.Conv2d(4, 5, 1),
    }


def by_function(layer: Any, x: Any) -> Any:
    return F.conv2d(x, layer.weight, layer.bias)


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "plainly": lambda s, x: s.last(s.norm(s.second(s.act(s.first(x))))),
    "by forward": lambda s, x: s.last(s.norm.forward(s.second.forward(s.act.forward(s.first.forward(x))))),
    "a kernel by forward": lambda s, x: s.last(s.norm(s.second.forward(s.act(s.first(x))))),
    "a kernel by a function": lambda s, x: s.last(s.norm(by_function(s.second, s.act(s.first(x))))),
    "every kernel by a function": lambda s, x: by_function(
        s.last, s.norm(by_function(s.second, s.act(by_function(s.first, x))))
    ),
    "an activation by a function": lambda s, x: s.last(s.norm(s.second(F.relu(s.first(x))))),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_layer_runs_however_it_is_called(name: str) -> None:
    report = compared(convolutions(), Module(CALLS[name], **torch_parts()), images())
    assert report.verdict == "DIVERGED"
    found = [(f.torch, f.kind, f.cause, f.fix_verified) for f in report.findings]
    assert found == [("norm", "layer", "batchnorm-epsilon", True)], str(report)


class ByCall(keras.Model):
    """Layers whose `call` is called, which Keras does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = L.Conv2D(4, 3, activation="relu"), L.Conv2D(4, 3)
        self.norm, self.last = L.BatchNormalization(epsilon=1e-3), L.Conv2D(5, 1)

    def call(self, x: Any) -> Any:
        if not self.second.built:
            return self.last(self.norm(self.second(self.first(x))))
        return self.last(self.norm(self.second.call(self.first.call(x))))


def test_a_keras_layer_runs_where_its_call_is_called() -> None:
    model = ByCall()
    model(images())
    report = compared(model, Module(CALLS["plainly"], **torch_parts()), images())
    found = [(f.torch, f.kind, f.cause) for f in report.findings]
    assert found == [("norm", "layer", "batchnorm-epsilon")], str(report)


def test_a_call_that_is_missing_is_still_found() -> None:
    skipped = Module(lambda s, x: s.last(s.norm(s.act(s.first(x)))), **torch_parts(1e-3))
    report = compared(convolutions(), skipped, images())
    assert [(f.keras, f.kind) for f in report.findings][:1] == [("second", "missing-call")], str(report)


def test_a_call_that_changes_nothing_is_not_missing() -> None:
    """Dropout in inference: Keras runs it, a torch model may leave it out."""
    image = keras.Input((12, 16, 3))
    value = L.Dropout(0.5, name="drop")(L.Conv2D(4, 3, name="first")(image))
    model = keras.Model(image, L.BatchNormalization(epsilon=1e-3, name="norm")(value))
    modules = {"first": nn.Conv2d(3, 4, 3), "drop": nn.Dropout(0.5), "norm": nn.BatchNorm2d(4)}
    module = Module(lambda s, x: s.norm(s.drop(s.first(x)) if s.training else s.first(x)), **modules)
    report = compared(model, module, images())
    assert [(f.torch, f.kind) for f in report.findings] == [("norm", "layer")], str(report)


class WithState(nn.Module):
    """A layer that gives its state too."""

    def __init__(self, give: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(4, 3)), nn.Parameter(torch.zeros(4))
        self._give = give

    def forward(self, x: Any) -> Any:
        value = F.linear(x, self.weight, self.bias)
        return self._give(value, torch.tanh(value) * 3.0)


class KerasWithState(L.Layer):
    """The same in Keras."""

    def __init__(self, give: Callable[[Any, Any], Any], **options: Any) -> None:
        super().__init__(**options)
        self._give = give

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(3, 4), name="kernel")
        self.bias = self.add_weight(shape=(4,), name="bias")

    def call(self, x: Any) -> Any:
        value = x @ self.kernel + self.bias
        return self._give(value, ops.tanh(value) * 3.0)


GIVEN: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]] = {
    "one tensor": (lambda a, b: a, lambda out: out),
    "a tuple": (lambda a, b: (a, b), lambda out: out[0]),
    "a tuple with None": (lambda a, b: (a, None), lambda out: out[0]),
    "a dict": (lambda a, b: {"out": a, "state": b}, lambda out: out["out"]),
    "a dict in another order": (lambda a, b: {"state": b, "out": a}, lambda out: out["out"]),
}


@pytest.mark.parametrize("torch_gives", GIVEN)
@pytest.mark.parametrize("keras_gives", GIVEN)
def test_layers_that_give_more_than_a_tensor(keras_gives: str, torch_gives: str) -> None:
    if "None" in keras_gives:
        pytest.skip("a functional Keras model holds tensors alone")
    image = keras.Input((5, 3))
    give, take = GIVEN[keras_gives]
    value = take(KerasWithState(give, name="own")(image))
    model = keras.Model(image, L.Dense(2, name="fc")(L.LayerNormalization(epsilon=1e-3, name="ln")(value)))
    give_torch, take_torch = GIVEN[torch_gives]
    modules = {"own": WithState(give_torch), "ln": nn.LayerNorm(4), "fc": nn.Linear(4, 2)}
    module = Module(lambda s, x: s.fc(s.ln(take_torch(s.own(x)))), **modules)
    report = compared(model, module, tokens((2, 5, 3)))
    assert [(f.torch, f.cause) for f in report.findings] == [("ln", "layernorm-epsilon")], str(report)
