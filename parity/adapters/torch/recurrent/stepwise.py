"""A recurrent function of torch's written out step by step, so that each of its steps can be moved by its rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

StepMoved = Callable[[torch.Tensor], torch.Tensor]
"""What is done with the result of every step."""
KINDS = {
    torch._VF.lstm: "lstm",
    torch._VF.gru: "gru",
    torch._VF.rnn_tanh: "tanh",
    torch._VF.rnn_relu: "relu",
}
"""torch's functions that run recurrent layers along whole sequences."""
DROPOUT = 5
"""Where the dropout between the layers stands among the arguments; one place later for packed sequences."""


def curve(name: str, value: torch.Tensor, moved: StepMoved) -> torch.Tensor:
    """Sigmoid, tanh or ReLU with its result moved, and its slope taken at the moved result, as backward takes it.

    Where the curve is flat, one roundoff of the result is a great part of the slope.
    """
    plain = getattr(torch, name)(value)
    if name == "relu":
        return moved(plain)
    result = moved(plain.detach())
    slope = result * (1.0 - result) if name == "sigmoid" else 1.0 - result * result
    return result + (value - value.detach()) * slope


def stepwise(function: Any, args: Sequence[Any], moved: StepMoved) -> tuple[torch.Tensor, ...] | None:
    """What the function gives, each of its steps moved; None for packed sequences and projected states.

    Args:
        function: one of KINDS.
        args: (sequence, states, weights, biases, layers, dropout, training, both directions, batch first).
        moved: what is done with the result of every step.
    """
    if len(args) < 9 or not isinstance(args[2], list | tuple):
        return None
    sequence, states, weights, biases, layers, _, _, both, batch_first = args[:9]
    kind, directions = KINDS[function], 2 if both else 1
    count = 4 if biases else 2
    if len(weights) != layers * directions * count:
        return None
    hidden = states if kind == "lstm" else (states,)
    steps = sequence.transpose(0, 1) if batch_first else sequence
    last: list[list[torch.Tensor]] = [[] for _ in hidden]
    for layer in range(layers):
        results = []
        for way in range(directions):
            number = layer * directions + way
            own = weights[number * count : (number + 1) * count]
            found, state = _along(
                kind, steps.flip(0) if way else steps, [s[number] for s in hidden], own, moved
            )
            results.append(found.flip(0) if way else found)
            for kept, value in zip(last, state, strict=True):
                kept.append(value)
        steps = results[0] if directions == 1 else torch.cat(results, -1)
    return (steps.transpose(0, 1) if batch_first else steps, *(torch.stack(kept) for kept in last))


def _along(
    kind: str,
    steps: torch.Tensor,
    state: list[torch.Tensor],
    weights: Sequence[torch.Tensor],
    moved: StepMoved,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """One cell along (T, N, F): the hidden state after each step, and the last states."""
    kernel, recurrent, *bias = weights
    bias_ih, bias_hh = bias or (None, None)
    given = moved(torch.nn.functional.linear(steps, kernel, bias_ih))
    found = []
    for step in given:
        held = moved(torch.nn.functional.linear(state[0], recurrent, bias_hh))
        state = CELLS.get(kind, _simple)(step, held, state, moved, kind)
        found.append(state[0])
    return torch.stack(found), state


def _lstm(
    step: torch.Tensor, held: torch.Tensor, state: list[torch.Tensor], moved: StepMoved, _: str
) -> list[torch.Tensor]:
    gates = moved(step + held).chunk(4, 1)
    i, f, o = (curve("sigmoid", gates[k], moved) for k in (0, 1, 3))
    cell = moved(moved(f * state[1]) + moved(i * curve("tanh", gates[2], moved)))
    return [moved(o * curve("tanh", cell, moved)), cell]


def _gru(
    step: torch.Tensor, held: torch.Tensor, state: list[torch.Tensor], moved: StepMoved, _: str
) -> list[torch.Tensor]:
    (a, b, c), (x, y, z) = step.chunk(3, 1), held.chunk(3, 1)
    r, u = curve("sigmoid", moved(a + x), moved), curve("sigmoid", moved(b + y), moved)
    n = curve("tanh", moved(c + moved(r * z)), moved)
    return [moved(n + moved(u * moved(state[0] - n)))]


def _simple(
    step: torch.Tensor, held: torch.Tensor, state: list[torch.Tensor], moved: StepMoved, kind: str
) -> list[torch.Tensor]:
    return [curve(kind, moved(step + held), moved)]


CELLS = {"lstm": _lstm, "gru": _gru}
