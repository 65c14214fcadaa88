"""What the dataflow leaves open goes by names, where a run of both sides confirms it; a wrong guess does not pass."""

from __future__ import annotations

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
from parity.core.finding import Kind
from parity.core.verdict import Verdict
from parity.pairing.leftover.guessed import likeness

GRID = np.random.default_rng(1).normal(size=(2, 4, 4, 8)).astype("float32")
FLAT = np.random.default_rng(2).normal(size=(3, 6)).astype("float32")


class KerasPositions(keras.Model):
    """Relative positions by rows and columns, as SAM's encoder has them; einsums read them."""

    def __init__(self, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.inner, self.norm = L.Dense(8, name="inner"), L.LayerNormalization(epsilon=epsilon, name="norm")
        self.rel_pos_h = self.add_weight(shape=(4, 8), name="rel_pos_h", initializer="zeros")
        self.rel_pos_w = self.add_weight(shape=(4, 8), name="rel_pos_w", initializer="zeros")

    def call(self, x: Any) -> Any:
        q = self.norm(self.inner(x))
        return ops.einsum("bhwc,hc->bhw", q, self.rel_pos_h) + ops.einsum("bhwc,wc->bhw", q, self.rel_pos_w)


class Positions(nn.Module):
    """The same with products and sums, declared and computed in the other order."""

    def __init__(self, turned: bool = False) -> None:
        super().__init__()
        self.rel_pos_w, self.rel_pos_h = nn.Parameter(torch.zeros(4, 8)), nn.Parameter(torch.zeros(4, 8))
        self.lin, self.ln, self.turned = nn.Linear(8, 8), nn.LayerNorm(8), turned

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.ln(self.lin(x.permute(0, 2, 3, 1)))
        rows, columns = self.rel_pos_h, self.rel_pos_w
        if self.turned:
            rows, columns = columns, rows
        return (q * columns[None, None]).sum(-1) + (q * rows[None, :, None]).sum(-1)


class KerasCoders(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = keras.Sequential([L.Dense(6, activation="relu"), L.Dense(6)], name="encoder")
        self.decoder = keras.Sequential([L.Dense(6, activation="relu"), L.Dense(6)], name="decoder")

    def call(self, x: Any) -> Any:
        return ops.sigmoid(self.encoder(x)) * self.decoder(x) + self.encoder(x)


class Coders(nn.Module):
    def __init__(self, turned: bool = False, slope: float = 0.0) -> None:
        super().__init__()
        self.dec = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
        self.enc = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
        self.turned, self.slope = turned, slope

    def run(self, parts: Any, x: torch.Tensor) -> torch.Tensor:
        return parts[1](F.leaky_relu(parts[0](x), self.slope))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        e, d = self.run(self.enc, x), self.run(self.dec, x)
        if self.turned:
            e, d = d, e
        return e * (1 + d * torch.sigmoid(e) / e)


class KerasAttention(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.query_conv2d, self.key_conv2d = L.Conv2D(8, 1), L.Conv2D(8, 1)
        self.value_conv2d, self.output_conv2d = L.Conv2D(8, 1), L.Conv2D(8, 1)

    def call(self, x: Any) -> Any:
        parts = [self.query_conv2d(x), self.key_conv2d(x), self.value_conv2d(x)]
        q, k, v = (ops.reshape(part, (-1, 16, 8)) for part in parts)
        a = ops.softmax(ops.einsum("bic,bjc->bij", q, k) * 8**-0.5, axis=-1)
        return self.output_conv2d(ops.reshape(ops.einsum("bij,bjc->bic", a, v), (-1, 4, 4, 8)))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_v, self.to_k, self.to_q = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.to_out = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.flatten(2).transpose(1, 2)
        a = (self.to_k(y) @ self.to_q(y).transpose(1, 2) * 8**-0.5).transpose(1, 2).softmax(-1)
        return self.to_out(a @ self.to_v(y)).transpose(1, 2).reshape(x.shape)


CASES = {
    "positions": (KerasPositions, Positions, GRID),
    "coders": (KerasCoders, Coders, FLAT),
    "attention": (KerasAttention, Attention, GRID),
}


def torch_paths(model: Any, module: nn.Module, inputs: np.ndarray) -> dict[str, str]:
    pairing = parity.pair(model, module, inputs=inputs)
    assert not pairing.problems
    return {slot.keras: slot.torch for item in pairing.pairs for slot in item.slots}


@pytest.mark.parametrize("name", CASES)
def test_names_decide_what_the_dataflow_leaves_open(name: str) -> None:
    keras_side, torch_side, inputs = CASES[name]
    model, module = keras_side(), torch_side()
    model(inputs)
    for turn, (source, target) in enumerate(((module, model), (model, module))):
        randomise(adapt(source), turn)
        before = [value.clone() for value in module.state_dict().values()]
        if source is module:
            torch_paths(model, module, inputs)  # what is tried leaves no trace
            assert all(map(torch.equal, before, module.state_dict().values()))
        result = parity.transfer(source, target, inputs=inputs)
        report = parity.compare(model, module, inputs)
        assert report, str(report)
    if name != "attention":
        assert any("a run of both sides" in note for note in result.notes)


def test_the_pairs_are_those_that_the_names_mean() -> None:
    model = KerasPositions()
    model(GRID)
    found = torch_paths(model, Positions(), GRID)
    assert (found["rel_pos_h"], found["rel_pos_w"]) == ("rel_pos_h", "rel_pos_w")
    model = KerasCoders()
    model(FLAT)
    found = torch_paths(model, Coders(), FLAT)
    assert {torch_path for path, torch_path in found.items() if path.startswith("encoder")} == {
        "enc.0.weight", "enc.0.bias", "enc.1.weight", "enc.1.bias",
    }  # fmt: skip


def test_a_wrong_guess_does_not_pass() -> None:
    """The names say one thing and the models do another: nothing is copied by them."""
    model, module = KerasPositions(), Positions(turned=True)
    model(GRID)
    with pytest.raises(parity.PairingError, match="rel_pos"):
        parity.transfer(module, model, inputs=GRID)
    coders, turned = KerasCoders(), Coders(turned=True)
    coders(FLAT)
    result = parity.transfer(turned, coders, inputs=FLAT)
    assert not any("names decide" in note for note in result.notes)


def test_a_small_fault_elsewhere_leaves_the_guess_and_is_named() -> None:
    model, module = KerasPositions(epsilon=1e-3), Positions()
    model(GRID)
    randomise(adapt(module), 1)
    result = parity.transfer(module, model, inputs=GRID)
    assert any("names decide" in note for note in result.notes)
    report = parity.compare(model, module, GRID)
    assert [(one.torch, one.cause, one.fix_verified) for one in report.findings] == [
        ("ln", "layernorm-epsilon", True)
    ]


def test_words_that_begin_alike_are_alike() -> None:
    assert likeness("a.query_conv2d.kernel", "b.to_q.weight") > likeness(
        "a.query_conv2d.kernel", "b.to_k.weight"
    )
    assert likeness("encoder.0.kernel", "enc.1.weight") > likeness("encoder.0.kernel", "dec.0.weight")
    assert likeness("attnNorm.gamma", "attn_norm.weight") > likeness("attnNorm.gamma", "mlp_norm.weight")
    assert likeness("encoder.1.kernel", "enc.0.weight", False) == likeness(
        "encoder.1.kernel", "enc.1.weight", False
    )


def test_layers_that_sum_to_one_layer_prove_no_difference() -> None:
    """Two dense layers, added, compute what one does: the pair that neighbours make has other weights, rightly."""
    inputs = keras.Input((6,))
    hidden = L.Dense(5, name="first")(inputs)
    summed = L.Add()([L.Dense(4, name="a")(hidden), L.Dense(4, name="b")(hidden)])
    model = keras.Model(inputs, L.Dense(3, name="last")(summed))
    rng = np.random.default_rng(0)
    model.set_weights([np.round(rng.normal(size=w.shape) * 16) / 16 for w in model.get_weights()])
    module = nn.ModuleDict({"first": nn.Linear(6, 5), "one": nn.Linear(5, 4), "last": nn.Linear(4, 3)})

    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = module

        def forward(self, x: Any) -> Any:
            return self.parts["last"](self.parts["one"](self.parts["first"](x)))

    held = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    held["one"] = [first + second for first, second in zip(held["a"], held["b"], strict=True)]
    for name, part in module.items():
        kernel, bias = held[name]
        part.weight.data, part.bias.data = torch.tensor(kernel.T), torch.tensor(bias)
    report = parity.compare(model, Summed(), rng.normal(size=(3, 6)).astype("float32"))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert {finding.kind for finding in report.findings} == {Kind.UNMATCHED}
    assert "neighbours alone" in report.findings[0].evidence
    assert report.max_abs_diff < 1e-14


class KerasTokens(L.Layer):
    """A class token in front and learned positions, in a layer of their own."""

    def build(self, shape: Any) -> None:
        self.token = self.add_weight(shape=(1, 1, 8), name="cls", initializer="zeros")
        self.position = self.add_weight(shape=(1, 7, 8), name="pos", initializer="zeros")

    def call(self, x: Any) -> Any:
        return ops.concatenate([self.token + ops.zeros_like(x[:, :1]), x], axis=1) + self.position


class Classifier(nn.Module):
    """The same as parameters of the whole module, with one fused projection in front of the attention."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.cls, self.pos = nn.Parameter(torch.zeros(1, 1, 8)), nn.Parameter(torch.zeros(1, 7, 8))
        self.qkv, self.proj, self.scale = nn.Linear(8, 24), nn.Linear(8, 8), scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        q, k, v = self.qkv(x).reshape(len(x), 7, 3, 2, 4).permute(2, 0, 3, 1, 4)
        shares = (q @ k.transpose(-2, -1) * self.scale).softmax(-1)
        return x + self.proj((shares @ v).transpose(1, 2).reshape(len(x), 7, 8))


def mixture() -> Any:
    """Experts and their gate, in a functional model: it lists its layers by their depth, not as they were made."""
    given = keras.Input((6,))
    shares = L.Dense(3, activation="softmax")(given)
    experts = [L.Dense(6)(L.Dense(10, activation="tanh")(given)) for _ in range(3)]
    total = None
    for i, expert in enumerate(experts):
        part = expert * shares[:, i : i + 1]
        total = part if total is None else total + part
    return keras.Model(given, given + total)


class Mixture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(6, 3)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 6)) for _ in range(3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = torch.stack([expert(x) for expert in self.experts], 1)
        return x + (self.gate(x).softmax(-1).unsqueeze(-1) * made).sum(1)
