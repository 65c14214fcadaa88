"""Which Keras layers run a cell along a sequence, and the cells that they run, one on top of the other."""

from __future__ import annotations

from typing import Any

import keras

L = keras.layers
FAMILIES: tuple[tuple[type, str], ...] = (
    (L.LSTMCell, "lstm"),
    (L.GRUCell, "gru"),
    (L.SimpleRNNCell, "simple_rnn"),
)
"""Keras' cells, and parity's name of what each of them computes."""
PLAIN = tuple(cls.call for cls in (L.RNN, L.LSTM, L.GRU, L.SimpleRNN))


def family_of(cell: Any) -> str | None:
    """What a cell computes; None where it is none of Keras' own."""
    return next((family for cls, family in FAMILIES if isinstance(cell, cls)), None)


def cells_of(layer: Any) -> list[Any]:
    """The cells that a recurrent layer runs; none where it cannot be taken apart."""
    own = vars(layer).get("call")
    if not isinstance(layer, L.RNN) or type(layer).call not in PLAIN or layer.stateful:
        return []
    if own is not None and not hasattr(own, "lowers"):
        return []
    stacked = isinstance(layer.cell, L.StackedRNNCells)
    cells = list(layer.cell.cells) if stacked else [layer.cell]
    known = all(family_of(cell) is not None for cell in cells)
    return cells if known else []
