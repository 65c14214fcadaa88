"""The passes of recurrent cells along a sequence, written out: what a hypothesis is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.types import Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "linear": lambda x: x,
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "hard sigmoid of 0.2 x + 0.5": lambda x: np.clip(0.2 * x + 0.5, 0.0, 1.0),
}
"""What a cell may apply to its gates and to its candidate, by the name that it has in Keras."""


@dataclass(frozen=True)
class Way:
    """One way to compute a pass.

    Attributes:
        activation: of the candidate and of an LSTM's result.
        gates: activation of the gates.
        reset_after: whether a GRU resets behind the product with the state.
        lengths: steps that count in each sequence; None for all.
    """

    activation: str = "tanh"
    gates: str = "sigmoid"
    reset_after: bool = True
    lengths: tuple[int, ...] | None = None


def run(
    family: str, weights: Mapping[str, Array], sequence: Array, states: Sequence[Array], way: Way
) -> Array:
    """The results of all steps, (N, T, U), zero behind the end of each sequence.

    Args:
        family: "lstm", "gru" or "simple_rnn".
        weights: by torch's names, in torch's layout.
        sequence: (N, T, F), the first step first.
        states: before the first step, (N, U) each.
        way: how it is computed.
    """
    inputs = sequence @ weights["weight_ih"].T + weights.get("bias_ih", 0.0)
    now, found = [np.array(state) for state in states], []
    for step in range(sequence.shape[1]):
        after = _STEPS[family](inputs[:, step], now, weights, way)
        result = after[0]
        if way.lengths is not None:
            counts = np.asarray([step < length for length in way.lengths])[:, None]
            after = [np.where(counts, new, old) for new, old in zip(after, now, strict=True)]
            result = np.where(counts, result, 0.0)
        now = after
        found.append(result)
    return np.stack(found, 1)


def _lstm(inputs: Array, states: Sequence[Array], weights: Mapping[str, Array], way: Way) -> list[Array]:
    function, gate = ACTIVATIONS[way.activation], ACTIVATIONS[way.gates]
    total = inputs + states[0] @ weights["weight_hh"].T + weights.get("bias_hh", 0.0)
    i, f, g, o = np.split(total, 4, -1)
    cell = gate(f) * states[1] + gate(i) * function(g)
    return [gate(o) * function(cell), cell]


def _gru(inputs: Array, states: Sequence[Array], weights: Mapping[str, Array], way: Way) -> list[Array]:
    function, gate = ACTIVATIONS[way.activation], ACTIVATIONS[way.gates]
    state, matrix = states[0], weights["weight_hh"]
    bias = np.zeros(len(matrix)) + weights.get("bias_hh", 0.0)
    of_input, of_state = np.split(inputs, 3, -1), np.split(state @ matrix.T + bias, 3, -1)
    r, z = (gate(a + b) for a, b in zip(of_input[:2], of_state[:2], strict=True))
    if way.reset_after:
        inner = r * of_state[2]
    else:
        inner = (r * state) @ np.split(matrix, 3)[2].T + np.split(bias, 3)[2]
    return [z * state + (1.0 - z) * function(of_input[2] + inner)]


def _simple(inputs: Array, states: Sequence[Array], weights: Mapping[str, Array], way: Way) -> list[Array]:
    total = inputs + states[0] @ weights["weight_hh"].T + weights.get("bias_hh", 0.0)
    return [ACTIVATIONS[way.activation](total)]


_STEPS: dict[str, Callable[..., list[Array]]] = {"lstm": _lstm, "gru": _gru, "simple_rnn": _simple}
