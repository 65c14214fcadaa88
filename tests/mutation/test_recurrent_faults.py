"""Faults of recurrent pairs: each is named at its step, with a fix that was tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from tests.unit.test_recurrence import (
    KERAS,
    SIZE,
    STEPS,
    UNITS,
    Encoder,
    LastValid,
    Loop,
    Port,
    encoder,
    every_step,
    last_states,
    masked,
    model,
    sequences,
    stacked,
    time_major,
    tokens,
)

Pair = tuple[Any, nn.Module, Any]
CELLS = (L.LSTMCell, L.GRUCell, L.SimpleRNNCell)


def copied(keras_model: Any, module: nn.Module, inputs: Any) -> Pair:
    randomise(adapt(module), 0)
    parity.transfer(module, keras_model, inputs=inputs)
    return keras_model, module, inputs


def cells_of(keras_model: Any) -> list[Any]:
    return [layer for layer in adapt(keras_model).objects.values() if isinstance(layer, CELLS)]


def exchanged(pair: Pair, order: tuple[int, ...]) -> Pair:
    """The blocks of every gate in another order in Keras, as a copy by hand leaves them."""
    for cell in cells_of(pair[0]):
        values = [
            np.concatenate([np.split(v, len(order), -1)[i] for i in order], -1) for v in cell.get_weights()
        ]
        cell.set_weights(values)
    return pair


def first_bias_alone(pair: Pair, *names: str) -> Pair:
    for cell, name in zip(cells_of(pair[0]), names, strict=True):
        cell.bias.assign(dict(pair[1].named_parameters())[name].detach().numpy())
    return pair


class Unpacked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(20, SIZE), nn.Linear(2 * UNITS, 3)
        self.rec = nn.GRU(SIZE, UNITS, batch_first=True, bidirectional=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([*self.rec(self.table(ids.long()))[1]], -1))


def masked_gru() -> Any:
    inputs = keras.Input((9,), dtype="int32")
    x = L.Bidirectional(L.GRU(UNITS))(L.Embedding(20, SIZE, mask_zero=True)(inputs))
    return keras.Model(inputs, L.Dense(3)(x))


class LastStep(LastValid):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.rec(self.table(ids.long()))[0][:, -1])


class LastStates(LastValid):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.rec(self.table(ids.long()))[1][0][-1])


class PackedOnce(LastValid):
    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        lengths = (ids != 0).sum(1).cpu()
        x = pack_padded_sequence(self.table(ids.long()), lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.rec(x)[1][0][-1])


def unmasked() -> Any:
    inputs = keras.Input((9,), dtype="int32")
    return keras.Model(inputs, L.Dense(3)(L.LSTM(UNITS)(L.Embedding(20, SIZE)(inputs))))


def tanh_behind(rec: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(rec(x)[0])


def at_the_end(rec: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return rec(x)[0][:, -1]


class Forgetful(Encoder):
    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        self.enc(x)
        return self.head(self.dec(z)[0])


class Exchanged(Encoder):
    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return self.head(self.dec(z, self.enc(x)[1][::-1])[0])


def started(kind: str) -> Any:
    inputs, state = keras.Input((STEPS, SIZE)), keras.Input((UNITS,))
    y = KERAS[kind](UNITS, return_sequences=True)(inputs, initial_state=state)
    return keras.Model([inputs, state], L.Dense(3)(y))


class ExtraTanh(nn.Module):
    """A tanh behind a bidirectional module that has applied it already, in front of another one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(SIZE, UNITS, batch_first=True, bidirectional=True)
        self.second = nn.LSTM(2 * UNITS, UNITS, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * UNITS, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(torch.tanh(self.first(x)[0]))[0])


class TwoWays(Port):
    """Two modules for the two directions; the second one's result is not turned back."""

    def __init__(self) -> None:
        super().__init__(every_step, 2 * UNITS)
        self.back = nn.LSTM(SIZE, UNITS, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.rec(x)[0], self.back(x.flip(1))[0]], -1))


def both_ways(kind: str, sequence: bool = True, count: int = 1) -> Any:
    return stacked(kind, count, both=True, sequence=sequence)


def two_ways(take: Any = every_step, **options: Any) -> nn.Module:
    return Port(take, 2 * UNITS, bidirectional=True, **options)


def reset_before(layer: Callable[[Any], Any] = lambda gru: gru, sequence: bool = False) -> Any:
    return model(layer(L.GRU(UNITS, reset_after=False, return_sequences=sequence)))


X = sequences()
FAULTS: dict[tuple[str, str], Callable[[], Pair]] = {
    ("gate-order", "gru2"): lambda: exchanged(
        copied(stacked("gru", 2), Port(every_step, kind="gru", num_layers=2), X), (1, 0, 2)
    ),
    ("gate-order", "bilstm"): lambda: exchanged(copied(both_ways("lstm"), two_ways(), X), (0, 1, 3, 2)),
    ("gate-order", "cells"): lambda: exchanged(
        copied(model(L.RNN(L.GRUCell(UNITS), return_sequences=True), 4), Loop("gru", True), sequences(4)), (1, 0, 2)
    ),
    ("recurrent-bias", "lstm"): lambda: first_bias_alone(
        copied(stacked("lstm"), Port(every_step), X), "rec.bias_ih_l0"
    ),
    ("recurrent-bias", "rnn-last"): lambda: first_bias_alone(
        copied(stacked("rnn", sequence=False), Port(last_states, kind="rnn"), X), "rec.bias_hh_l0"
    ),
    ("recurrent-bias", "bilstm"): lambda: first_bias_alone(
        copied(both_ways("lstm"), two_ways(), X), "rec.bias_ih_l0", "rec.bias_ih_l0_reverse"
    ),
    ("reset-after", "gru-last"): lambda: copied(reset_before(), Port(last_states, kind="gru"), X),
    ("reset-after", "bigru"): lambda: copied(reset_before(L.Bidirectional, True), two_ways(kind="gru"), X),
    ("reset-after", "time-major"): lambda: copied(
        reset_before(sequence=True), Port(time_major, kind="gru", batch_first=False), X
    ),
    ("sequence-mask", "bigru"): lambda: copied(masked_gru(), Unpacked(), tokens()),
    ("sequence-mask", "lstm"): lambda: copied(masked(False), LastStates(), tokens()),
    ("sequence-mask", "packed-lstm"): lambda: copied(unmasked(), PackedOnce(), tokens()),
    ("sequence-direction", "gru"): lambda: copied(
        model(L.GRU(UNITS, go_backwards=True, return_sequences=True)), Port(every_step, kind="gru"), X
    ),
    ("sequence-direction", "gru-behind"): lambda: copied(
        model(L.GRU(UNITS, go_backwards=True, return_sequences=True)),
        Port(lambda rec, x: rec(x.flip(1))[0].flip(1), kind="gru"), X,
    ),
    ("sequence-direction", "bilstm"): lambda: copied(both_ways("lstm"), TwoWays(), X),
    ("sequence-step", "bilstm"): lambda: copied(both_ways("lstm", False), two_ways(at_the_end), X),
    ("sequence-step", "bigru2"): lambda: copied(
        both_ways("gru", False, 2), two_ways(at_the_end, kind="gru", num_layers=2), X
    ),
    ("sequence-step", "rnn-first"): lambda: copied(
        stacked("rnn", sequence=False), Port(lambda rec, x: rec(x)[0][:, 0], kind="rnn"), X
    ),
    ("initial-state", "encoder"): lambda: copied(encoder(), Forgetful(), [X, sequences(4, seed=1)]),
    ("initial-state", "exchanged"): lambda: copied(encoder(), Exchanged(), [X, sequences(4, seed=1)]),
    ("initial-state", "gru"): lambda: copied(
        started("gru"), Port(lambda rec, x, state: rec(x)[0], kind="gru"), [X, sequences(UNITS, 3)[:, :, 0]]
    ),
    ("activation-kind", "rnn"): lambda: copied(
        model(L.SimpleRNN(UNITS, activation="relu")), Port(last_states, kind="rnn"), X
    ),
    ("activation-kind", "gates"): lambda: copied(
        model(L.LSTM(UNITS, recurrent_activation="hard_sigmoid")), Port(last_states), X
    ),
    ("activation-missing", "bilstm2"): lambda: copied(both_ways("lstm", True, 2), ExtraTanh(), X),
    ("activation-missing", "bilstm"): lambda: copied(both_ways("lstm"), two_ways(tanh_behind), X),
}  # fmt: skip


@pytest.mark.parametrize(("cause", "name"), FAULTS)
def test_a_recurrent_fault_is_named_with_a_fix_that_was_tried(cause: str, name: str) -> None:
    keras_model, module, inputs = FAULTS[cause, name]()
    report = parity.compare(keras_model, module, inputs=inputs, quick=True)
    assert report.verdict == "DIVERGED"
    assert {finding.cause for finding in report.findings} == {cause}, str(report)
    assert all(finding.fix_verified for finding in report.findings), str(report)


def test_every_layer_with_its_gates_exchanged_is_a_place() -> None:
    report = parity.compare(*FAULTS["gate-order", "gru2"](), quick=True)
    assert [finding.torch for finding in report.findings] == ["rec.l0", "rec.l1"]


def test_padding_and_the_step_taken_are_two_causes() -> None:
    report = parity.compare(*copied(masked(False), LastStep(), tokens()), quick=True)
    assert {finding.cause for finding in report.findings} == {"sequence-mask", "sequence-step"}, str(report)
