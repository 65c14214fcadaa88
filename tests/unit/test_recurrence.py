"""Recurrent layers: every pass of a cell along the sequence is paired, copied and compared, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.weights.checkpoint import convert

STEPS, SIZE, UNITS = 7, 6, 5
KERAS = {"lstm": L.LSTM, "gru": L.GRU, "rnn": L.SimpleRNN}
TORCH = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
CELLS = {"lstm": L.LSTMCell, "gru": L.GRUCell, "rnn": L.SimpleRNNCell}


def sequences(steps: int = STEPS, size: int = SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((3, steps, size)).astype("float32")


def tokens() -> np.ndarray:
    found = np.random.default_rng(0).integers(1, 20, (3, 9)).astype("int32")
    found[0, 6:] = found[2, 4:] = 0
    return found


class Port(nn.Module):
    """A recurrent module and a dense layer; `take` chooses what the layer gets."""

    def __init__(
        self, take: Callable[..., torch.Tensor], width: int = UNITS, kind: str = "lstm", **options: Any
    ) -> None:
        super().__init__()
        options = {"batch_first": True, **options}
        self.rec = TORCH[kind](options.pop("size", SIZE), UNITS, **options)
        self.head, self.take = nn.Linear(width, 3), take

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.take(self.rec, *inputs))


def model(rest: Callable[[Any], Any], steps: int | None = STEPS, size: int = SIZE) -> Any:
    inputs = keras.Input((steps, size))
    return keras.Model(inputs, L.Dense(3)(rest(inputs)))


def every_step(rec: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return rec(x)[0]


def last_states(rec: nn.Module, x: torch.Tensor) -> torch.Tensor:
    last = rec(x)[1]
    hidden = last[0] if isinstance(last, tuple) else last
    return torch.cat([hidden[-2], hidden[-1]], -1) if rec.bidirectional else hidden[-1]


def stacked(kind: str, count: int = 1, both: bool = False, sequence: bool = True) -> Any:
    def rest(x: Any) -> Any:
        for number in range(count):
            layer = KERAS[kind](UNITS, return_sequences=sequence or number < count - 1)
            x = L.Bidirectional(layer)(x) if both else layer(x)
        return x

    return model(rest)


class Packed(nn.Module):
    """Embedding, packed sequences through two recurrent modules, and the last valid states."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, SIZE)
        self.first = nn.GRU(SIZE, UNITS, batch_first=True, bidirectional=True)
        self.second, self.head = nn.LSTM(2 * UNITS, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        lengths = (ids != 0).sum(1).cpu()
        x = pack_padded_sequence(self.table(ids.long()), lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.second(self.first(x)[0])[1][0][-1])


def masked(bidirectional: bool = True) -> Any:
    inputs = keras.Input((9,), dtype="int32")
    x = L.Embedding(20, SIZE, mask_zero=True)(inputs)
    if not bidirectional:
        return keras.Model(inputs, L.Dense(3)(L.LSTM(UNITS)(x)))
    x = L.Bidirectional(L.GRU(UNITS, return_sequences=True))(x)
    return keras.Model(inputs, L.Dense(3)(L.LSTM(4)(x)))


class LastValid(nn.Module):
    """Runs over the padding, and takes the last valid step."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.rec = nn.Embedding(20, SIZE), nn.LSTM(SIZE, UNITS, batch_first=True)
        self.head = nn.Linear(UNITS, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        y = self.rec(self.table(ids.long()))[0]
        return self.head(y[torch.arange(len(ids)), (ids != 0).sum(1) - 1])


class Encoder(nn.Module):
    """The last states of one module are the first ones of another."""

    def __init__(self) -> None:
        super().__init__()
        self.enc, self.dec = nn.LSTM(SIZE, UNITS, batch_first=True), nn.LSTM(SIZE, UNITS, batch_first=True)
        self.head = nn.Linear(UNITS, 3)

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return self.head(self.dec(z, self.enc(x)[1])[0])


def encoder() -> Any:
    inputs, more = keras.Input((STEPS, SIZE)), keras.Input((4, SIZE))
    _, *states = L.LSTM(UNITS, return_state=True)(inputs)
    y = L.LSTM(UNITS, return_sequences=True)(more, initial_state=states)
    return keras.Model([inputs, more], L.Dense(3)(y))


class Loop(nn.Module):
    """A cell, called step by step."""

    def __init__(self, kind: str, sequence: bool) -> None:
        super().__init__()
        self.cell = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}[kind](SIZE, UNITS)
        self.head, self.sequence = nn.Linear(UNITS, 3), sequence

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state, found = None, []
        for step in x.unbind(1):
            state = self.cell(step, state)
            found.append(state[0] if isinstance(state, tuple) else state)
        return self.head(torch.stack(found, 1) if self.sequence else found[-1])


def merged(mode: str) -> tuple[Any, nn.Module]:
    def take(rec: nn.Module, x: torch.Tensor) -> torch.Tensor:
        a, b = rec(x)[0].chunk(2, -1)
        return {"sum": a + b, "ave": (a + b) / 2, "mul": a * b}[mode]

    layer = L.Bidirectional(L.GRU(UNITS, return_sequences=True), merge_mode=mode)
    return model(layer), Port(take, kind="gru", bidirectional=True)


def time_major(rec: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return rec(x.transpose(0, 1))[0].transpose(0, 1)


def turned(rec: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return rec(x.flip(1))[0]


PAIRS: dict[str, Callable[[], tuple[Any, nn.Module, Any]]] = {
    **{kind: lambda kind=kind: (stacked(kind), Port(every_step, kind=kind), sequences()) for kind in KERAS},
    "lstm-last": lambda: (stacked("lstm", sequence=False), Port(last_states), sequences()),
    "gru-last-step": lambda: (
        stacked("gru", sequence=False),
        Port(lambda rec, x: rec(x)[0][:, -1], kind="gru"),
        sequences(),
    ),
    "bilstm": lambda: (stacked("lstm", both=True), Port(every_step, 2 * UNITS, bidirectional=True), sequences()),
    "bigru2-last": lambda: (
        stacked("gru", 2, both=True, sequence=False),
        Port(last_states, 2 * UNITS, kind="gru", num_layers=2, bidirectional=True),
        sequences(),
    ),
    "lstm2": lambda: (stacked("lstm", 2), Port(every_step, num_layers=2), sequences()),
    "lstm2-cells": lambda: (
        model(L.RNN([L.LSTMCell(UNITS), L.LSTMCell(UNITS)], return_sequences=True)),
        Port(every_step, num_layers=2),
        sequences(),
    ),
    **{f"merge-{mode}": lambda mode=mode: (*merged(mode), sequences()) for mode in ("sum", "ave", "mul")},
    "encoder": lambda: (encoder(), Encoder(), [sequences(), sequences(4, seed=1)]),
    "time-major": lambda: (stacked("lstm", 2), Port(time_major, num_layers=2, batch_first=False), sequences()),
    "backwards": lambda: (
        model(L.GRU(UNITS, go_backwards=True, return_sequences=True)),
        Port(turned, kind="gru"),
        sequences(),
    ),
    "rnn-relu-no-bias": lambda: (
        model(L.SimpleRNN(UNITS, activation="relu", use_bias=False)),
        Port(last_states, kind="rnn", nonlinearity="relu", bias=False),
        sequences(),
    ),
    "square": lambda: (
        model(L.GRU(UNITS, return_sequences=True), UNITS, UNITS),
        Port(every_step, kind="gru", size=UNITS),
        sequences(UNITS, UNITS),
    ),
    "packed": lambda: (masked(), Packed(), tokens()),
    "last-valid": lambda: (masked(False), LastValid(), tokens()),
    **{
        f"cell-{kind}": lambda kind=kind: (
            model(L.RNN(CELLS[kind](UNITS), return_sequences=True), 4),
            Loop(kind, True),
            sequences(4),
        )
        for kind in KERAS
    },
}  # fmt: skip


@pytest.mark.parametrize("way", ["to torch", "to Keras"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_recurrent_pair_is_copied_and_equal(name: str, way: str) -> None:
    keras_model, module, inputs = PAIRS[name]()
    source, target = (keras_model, module) if way == "to torch" else (module, keras_model)
    randomise(adapt(source), 0)
    parity.transfer(source, target, inputs=inputs)
    report = parity.compare(keras_model, module, inputs=inputs, quick=True)
    assert report.verdict == "EQUAL", str(report)
    assert report.max_rel_diff < 1e-13


@pytest.mark.parametrize("name", ["lstm", "gru", "bigru2-last", "packed", "cell-gru"])
def test_gradients_of_a_recurrent_pair_are_equal(name: str) -> None:
    keras_model, module, inputs = PAIRS[name]()
    randomise(adapt(module), 0)
    parity.transfer(module, keras_model, inputs=inputs)
    report = parity.compare(keras_model, module, inputs=inputs, quick=True, gradients=True)
    assert report.verdict == "EQUAL", str(report)


@pytest.mark.parametrize("name", ["gru", "cell-gru"])
def test_steps_of_a_gru_are_equal(name: str) -> None:
    keras_model, module, inputs = PAIRS[name]()
    parity.transfer(module, keras_model, inputs=inputs)
    report = parity.compare(keras_model, module, inputs=inputs, quick=True, train_steps=2, match_rules=True)
    assert report.verdict == "EQUAL", str(report)


@pytest.mark.parametrize("name", ["lstm", "rnn", "packed"])
def test_two_biases_learn_twice_as_fast_as_one(name: str) -> None:
    keras_model, module, inputs = PAIRS[name]()
    parity.transfer(module, keras_model, inputs=inputs)
    report = parity.compare(keras_model, module, inputs=inputs, quick=True, train_steps=2)
    assert report.verdict == "DIVERGED"
    assert {(f.cause, f.fix_verified) for f in report.findings} == {("recurrent-bias", True)}, str(report)
    held = parity.compare(keras_model, module, inputs=inputs, quick=True, train_steps=2, match_rules=True)
    assert held.verdict == "EQUAL", str(held)
    for path, parameter in module.named_parameters():
        parameter.requires_grad_("bias_hh" not in path or (name == "packed" and "first" in path))
    mended = parity.compare(keras_model, module, inputs=inputs, quick=True, train_steps=2)
    assert mended.verdict == "EQUAL", str(mended)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
@pytest.mark.parametrize("name", ["lstm", "rnn"])
def test_two_biases_and_an_optimizer_s_own_rule_are_told_apart(name: str, optimizer: str) -> None:
    keras_model, module, inputs = PAIRS[name]()
    randomise(adapt(module), 0)
    parity.transfer(module, keras_model, inputs=inputs)
    both: dict[str, Any] = {"quick": True, "train_steps": 2, "optimizer": optimizer}
    report = parity.compare(keras_model, module, inputs=inputs, **both, match_rules=True)
    assert report.verdict == "EQUAL", str(report)
    assert parity.compare(keras_model, module, inputs=inputs, **both).verdict == "DIVERGED"


@pytest.mark.parametrize("layer", ["{}", "{}.cell"])
def test_a_mapping_may_name_the_layer_or_its_cell(layer: str) -> None:
    keras_model, module, inputs = PAIRS["gru"]()
    name = keras_model.layers[1].name
    for target in ("rec", "rec.l0"):
        if (layer, target) != ("{}.cell", "rec"):
            found = parity.transfer(module, keras_model, mapping={layer.format(name): target}, inputs=inputs)
            assert (f"{name}.cell", "rec.l0") in found.pairs


def test_a_square_tensor_that_is_mapped_is_transposed_and_its_gates_exchanged() -> None:
    keras_model, module, inputs = PAIRS["square"]()
    cell = f"{keras_model.layers[1].name}.cell"
    parity.transfer(module, keras_model, {f"{cell}.kernel": "rec.weight_ih_l0"}, inputs)
    r, z, n = np.split(module.rec.weight_ih_l0.detach().numpy(), 3)
    wanted = np.concatenate([z, r, n]).T
    assert np.array_equal(keras_model.layers[1].cell.kernel.numpy(), wanted)


def test_short_packed_sequences_of_one_length_are_turned_within_it() -> None:
    """Behind the end there is padding that no sequence reaches; a batch of one has such padding."""
    keras_model, module, inputs = PAIRS["packed"]()
    parity.transfer(module, keras_model, inputs=inputs)
    report = parity.compare(keras_model, module, inputs=inputs[:1], quick=False)
    assert report.verdict == "EQUAL", str(report)


def test_a_projection_has_no_counterpart() -> None:
    module = Port(every_step, 3, proj_size=3)
    with pytest.raises(parity.PairingError, match="weight_hr_l0"):
        parity.transfer(module, model(L.LSTM(UNITS, return_sequences=True)), inputs=sequences())


def gru_pair() -> tuple[Any, nn.Module]:
    return stacked("gru"), Port(every_step, kind="gru")


def lstm_pair() -> tuple[Any, nn.Module]:
    return stacked("lstm"), Port(every_step)


@pytest.mark.parametrize("pair", [gru_pair, lstm_pair])
def test_momentum_goes_over_and_back(pair: Callable[[], tuple[Any, nn.Module]]) -> None:
    keras_model, module = pair()
    parity.transfer(module, keras_model, inputs=sequences())
    torch_optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.from_numpy(sequences())).square().sum().backward()
    torch_optimizer.step()
    keras_optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    parity.transfer_optimizer(torch_optimizer, keras_optimizer, module, keras_model)
    back = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    parity.transfer_optimizer(keras_optimizer, back, keras_model, module)
    for name, parameter in module.named_parameters():
        wanted = torch_optimizer.state[parameter]["momentum_buffer"]
        assert wanted.abs().max() > 0
        torch.testing.assert_close(back.state[parameter]["momentum_buffer"], wanted, msg=name)


@pytest.mark.parametrize("pair", ["gru_pair", "lstm_pair"])
def test_weight_files_are_converted(pair: str, tmp_path: Path) -> None:
    keras_model, module = {"gru_pair": gru_pair, "lstm_pair": lstm_pair}[pair]()
    randomise(adapt(module), 0)
    torch.save(module.state_dict(), tmp_path / "a.pt")
    here = "tests.unit.test_recurrence"
    specs = f"{here}:{pair.split('_')[0]}_keras", f"{here}:{pair.split('_')[0]}_torch"
    convert(tmp_path / "a.pt", tmp_path / "b.weights.h5", *specs)
    convert(tmp_path / "b.weights.h5", tmp_path / "c.safetensors", *specs)
    keras_model.load_weights(tmp_path / "b.weights.h5")
    again = load_file(tmp_path / "c.safetensors")
    module.load_state_dict(again)
    assert parity.compare(keras_model, module, inputs=sequences(), quick=True).verdict == "EQUAL"
    assert (again["rec.bias_hh_l0"] == 0).all() == (pair == "lstm_pair")


def gru_keras() -> Any:
    return gru_pair()[0]


def gru_torch() -> nn.Module:
    return gru_pair()[1]


def lstm_keras() -> Any:
    return lstm_pair()[0]


def lstm_torch() -> nn.Module:
    return lstm_pair()[1]


def test_a_weight_that_differs_is_a_difference() -> None:
    keras_model, module, inputs = PAIRS["gru"]()
    parity.transfer(module, keras_model, inputs=inputs)
    with torch.no_grad():
        module.rec.bias_hh_l0[0] += 1e-3
    report = parity.compare(keras_model, module, inputs=inputs, quick=True)
    assert report.verdict == "DIVERGED"
    assert "rec.bias_hh_l0" in str(report)


class PictureReader(nn.Module):
    """Convolutions, columns as steps, and two recurrent layers in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)
        self.dense, self.out = nn.Linear(96, 16), nn.Linear(12, 7)
        self.lstm = nn.LSTM(16, 10, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(20, 6, batch_first=True, bidirectional=True)

    def forward(self, x: Any) -> Any:
        for layer in (self.first, self.second):
            x = F.max_pool2d(torch.relu(layer(x)), 2)
        x = torch.relu(self.dense(x.permute(0, 3, 1, 2).flatten(2)))
        return self.out(self.gru(self.lstm(x)[0])[0]).softmax(-1)


def test_gradients_of_flat_gates_are_equal() -> None:
    """Where a gate is nearly open or shut, one roundoff of it is a great part of its slope; that is no difference."""
    image = keras.Input((32, 48, 1))
    x = image
    for channels in (8, 12):
        x = L.MaxPooling2D()(L.Conv2D(channels, 3, activation="relu", padding="same")(x))
    x = L.Dense(16, activation="relu")(L.Reshape((12, 96))(L.Permute((2, 1, 3))(x)))
    x = L.Bidirectional(L.LSTM(10, return_sequences=True))(x)
    x = L.Bidirectional(L.GRU(6, return_sequences=True))(x)
    model, module = keras.Model(image, L.Dense(7, activation="softmax")(x)), PictureReader().eval()
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        for parameter in module.parameters():
            parameter.data = torch.from_numpy(0.3 * rng.standard_normal(tuple(parameter.shape))).float()
        values = rng.standard_normal((2, 32, 48, 1)).astype(np.float32)
        parity.transfer(module, model, inputs=values)
        report = parity.compare(model, module, values, gradients=True, quick=True)
        assert report.verdict == "EQUAL", f"{seed}: {report}"


SEEDS = (0, 1, 2, 3, 4, 5)


def test_what_recurrent_layers_and_attention_drop_is_switched_off_and_named() -> None:
    image = keras.Input((6, 8))
    x = L.LSTM(8, return_sequences=True, name="first")(image)
    x = L.LSTM(8, return_sequences=True, name="second")(L.Dropout(0.3, name="drop")(x))
    model = keras.Model(image, L.MultiHeadAttention(2, 4, dropout=0.2, name="attention")(x, x))

    class Module(nn.Module):
        def __init__(self, rate: float) -> None:
            super().__init__()
            self.rnn = nn.LSTM(8, 8, 2, batch_first=True, dropout=0.3)
            self.attention = nn.MultiheadAttention(8, 2, dropout=rate, batch_first=True)

        def forward(self, x: Any) -> Any:
            x = self.rnn(x)[0]
            return self.attention(x, x, x, need_weights=False)[0]

    values = np.random.default_rng(0).standard_normal((2, 6, 8)).astype(np.float32)
    for rate, causes in ((0.2, []), (0.5, ["dropout-rate"])):
        module = Module(rate).eval()
        parity.transfer(model, module, inputs=values)
        report = parity.compare(model, module, values, gradients=True)
        assert [f.cause for f in report.findings] == causes, str(report)
        assert report.verdict == ("DIVERGED" if causes else "EQUAL"), str(report)
