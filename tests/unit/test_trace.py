"""Traces: every layer and functional step of one forward pass, and where each operand comes from."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

from parity.adapters import adapt
from parity.core.store import Store
from parity.core.trace import Look, Node, NodeObserver, Trace, Values, canonical
from parity.core.types import Array
from tests.zoo import CASES
from tests.zoo_apart import Torch, image


def steps(trace: Trace) -> list[tuple[str, list[str]]]:
    """Kind of each step with the kinds, or layers, that it stands on, in order."""

    def name(number: int) -> str:
        node = trace.nodes[number]
        return node.path if node.path is not None else f"{node.kind}{node.index or ''}"

    return [
        (name(node.id), [f"{name(item.node)}:{item.output}" if item.output else name(item.node) for item in node.inputs])
        for node in trace.nodes
        if node.inputs
    ]  # fmt: skip


def traced(model: Any, *inputs: Any) -> Trace:
    return adapt(model).trace(list(inputs))[1]


# --- torch ------------------------------------------------------------------------------------------


def in_place(m: Any, x: Any) -> Any:
    y = F.relu_(m.conv(x))
    y += m.tail(y * m.scale)
    low, high = y.chunk(2, 1)
    return {"cat": torch.cat([high, 1 - low], 1), "mean": y.mean((2, 3)), "shape": (y.shape[0], y.mT)}


def test_torch_steps() -> None:
    module = Torch(
        in_place, conv=nn.Conv2d(3, 4, 3, padding=1), scale=nn.Parameter(torch.ones(4, 1, 1)),
        tail=nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(inplace=True), nn.Dropout()),
    )  # fmt: skip
    trace = traced(module, image(2, 3, 5, 6))
    assert steps(trace) == [
        ("conv", ["input"]),
        ("relu", ["conv"]),
        ("mul", ["relu", "scale"]),
        ("tail.0", ["mul"]),
        ("tail.1", ["tail.0"]),
        ("tail.2", ["tail.1"]),
        ("add", ["relu", "tail.2"]),
        ("slice", ["add"]),
        ("sub", ["slice"]),
        ("concat", ["slice:1", "sub"]),
        ("mean", ["add"]),
        ("transpose", ["add"]),
    ]
    named = {name: trace.nodes[source.node].kind for name, source in trace.outputs}
    assert named == {"cat": "concat", "mean": "mean", "shape.0": "constant", "shape.1": "transpose"}
    assert trace.nodes[1].shapes == ((2, 4, 5, 6),)
    assert {node.scope for node in trace.nodes if node.path in {"tail.0", "tail.1"}} == {"tail"}
    assert trace.complete


def test_what_is_written_into_a_view_reaches_the_whole() -> None:
    def run(m: Any, x: Any) -> Any:
        y = torch.tanh(x)
        part = y[:, :2]
        part.mul_(torch.sigmoid(x[:, :2]))
        return y * 2

    found = dict(steps(traced(Torch(run), image(2, 3, 4))))
    assert found["mul"] == ["slice", "sigmoid"]
    assert found["mul1"] == ["update"]
    assert found["update"] == ["tanh", "mul"]


def test_a_slice_that_is_assigned_is_a_step() -> None:
    def run(m: Any, x: Any) -> Any:
        y = torch.zeros_like(x)
        y[:, 1:] = torch.relu(x[:, 1:])
        return y

    found = dict(steps(traced(Torch(run), image(2, 3, 4))))
    assert found["update"] == ["zeros_like", "relu"]


def test_modules_and_functions_are_seen_however_they_are_called() -> None:
    """forward() called directly, a leaf's weight used by hand, a user's leaf without weights."""

    class Mine(nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.cat([x, x.relu()], 1)

    module = Torch(lambda m, x: m.mine(F.linear(m.a.forward(x), m.b.weight)), a=nn.Linear(4, 4), b=nn.Linear(4, 4),
                   mine=Mine())  # fmt: skip
    assert steps(traced(module, image(2, 4))) == [
        ("dense", ["input", "a.weight", "a.bias"]),
        ("dense1", ["dense", "b.weight"]),
        ("relu", ["dense1"]),
        ("concat", ["dense1", "relu"]),
    ]


def test_a_detour_through_numpy_is_a_lost_origin() -> None:
    trace = traced(Torch(lambda m, x: torch.from_numpy(x.numpy() + 1).relu()), image(2, 4))
    assert not trace.complete
    assert "relu" in trace.lost[0]


# --- Keras -------------------------------------------------------------------------------------------


class Everything(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.conv = L.Conv2D(4, 3, padding="same", activation="relu")
        self.tail = keras.Sequential([L.Conv2D(4, 1, name="point"), L.ReLU(name="act")])
        self.scale = self.add_weight(shape=(4,), name="scale")

    def call(self, x: Any) -> Any:
        y = self.conv(x)
        y = y + self.tail(y * self.scale)
        low, high = ops.split(y, 2, axis=-1)
        joined = ops.concatenate([high, 1 - low], -1)
        return {"cat": joined, "mean": ops.mean(y[:, 1:], (1, 2))}


def test_keras_steps() -> None:
    model = Everything()
    model(image(1, 5, 6, 3))
    trace = traced(model, image(2, 5, 6, 3))
    assert steps(trace) == [
        ("conv", ["input"]),
        ("mul", ["conv", "scale"]),
        ("tail.point", ["mul"]),
        ("tail.act", ["tail.point"]),
        ("add", ["conv", "tail.act"]),
        ("slice", ["add"]),
        ("sub", ["slice"]),
        ("concat", ["slice:1", "sub"]),
        ("slice1", ["add"]),
        ("mean", ["slice1"]),
    ]
    assert trace.nodes[1].settings["activation"] == "relu"
    assert trace.complete


def test_operations_of_a_functional_model_and_raw_tensorflow() -> None:
    import tensorflow as tf

    class Raw(L.Layer):
        def call(self, x: Any) -> Any:
            return tf.nn.relu(x) if keras.config.backend() == "tensorflow" else ops.relu(x)

    i = keras.Input((5, 6, 3))
    x = Raw()(L.Conv2D(3, 1, name="c")(i)) * 2.0
    x = L.Concatenate(name="cat")([x, i])
    x = L.Activation("gelu", name="act")(L.Dropout(0.1, name="drop")(L.Flatten(name="flat")(x[:, 1:])))
    trace = traced(keras.Model(i, L.Dense(3, name="d")(ops.relu(x))), image(2, 5, 6, 3))
    assert [name for name, _ in steps(trace)] == [
        "c", "relu", "mul", "cat", "slice", "flat", "drop", "act", "relu", "d",
    ]  # fmt: skip
    assert trace.flattened["d"] == (4, 6, 6)
    assert {node.kind for node in trace.nodes if node.path == "act"} == {"gelu"}


# --- both --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_a_trace_is_a_forward_pass(name: str) -> None:
    """The same outputs bit for bit, one call of each layer's call, complete, in order, acyclic."""
    case = CASES[name]
    model, module = case.build()
    inputs = case.inputs()
    from parity.adapters.probe import to_torch_inputs

    for side, values in ((adapt(model), inputs), (adapt(module), to_torch_inputs(inputs, adapt(model)))):
        outputs, trace = side.trace(values)
        for (name, ours), (other, theirs) in zip(outputs, side.forward(values), strict=True):
            assert name == other
            assert np.array_equal(ours, theirs)
        assert trace.complete, trace.lost
        assert [node.id for node in trace.nodes] == list(range(len(trace.nodes)))
        assert all(source.node < node.id for node in trace.nodes for source in node.inputs)
        again = side.trace(values)[1]
        assert [(node.kind, node.inputs, node.shapes) for node in again.nodes] == [
            (node.kind, node.inputs, node.shapes) for node in trace.nodes
        ]


@pytest.mark.parametrize("name", CASES)
def test_several_graphs_of_one_pass_are_those_of_a_pass_each(name: str) -> None:
    """Each as it is alone, whichever stands around which, and the model runs once."""
    case = CASES[name]
    model, module = case.build()
    inputs = case.inputs()
    from parity.adapters.probe import to_torch_inputs

    looks = [Look(inside=True), Look(attention=True), Look()]
    for side, values in ((adapt(model), inputs), (adapt(module), to_torch_inputs(inputs, adapt(model)))):
        outputs, traces = side.traces(values, looks)
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(outputs, side.forward(values), strict=True))
        for look, found in zip(looks, traces, strict=True):
            alone = side.traces(values, [look])[1][0]
            assert [str(node) for node in found.nodes] == [str(node) for node in alone.nodes]
            assert [node.spot for node in found.nodes] == [node.spot for node in alone.nodes]
            assert (found.lost, found.flattened, found.outputs) == (
                alone.lost,
                alone.flattened,
                alone.outputs,
            )


class Swap(NodeObserver):
    """Keeps every output, and puts something else in the place of some operands and outputs."""

    def __init__(self, before: str = "", after: str = "") -> None:
        self.swaps = before, after
        self.kept: dict[int, list[Array]] = {}

    def before(self, node: Node, inputs: Values) -> list[Array] | None:
        return [value * 0 for value in inputs()] if node.kind == self.swaps[0] else None

    def after(self, node: Node, outputs: Values) -> list[Array] | None:
        self.kept[node.id] = outputs()
        return [value * 0 + 1 for value in outputs()] if node.kind == self.swaps[1] else None


@pytest.mark.parametrize("side", ["keras", "torch"])
def test_an_observer_sees_values_and_replaces_them(side: str) -> None:
    i = keras.Input((4,))
    model = keras.Model(i, ops.tanh(L.Dense(3, name="d")(i) + 1.0) * 2.0)
    module = Torch(lambda m, x: torch.tanh(m.d(x) + 1.0) * 2.0, d=nn.Linear(4, 3))
    adapter, x = adapt(model if side == "keras" else module), image(2, 4)
    observer = Swap()
    outputs, trace = adapter.trace([x], observer)
    last = trace.outputs[0][1]
    assert np.array_equal(observer.kept[last.node][last.output], outputs[0][1])
    assert {node.id for node in trace.nodes if node.sort in {"layer", "op"}} == set(observer.kept)
    assert np.allclose(adapter.trace([x], Swap(after="dense"))[0][0][1], 2 * np.tanh(2.0))
    assert np.allclose(adapter.trace([x], Swap(before="tanh"))[0][0][1], 0.0)
    assert np.allclose(adapter.trace([x], Swap(after="add"))[0][0][1], 2 * np.tanh(1.0))


def test_a_trace_keeps_no_activation_alive() -> None:
    alive: list[Any] = []
    counts: list[int] = []

    def run(m: Any, x: Any) -> Any:
        for _ in range(12):
            x = torch.tanh(m.d(x))
            alive.append(weakref.ref(x))
            counts.append(sum(item() is not None for item in alive))
        return x

    traced(Torch(run, d=nn.Linear(4, 4)), image(2, 4))
    assert max(counts) <= 2


def test_what_was_wrapped_is_put_back() -> None:
    from keras.src import backend

    before = backend.nn.relu, backend.cast, L.Layer.__call__, nn.Module.__call__
    i = keras.Input((4,))
    with pytest.raises(ValueError, match="incompatible"):
        traced(keras.Model(i, L.Dense(3)(i)), image(2, 5))
    with pytest.raises(RuntimeError):
        traced(nn.Linear(4, 3), image(2, 5))
    assert (backend.nn.relu, backend.cast, L.Layer.__call__, nn.Module.__call__) == before


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("__iadd__", "add"), ("AddV2", "add"), ("max_pool2d", "max_pool"), ("MaxPooling2D", "max_pool"),
        ("relu_", "relu"), ("ReLU6", "relu6"), ("Conv2DTranspose", "conv_transpose"), ("interpolate", "resize"),
        ("AdaptiveAvgPool2d", "mean"), ("swish", "silu"), ("something_else", "something_else"),
    ],
)  # fmt: skip
def test_one_name_for_one_thing(name: str, kind: str) -> None:
    assert canonical(name) == kind


# --- the store ----------------------------------------------------------------------------------------


def test_the_store_spills_and_gives_back_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    arrays = {i: rng.standard_normal((10, 100)) for i in range(8)}
    with Store(limit=3 * 8000) as store:
        for i, array in arrays.items():
            store[i] = array
            assert store.held <= 3 * 8000
        assert store.spilled == 5
        assert all(np.array_equal(store[i], array) for i, array in arrays.items())
        folder = Path(store._folder.name)
        assert len(list(folder.iterdir())) == 5
    assert not folder.exists()
    assert len(store) == 0


def test_the_store_holds_equal_arrays_once() -> None:
    array = np.random.default_rng(0).standard_normal(1000)
    other = array.copy()
    other[1] += 1  # beyond the elements that a cheap look compares
    with Store(limit=8000) as store:
        store["a"], store["b"] = array, array.copy()
        assert store.held == array.nbytes
        assert store.spilled == 0
        store["c"] = other
        assert np.array_equal(store["a"], array)
        assert np.array_equal(store["c"], other)
        assert list(store) == ["a", "b", "c"]
        assert "d" not in store
