"""Recurrent cells that torch code writes out are paired with Keras' layers, copied and compared, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from keras import layers as kl
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from tests.written_cells import (
    LSTM_ORDERS,
    ConvLSTMCell,
    LinearGRUCell,
    LinearLSTMCell,
    PlainCell,
    TwoConvLSTMCell,
    UsualGRUCell,
    both_ways_pair,
    film_pair,
    one_product_pair,
    sequence_pair,
    signal_pair,
    volume_pair,
)

PAIRS: dict[str, Callable[[], Any]] = {
    "LSTM": partial(sequence_pair, LinearLSTMCell, kl.LSTM),
    "LSTM, last step": partial(sequence_pair, LinearLSTMCell, kl.LSTM, sequences=False),
    "LSTM, one bias": partial(sequence_pair, partial(LinearLSTMCell, bias=False), kl.LSTM),
    "LSTM, three": partial(sequence_pair, LinearLSTMCell, kl.LSTM, count=3),
    "GRU": partial(sequence_pair, LinearGRUCell, kl.GRU, 1),
    "GRU, usual form": partial(sequence_pair, UsualGRUCell, kl.GRU, 1),
    "SimpleRNN": partial(sequence_pair, PlainCell, kl.SimpleRNN, 1, count=2),
    "ConvLSTM": partial(film_pair, ConvLSTMCell),
    "ConvLSTM, state first": partial(film_pair, partial(ConvLSTMCell, order="ifgo", state_first=True)),
    "ConvLSTM, two": partial(film_pair, ConvLSTMCell, 2),
    "ConvLSTM, as many frames as channels": partial(film_pair, ConvLSTMCell, 1, 3),
    "ConvLSTM, two convolutions": partial(film_pair, TwoConvLSTMCell),
    "ConvLSTM, two biases": partial(film_pair, partial(TwoConvLSTMCell, bias=True)),
    "ConvLSTM of signals": signal_pair,
    "ConvLSTM of volumes": volume_pair,
    "LSTM, both ways": both_ways_pair,
    "LSTM, one product of the input": one_product_pair,
}


def values(keras: Any) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, *keras.input_shape[1:])).astype("float32")


def made(build: Callable[[], Any], first: str) -> tuple[Any, nn.Module, np.ndarray]:
    """A pair of which one side has random weights."""
    keras, module = build()
    randomise(adapt(module if first == "torch" else keras), 0)
    return keras, module, values(keras)


def keras_with_relu(keras: Any) -> Any:
    return type(keras)(keras.inputs, kl.ReLU()(keras.outputs[0]))


def refused(build: Callable[[], Any]) -> str:
    keras, module, inputs = made(build, "torch")
    with pytest.raises(parity.PairingError) as error:
        parity.transfer(module, keras, inputs=inputs)
    return str(error.value)


@pytest.mark.parametrize("first", ["torch", "keras"])
@pytest.mark.parametrize("name", PAIRS)
def test_weights_go_to_the_other_side(name: str, first: str) -> None:
    keras, module, inputs = made(PAIRS[name], first)
    parity.transfer(*((module, keras) if first == "torch" else (keras, module)), inputs=inputs)
    report = parity.compare(keras, module, inputs)
    assert report, str(report)
    assert not report.unproven


@pytest.mark.parametrize("name", PAIRS)
def test_weights_come_back_as_they_were(name: str) -> None:
    keras, module, inputs = made(PAIRS[name], "keras")
    before = [np.array(weight) for weight in keras.get_weights()]
    parity.transfer(keras, module, inputs=inputs)
    keras.set_weights([np.zeros_like(weight) for weight in before])
    parity.transfer(module, keras, inputs=inputs)
    assert all(np.array_equal(a, b) for a, b in zip(before, keras.get_weights(), strict=True))


@pytest.mark.parametrize("order", LSTM_ORDERS)
def test_any_order_of_gates_is_found(order: str) -> None:
    build = partial(sequence_pair, partial(LinearLSTMCell, order=order), kl.LSTM)
    keras, module, inputs = made(build, "torch")
    parity.transfer(module, keras, inputs=inputs)
    given, wanted = keras.get_weights()[0].T, module.cells[0].x2h.weight.detach().numpy()
    blocks = {gate: wanted[4 * place : 4 * place + 4] for place, gate in enumerate(order)}
    assert np.array_equal(given, np.concatenate([blocks[gate] for gate in "ifgo"]))


@pytest.mark.parametrize("name", ["LSTM, one bias", "GRU", "ConvLSTM", "ConvLSTM, two convolutions"])
def test_gradients_and_steps_agree(name: str) -> None:
    keras, module, inputs = made(PAIRS[name], "torch")
    parity.transfer(module, keras, inputs=inputs)
    report = parity.compare(keras, module, inputs, quick=True, gradients=True, train_steps=2)
    assert report, str(report)


def test_two_biases_train_twice_as_fast() -> None:
    keras, module, inputs = made(PAIRS["LSTM"], "torch")
    parity.transfer(module, keras, inputs=inputs)
    report = parity.compare(keras, module, inputs, quick=True, gradients=True, train_steps=2)
    assert [finding.cause for finding in report.findings] == ["recurrent-bias"]


@pytest.mark.parametrize("name", ["LSTM, three", "ConvLSTM"])
def test_gates_copied_in_another_order_are_named(name: str) -> None:
    keras, module, inputs = made(PAIRS[name], "torch")
    parity.transfer(module, keras, inputs=inputs)
    with torch.no_grad():
        for weight in module.cells.parameters():
            blocks = weight.view(4, -1, *weight.shape[1:])
            weight.copy_(blocks[[0, 1, 3, 2]].reshape(weight.shape))
    report = parity.compare(keras, module, inputs, quick=True)
    assert report.verdict == "DIVERGED"
    assert {(finding.cause, finding.fix_verified) for finding in report.findings} == {("gate-order", True)}
    assert len(report.findings) == len(module.cells)


@pytest.mark.parametrize(("name", "cause"), [("bias", None), ("weight", "weight-not-copied")])
def test_other_weights_are_named(name: str, cause: str | None) -> None:
    keras, module, inputs = made(PAIRS["ConvLSTM"], "torch")
    parity.transfer(module, keras, inputs=inputs)
    with torch.no_grad():
        getattr(module.cells[0].conv, name).add_(0.1)
    (finding,) = parity.compare(keras, module, inputs, quick=True).findings
    assert finding.evidence.startswith("bias of" if name == "bias" else "kernel, recurrent_kernel of")
    assert finding.keras.endswith(".cell")
    assert finding.cause == cause
    assert finding.fix_verified


def test_a_difference_behind_the_cell_is_still_said() -> None:
    build = partial(film_pair, ConvLSTMCell, recurrent_activation="hard_sigmoid")
    keras, module, inputs = made(build, "torch")
    module.head = nn.Sequential(module.head, nn.ReLU())
    keras = keras_with_relu(keras)
    parity.transfer(module, keras, inputs=inputs)
    with torch.no_grad():
        module.head[0].bias[0] = -50.0
        parity.transfer(module, keras, inputs=inputs)
        module.head[0].bias[0] = -60.0
    findings = parity.compare(keras, module, inputs, quick=True).findings
    assert [finding.cause for finding in findings] == ["activation-kind", "weight-not-copied"]


ACTIVATIONS: dict[str, tuple[Callable[[], Any], str]] = {
    "ConvLSTM": (partial(film_pair, ConvLSTMCell, 2, recurrent_activation="hard_sigmoid"), "recurrent_activation"),
    "GRU": (partial(sequence_pair, LinearGRUCell, partial(kl.GRU, recurrent_activation="hard_sigmoid"), 1),
            "recurrent_activation"),
    "LSTM": (partial(sequence_pair, LinearLSTMCell, partial(kl.LSTM, activation="relu"), count=2), "activation"),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_another_activation_is_named(name: str) -> None:
    build, where = ACTIVATIONS[name]
    keras, module, inputs = made(build, "torch")
    parity.transfer(module, keras, inputs=inputs)
    report = parity.compare(keras, module, inputs, quick=True)
    assert report.verdict == "DIVERGED"
    assert {(finding.cause, finding.fix_verified) for finding in report.findings} == {
        ("activation-kind", True)
    }
    assert all(finding.evidence.startswith(where) for finding in report.findings)


@pytest.mark.parametrize("name", ["LSTM, three", "GRU", "GRU, usual form", "ConvLSTM, two"])
def test_a_difference_elsewhere_is_named_there(name: str) -> None:
    keras, module, inputs = made(PAIRS[name], "torch")
    module.head = nn.Sequential(module.head, nn.ReLU())
    parity.transfer(module, keras, inputs=inputs)
    report = parity.compare(keras, module, inputs, quick=True)
    assert [finding.cause for finding in report.findings] == ["activation-missing"]


def test_cells_with_gates_in_two_orders() -> None:
    keras, module = sequence_pair(LinearLSTMCell, kl.LSTM, count=2)
    module.cells[1].order = "ogfi"
    inputs = values(keras)
    parity.transfer(module, keras, inputs=inputs)
    report = parity.compare(keras, module, inputs, quick=True)
    assert report, str(report)


def test_a_cell_of_another_formula_is_refused() -> None:
    text = refused(partial(sequence_pair, partial(LinearGRUCell, turned=True), kl.GRU, 1))
    assert "GRUCell" in text
    assert "h2h" in text
    assert "GRUCell" in refused(partial(sequence_pair, partial(UsualGRUCell, turned=True), kl.GRU, 1))
    assert "GRUCell" in refused(partial(sequence_pair, LinearGRUCell, partial(kl.GRU, reset_after=False), 1))


def test_a_bias_that_keras_has_no_place_for_is_refused() -> None:
    text = refused(partial(sequence_pair, LinearLSTMCell, partial(kl.LSTM, use_bias=False)))
    assert "x2h.bias must be all 0" in text
