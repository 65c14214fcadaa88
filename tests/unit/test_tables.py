"""Tables of positions that the two sides read from different rows on, and tables of one row that one side adds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("torch")

import keras
import torch
from torch import nn

import parity

WORDS, LENGTH, WIDTH = 19, 9, 6
TOKENS = np.random.default_rng(0).integers(3, WORDS, (2, 7)).astype(np.int32)


class Positions(keras.layers.Layer):  # type: ignore[misc,name-defined]
    """Adds its table from a row on."""

    def __init__(self, first: int = 0, **settings: Any) -> None:
        super().__init__(**settings)
        self.first = first

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(
            shape=(LENGTH + self.first, shape[-1]), initializer="random_normal", name="table"
        )

    def call(self, x: Any) -> Any:
        count = keras.ops.shape(x)[1]
        return x + keras.ops.slice(self.table, (self.first, 0), (count, self.table.shape[1]))


def keras_model(first: int = 0, segment: bool = False) -> Any:
    x = tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(WORDS, WIDTH, name="words")(x)
    if segment:
        row = keras.layers.Embedding(1, WIDTH, name="segment")(keras.ops.zeros_like(tokens))
        x = keras.layers.Add()([x, row])
    x = Positions(first, name="positions")(x)
    x = keras.layers.LayerNormalization(epsilon=1e-5, name="norm")(x)
    return keras.Model(tokens, keras.layers.Dense(5, name="head")(x))


class Net(nn.Module):
    """Words, positions from a row on, and a table of one row where it is asked for."""

    def __init__(self, first: int = 2, segment: bool = False, rows: int | None = None) -> None:
        super().__init__()
        self.first = first
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.places = nn.Embedding(LENGTH + first if rows is None else rows, WIDTH)
        self.kind = nn.Embedding(1, WIDTH) if segment else None
        self.ln = nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, 5)

    def forward(self, tokens: Any) -> Any:
        at = torch.cumsum(torch.ones_like(tokens), dim=1) - 1 + self.first
        x = self.embed(tokens)
        if self.kind is not None:
            x = x + self.kind(torch.zeros_like(tokens))
        return self.out(self.ln(x + self.places(at)))


def shaken(module: Any) -> Any:
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-1, 1)
    return module.eval()


PAIRS = {
    "torch from two on": (lambda: keras_model(), lambda: Net(2), 1),
    "Keras from one on": (lambda: keras_model(1), lambda: Net(0), 1),
    "one row in torch": (lambda: keras_model(), lambda: Net(0, segment=True), 0),
    "one row in Keras": (lambda: keras_model(segment=True), lambda: Net(0), 0),
    "both in torch": (lambda: keras_model(), lambda: Net(2, segment=True), 1),
    "each one": (lambda: keras_model(segment=True), lambda: Net(2), 1),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("to_torch", [False, True])
def test_tables_are_paired_by_the_rows_that_are_read(name: str, to_torch: bool) -> None:
    model_of, module_of, unread = PAIRS[name]
    model, module = model_of(), shaken(module_of())
    model.set_weights([np.random.default_rng(1).uniform(-1, 1, w.shape) for w in model.get_weights()])
    source, target = (model, module) if to_torch else (module, model)
    result = parity.transfer(source, target, inputs=TOKENS)
    assert sum("are never read" in note for note in result.notes) == unread
    report = parity.compare(model, module, TOKENS)
    assert report, str(report)
    assert sum("are never read" in entry for entry in report.unproven) == unread


def test_the_rows_that_are_never_read_keep_their_values_and_the_round_trip_says_where_the_row_went() -> None:
    model, module = keras_model(), shaken(Net(2, segment=True))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    first = parity.transfer(module, model, inputs=TOKENS)
    assert {"kind.weight", "places.weight"} <= set(first.rewritten)
    assert any("kind.weight has one row" in note for note in first.notes)
    parity.transfer(model, module, inputs=TOKENS)
    assert not module.kind.weight.any()
    sums = before["places.weight"] + before["kind.weight"]
    torch.testing.assert_close(module.places.weight[2:], sums[2:], rtol=0, atol=0)
    assert torch.equal(module.places.weight[:2], before["places.weight"][:2])


@pytest.mark.parametrize("segment", [False, True])
def test_another_row_is_no_other_model_and_is_found(segment: bool) -> None:
    model, module = keras_model(), shaken(Net(2, segment))
    parity.transfer(module, model, inputs=TOKENS)
    with torch.no_grad():
        module.places.weight[4] += 0.25
    report = parity.compare(model, module, TOKENS)
    assert report.verdict == "DIVERGED"
    assert report.first is not None
    assert report.first.torch == "places"


def test_a_start_moved_by_one_is_found() -> None:
    model, module = keras_model(), shaken(Net(2))
    parity.transfer(module, model, inputs=TOKENS)
    module.first = 1
    assert parity.compare(model, module, TOKENS).verdict == "DIVERGED"


@pytest.mark.parametrize(
    "module_of",
    [lambda: Net(0, rows=LENGTH + 2), lambda: Net(2, rows=LENGTH + 1)],
)
def test_tables_that_lack_rows_or_have_more_from_the_same_row_on_are_refused(module_of: Any) -> None:
    model, module = keras_model(), shaken(module_of())
    with pytest.raises(parity.PairingError):
        parity.transfer(module, model, inputs=TOKENS)


def test_rows_behind_the_last_one_that_has_a_counterpart_need_none() -> None:
    model, module = keras_model(), shaken(Net(1, rows=LENGTH + 3))
    result = parity.transfer(module, model, inputs=TOKENS)
    assert any("rows 0..0 and 10..11 of places.weight" in note for note in result.notes), result.notes
    assert parity.compare(model, module, TOKENS)


def test_a_row_is_not_folded_into_a_table_that_is_tied_or_behind_an_activation() -> None:
    class Tied(Net):
        def forward(self, tokens: Any) -> Any:
            x = self.embed(tokens) + self.kind(torch.zeros_like(tokens))
            return self.ln(x) @ self.embed.weight.T

    x = tokens = keras.Input((None,), dtype="int32")
    words = keras.layers.Embedding(WORDS, WIDTH, name="words")
    x = keras.layers.LayerNormalization(epsilon=1e-5, name="norm")(words(x))
    model = keras.Model(tokens, keras.layers.Dense(WORDS, use_bias=False, name="head")(x))
    with pytest.raises(parity.PairingError, match=r"kind"):
        parity.transfer(shaken(Tied(0, segment=True)), model, inputs=TOKENS)


def test_rows_read_out_of_order_are_no_positions() -> None:
    class Masked(Net):
        def forward(self, tokens: Any) -> Any:
            kept = (tokens != 5).int()
            at = torch.cumsum(kept, dim=1) * kept + 1
            return self.out(self.ln(self.embed(tokens) + self.places(at)))

    model, module = keras_model(), shaken(Masked(2))
    tokens = TOKENS.copy()
    tokens[:, 3] = 5
    with pytest.raises(parity.PairingError):
        parity.transfer(module, model, inputs=tokens)
    tokens[tokens == 5] = 6
    assert parity.transfer(module, model, inputs=tokens).copied == 6


def test_training_says_what_one_row_more_changes() -> None:
    model, module = keras_model(), shaken(Net(2, segment=True))
    parity.transfer(module, model, inputs=TOKENS)
    report = parity.compare(model, module, TOKENS, gradients=True)
    assert report, str(report)
