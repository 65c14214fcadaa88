"""Weights of layers whose class parity does not know: the operation that uses a weight says which axis is which."""

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

SIZE, HEADS = 8, 2


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape))


# --- torch: one dense layer in many ways of writing it ----------------------------------------------------


class Transposed(nn.Module):
    """x @ W + b by addmm, as transformers' Conv1D."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = parameter(inputs, outputs), parameter(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return flat.view(*x.shape[:-1], -1)


class Functional(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = parameter(outputs, inputs), parameter(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, bias=self.bias, weight=self.weight)


class Einsum(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.w, self.b = parameter(HEADS, outputs // HEADS, inputs), parameter(HEADS, outputs // HEADS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.einsum("btd,hkd->bthk", x, self.w) + self.b).flatten(2)


class Split(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.w, self.b = parameter(inputs, outputs), parameter(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.w.reshape(self.w.shape[0], HEADS, -1).permute(1, 0, 2)
        return torch.einsum("btd,hdk->bthk", x, heads).flatten(2) + self.b


class Net(nn.Module):
    def __init__(self, dense: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.a, self.b, self.c = dense(SIZE, SIZE), dense(SIZE, SIZE), dense(SIZE, 2 * SIZE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.c(torch.relu(self.b(torch.tanh(self.a(x)))))
        return out


class Bare(nn.Module):
    """Three dense layers of parameters alone, in three orientations, in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.b1 = parameter(SIZE, SIZE), parameter(SIZE)
        self.w2, self.b2 = parameter(SIZE, SIZE), parameter(SIZE)
        self.w3, self.b3 = parameter(2 * SIZE, SIZE), parameter(2 * SIZE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(x @ self.w1 + self.b1)
        x = torch.relu(torch.matmul(x, self.w2.transpose(0, 1)).view(-1, 5, SIZE) + self.b2)
        return F.linear(x, self.w3, self.b3)


# --- Keras --------------------------------------------------------------------------------------------


class Own(L.Layer):
    """x @ W + b, or x @ W.T + b."""

    def __init__(self, units: int, turned: bool) -> None:
        super().__init__()
        self.units, self.turned = units, turned

    def build(self, shape: Any) -> None:
        sizes = (self.units, shape[-1]) if self.turned else (shape[-1], self.units)
        self.w = self.add_weight(shape=sizes, name="w")
        self.b = self.add_weight(shape=(self.units,), name="b")

    def call(self, x: Any) -> Any:
        return (ops.matmul(x, ops.transpose(self.w)) if self.turned else x @ self.w) + self.b


def by_heads(units: int) -> Callable[[Any], Any]:
    shape = (None, HEADS, units // HEADS)
    dense = L.EinsumDense("abc,cde->abde", output_shape=shape, bias_axes="de")
    return lambda x: L.Reshape((5, units))(dense(x))


def network(dense: Callable[[int], Callable[[Any], Any]]) -> keras.Model:
    inputs = keras.Input((5, SIZE))
    x = L.Activation("tanh")(dense(SIZE)(inputs))
    x = L.Activation("relu")(dense(SIZE)(x))
    return keras.Model(inputs, dense(2 * SIZE)(x))


KERAS: dict[str, Callable[[int], Callable[[Any], Any]]] = {
    "Dense": lambda units: L.Dense(units),
    "EinsumDense": lambda units: L.EinsumDense("abc,cd->abd", output_shape=(None, units), bias_axes="d"),
    "EinsumDense by heads": by_heads,
    "own": lambda units: Own(units, False),
    "own, transposed": lambda units: Own(units, True),
}
TORCH: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: Net(nn.Linear),
    "addmm": lambda: Net(Transposed),
    "F.linear": lambda: Net(Functional),
    "einsum": lambda: Net(Einsum),
    "split by heads": lambda: Net(Split),
    "bare": Bare,
}


def both_ways(
    build: Callable[[], keras.Model], make: Callable[[], nn.Module], x: np.ndarray, mapping: Any = None
) -> None:
    """With random weights carried over strictly, either way, the two compute the same."""
    for to_torch in (True, False):
        model, module = build(), make().eval()
        source, target = (model, module) if to_torch else (module, model)
        randomise(adapt(source), 3)
        parity.transfer(source, target, inputs=x, mapping=mapping)
        report = parity.compare(model, module, x, mapping=mapping, quick=True)
        assert report.verdict == "EQUAL", str(report)


def tokens() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 5, SIZE)).astype(np.float32)


@pytest.mark.parametrize("keras_way", KERAS)
@pytest.mark.parametrize("torch_way", TORCH)
def test_dense_in_any_orientation(keras_way: str, torch_way: str) -> None:
    """The hidden matrices are square: no shape tells their orientation."""
    both_ways(lambda: network(KERAS[keras_way]), TORCH[torch_way], tokens())


@pytest.mark.parametrize("mapping", [{"d": "a"}, {"d.kernel": "a.weight", "d.bias": "a.bias"}])
@pytest.mark.parametrize("make", [Transposed, Functional, nn.Linear])
def test_a_mapping_asks_the_operation_too(
    mapping: dict[str, str], make: Callable[[int, int], nn.Module]
) -> None:
    def build() -> keras.Model:
        inputs = keras.Input((5, SIZE))
        dense = L.EinsumDense(
            "abc,cde->abde", output_shape=(None, HEADS, SIZE // HEADS), bias_axes="de", name="d"
        )
        return keras.Model(inputs, L.Reshape((5, SIZE))(dense(inputs)))

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = make(SIZE, SIZE)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.a(x)
            return out

    both_ways(build, One, tokens(), mapping)


# --- convolutions ---------------------------------------------------------------------------------------


class OwnConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, groups: int = 1, standardised: bool = False) -> None:
        super().__init__()
        self.groups, self.standardised = groups, standardised
        self.k, self.z = parameter(outputs, inputs // groups, 3, 3), parameter(outputs)
        if standardised:
            self.gain = parameter(outputs, 1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel: torch.Tensor = self.k
        if self.standardised:
            variance, mean = torch.var_mean(kernel, dim=[1, 2, 3], keepdim=True, unbiased=False)
            kernel = (kernel - mean) / torch.sqrt(variance + 1e-5) * self.gain
        return F.conv2d(x, kernel, self.z, padding=1, groups=self.groups)


class OwnTransposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.k, self.z = parameter(6, 4, 2, 2), parameter(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv_transpose2d(x, self.k, self.z, stride=2)


class ConvNet(nn.Module):
    def __init__(self, standardised: bool) -> None:
        super().__init__()
        self.a, self.b = OwnConv(3, 3, standardised=standardised), OwnConv(3, 3, standardised=standardised)
        self.d, self.t = OwnConv(3, 6, 3), OwnTransposed()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.t(self.d(torch.relu(self.b(torch.tanh(self.a(x))))))
        return out


class KerasConv(L.Layer):
    def __init__(self, standardised: bool) -> None:
        super().__init__()
        self.standardised = standardised

    def build(self, shape: Any) -> None:
        self.q = self.add_weight(shape=(3, 3, shape[-1], 3), name="q")
        self.c = self.add_weight(shape=(3,), name="c")
        if self.standardised:
            self.r = self.add_weight(shape=(3,), name="r")

    def call(self, x: Any) -> Any:
        kernel = self.q
        if self.standardised:
            mean = ops.mean(kernel, (0, 1, 2), keepdims=True)
            kernel = (kernel - mean) / ops.sqrt(ops.var(kernel, (0, 1, 2), keepdims=True) + 1e-5) * self.r
        return ops.conv(x, kernel, padding="same") + self.c


@pytest.mark.parametrize("way", ["Conv2D", "own", "standardised"])
def test_convolutions_in_own_classes(way: str) -> None:
    def build() -> keras.Model:
        inputs = keras.Input((None, None, 3))
        own = (
            (lambda: L.Conv2D(3, 3, padding="same")) if way == "Conv2D" else (lambda: KerasConv(way != "own"))
        )
        x = ops.relu(own()(ops.tanh(own()(inputs))))
        x = L.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)
        return keras.Model(inputs, L.Conv2DTranspose(4, 2, strides=2)(x))

    x = np.random.default_rng(0).normal(size=(2, 7, 9, 3)).astype(np.float32)
    both_ways(build, lambda: ConvNet(way == "standardised"), x)


# --- tables ---------------------------------------------------------------------------------------------


class Tables(nn.Module):
    def __init__(self, embedded: bool) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(12, SIZE), nn.Linear(SIZE, SIZE)
        if embedded:
            self.places = nn.Embedding(9, SIZE)
        else:
            self.p = parameter(1, 9, SIZE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.shape[1]
        places = self.places(torch.arange(length)) if hasattr(self, "places") else self.p[:, :length]
        out: torch.Tensor = self.head(self.words(x.long()) + places)
        return out


class Places(L.Layer):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(9, SIZE), name="position_embeddings")

    def call(self, x: Any) -> Any:
        length = ops.shape(x)[1]
        if self.way == "slice":
            return x + ops.slice(self.w, (0, 0), (length, SIZE))
        if self.way == "take":
            return x + ops.take(self.w, ops.arange(length), axis=0)
        return x + ops.broadcast_to(self.w[:length], ops.shape(x))


@pytest.mark.parametrize("way", ["slice", "take", "broadcast", "Embedding"])
@pytest.mark.parametrize("embedded", [True, False])
def test_tables(way: str, embedded: bool) -> None:
    def build() -> keras.Model:
        inputs = keras.Input((None,), dtype="int32")
        x = L.Embedding(12, SIZE)(inputs)
        if way == "Embedding":
            x = x + L.Embedding(9, SIZE)(ops.cumsum(ops.ones_like(inputs), 1) - 1)
        else:
            x = Places(way)(x)
        return keras.Model(inputs, L.Dense(SIZE)(x))

    both_ways(
        build, lambda: Tables(embedded), np.random.default_rng(0).integers(0, 12, (2, 5)).astype(np.int32)
    )


# --- normalisations written out -------------------------------------------------------------------------


class Written(nn.Module):
    """A normalisation written out, with scale and offset under names that say nothing, or by function."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.p, self.q = way, parameter(SIZE), parameter(SIZE)
        self.register_buffer("running_mean", torch.zeros(SIZE))
        self.register_buffer("running_var", torch.ones(SIZE))
        if way != "batch":
            del self.running_mean, self.running_var
        if way == "rms":
            del self.q

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.way == "rms":
            return self.p * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-3))
        if self.way == "batch":
            return (x - self.running_mean) * torch.rsqrt(self.running_var + 1e-3) * self.q + self.p
        if self.way == "function":
            return F.layer_norm(x, (SIZE,), self.q, self.p, 1e-3)
        mean = x.mean(-1, keepdim=True)
        return self.p + self.q * (x - mean) / torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + 1e-3)


class Normed(nn.Module):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.n1, self.l1, self.n2, self.l2 = (
            Written(way), nn.Linear(SIZE, SIZE), Written(way), nn.Linear(SIZE, SIZE)
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.l2(self.n2(self.l1(self.n1(x))))
        return out


@pytest.mark.parametrize("way", ["layer", "function", "batch", "rms"])
def test_normalisations_written_out(way: str) -> None:
    """Scale and offset are as long as one another, and are distinguished by what is done with them."""
    own = {"rms": lambda: L.RMSNormalization(epsilon=1e-3), "batch": L.BatchNormalization}
    norm = own.get(way, L.LayerNormalization)

    def build() -> keras.Model:
        inputs = keras.Input((5, SIZE))
        return keras.Model(inputs, L.Dense(SIZE)(norm()(L.Dense(SIZE)(norm()(inputs)))))

    both_ways(build, lambda: Normed(way), tokens())


# --- causes at layers of unknown classes ----------------------------------------------------------------


def causes(
    build: Callable[[], keras.Model], module: nn.Module, x: np.ndarray, fault: Callable[[], Any]
) -> set[Any]:
    """(cause, torch layer, whether the fix was tried) of what differs after a fault was seeded into the module."""
    model = build()
    randomise(adapt(module.eval()), 3)
    parity.transfer(module, model, inputs=x)
    with torch.no_grad():
        fault()
    report = parity.compare(model, module, x)
    assert report.verdict == "DIVERGED"
    return {(finding.cause, finding.torch, finding.fix_verified) for finding in report.findings}


@pytest.mark.parametrize("keras_way", ["Dense", "own"])
@pytest.mark.parametrize("make", [Transposed, Functional])
def test_causes_at_dense_layers(keras_way: str, make: Callable[[int, int], Any]) -> None:
    """A transposed kernel, a missing bias and other values, in either orientation of the kernel."""
    for cause, fault in {
        "kernel-io-swap": lambda net: net.b.weight.copy_(net.b.weight.T.clone()),
        "missing-bias": lambda net: net.b.bias.zero_(),
        "weight-not-copied": lambda net: net.b.weight.mul_(1.5).add_(0.1),
    }.items():
        net = Net(make)
        found = causes(
            lambda: network(KERAS[keras_way]), net, tokens(), lambda net=net, fault=fault: fault(net)
        )
        assert found == {(cause, "b", True)}


def test_causes_at_convolutions() -> None:
    def build() -> keras.Model:
        inputs = keras.Input((None, None, 3))
        x = ops.relu(KerasConv(False)(ops.tanh(KerasConv(False)(inputs))))
        x = L.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)
        return keras.Model(inputs, L.Conv2DTranspose(4, 2, strides=2)(x))

    net = ConvNet(False)
    x = np.random.default_rng(0).normal(size=(2, 7, 9, 3)).astype(np.float32)

    def faults() -> None:
        net.a.k.copy_(net.a.k.flip(2, 3))
        net.b.k.copy_(net.b.k.transpose(0, 1).clone())
        net.t.k.copy_(net.t.k.flip(2, 3))

    assert causes(build, net, x, faults) == {
        ("kernel-flip", "a", True), ("kernel-io-swap", "b", True), ("kernel-flip", "t", True)
    }  # fmt: skip


@pytest.mark.parametrize("way", ["layer", "function"])
def test_causes_at_normalisations(way: str) -> None:
    def build() -> keras.Model:
        inputs = keras.Input((5, SIZE))
        norms = L.LayerNormalization(epsilon=1e-5), L.LayerNormalization(epsilon=1e-3)
        return keras.Model(inputs, L.Dense(SIZE)(norms[1](L.Dense(SIZE)(norms[0](inputs)))))

    net = Normed(way)
    assert causes(build, net, tokens(), lambda: net.n2.p.zero_()) == {
        ("layernorm-epsilon", "n1", True), ("missing-bias", "n2", True)
    }  # fmt: skip


@pytest.mark.parametrize("make", [Transposed, nn.Linear])
def test_a_square_kernel_that_nothing_says_the_axes_of_is_refused(
    make: Callable[[int, int], nn.Module],
) -> None:
    """Without inputs that both sides take nothing can be traced; torch's own class says its axes all the same."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = make(SIZE, SIZE)

        def forward(self, x: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.a(x) * by
            return out

    inputs = keras.Input((5, SIZE))
    model, module = keras.Model(inputs, L.Dense(SIZE, name="a")(inputs)), Scaled().eval()
    if make is nn.Linear:
        assert parity.transfer(module, model).copied == 2
        return
    with pytest.raises(parity.PairingError, match="axes must be known"):
        parity.transfer(module, model)


@pytest.mark.parametrize("keras_way", ["Dense", "EinsumDense by heads", "own"])
def test_a_transposed_kernel_by_heads(keras_way: str) -> None:
    """One side holds the heads in an axis of their own: only that layer differs, and its cause is named."""
    net = Net(Einsum)

    def fault() -> None:
        net.b.w.copy_(net.b.w.reshape(SIZE, SIZE).T.reshape(net.b.w.shape).clone())

    assert causes(lambda: network(KERAS[keras_way]), net, tokens(), fault) == {("kernel-io-swap", "b", True)}


@pytest.mark.parametrize("keras_way", ["Dense", "EinsumDense by heads", "own"])
def test_bare_parameters_are_no_missing_layers(keras_way: str) -> None:
    model, module = network(KERAS[keras_way]), Bare().eval()
    randomise(adapt(module), 3)
    parity.transfer(module, model, inputs=tokens())
    with torch.no_grad():
        module.w2.mul_(1.5)
    report = parity.compare(model, module, tokens(), quick=True)
    assert report.verdict == "DIVERGED"
    assert {finding.kind for finding in report.findings} == {"output", "weight"}
    assert any("torch's w2" in finding.evidence for finding in report.findings)
