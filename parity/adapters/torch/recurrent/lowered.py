"""Runs a recurrent module part by part, so that each part's call is seen; the results are the module's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from parity.adapters.torch.recurrent.part import RecurrentPart, parts_of
from parity.adapters.torch.recurrent.valid import Packing, packed, padded, totals_noted, turned


@contextmanager
def lowered(modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """While this is open, each recurrent module among these runs part by part.

    Args:
        modules: of a model by path, the parts among them.
    """
    found = {id(part.rnn): part.rnn for part in modules.values() if isinstance(part, RecurrentPart)}
    with ExitStack() as stack:
        if found:
            stack.enter_context(totals_noted())
        for rnn in found.values():
            if "forward" not in vars(rnn):
                stack.enter_context(_forward(rnn, list(parts_of(rnn).values())))
        yield


@contextmanager
def _forward(rnn: nn.Module, parts: Sequence[RecurrentPart]) -> Iterator[None]:
    def forward(input: Any, hx: Any = None) -> Any:
        return _run(rnn, parts, input, hx)

    forward.lowers = True  # type: ignore[attr-defined]
    vars(rnn)["forward"] = forward
    try:
        yield
    finally:
        del vars(rnn)["forward"]


def _run(rnn: Any, parts: Sequence[RecurrentPart], given: Any, hx: Any) -> Any:
    order = Packing(given) if isinstance(given, PackedSequence) else None
    steps = given if order is None else padded(given.data, order)
    alone = order is None and steps.dim() == 2
    if alone:
        steps = steps.unsqueeze(0)
    elif order is None and not rnn.batch_first:
        steps = steps.transpose(0, 1)
    states: list[list[torch.Tensor]] = [[] for _ in range(2 if isinstance(rnn, nn.LSTM) else 1)]
    for layer in range(rnn.num_layers):
        results = []
        for number, part in [(i, part) for i, part in enumerate(parts) if part.layer == layer]:
            first = _first_states(part, number, steps, hx, alone)
            taken = turned(steps, order) if part.reverse else steps
            found = part(taken, *first, **({"lengths": order.lengths} if order else {}))
            results.append(turned(found[0], order) if part.reverse else found[0])
            for kept, state in zip(states, found[1:], strict=True):
                kept.append(state)
        steps = results[0] if len(results) == 1 else torch.cat(results, -1)
        if rnn.dropout and rnn.training and layer + 1 < rnn.num_layers:
            steps = nn.functional.dropout(steps, rnn.dropout, True)
    last = [_gathered(kept, alone) for kept in states]
    hidden = tuple(last) if isinstance(rnn, nn.LSTM) else last[0]
    if order is not None:
        return PackedSequence(packed(steps, order), order.sizes, order.sorted, order.unsorted), hidden
    if alone:
        return steps.squeeze(0), hidden
    return (steps if rnn.batch_first else steps.transpose(0, 1)), hidden


def _gathered(states: Sequence[torch.Tensor], alone: bool) -> torch.Tensor:
    return torch.cat(list(states), 0) if alone else torch.stack(list(states), 0)


def _first_states(
    part: RecurrentPart, number: int, steps: torch.Tensor, hx: Any, alone: bool
) -> list[torch.Tensor]:
    """The states before the first step, (N, H) each."""
    rnn = part.rnn
    if hx is not None:
        given = hx if isinstance(hx, tuple | list) else (hx,)
        return [state[number].unsqueeze(0) if alone else state[number] for state in given]
    sizes = [rnn.proj_size or rnn.hidden_size] + [rnn.hidden_size] * isinstance(rnn, nn.LSTM)
    return [torch.zeros(len(steps), size, dtype=steps.dtype, device=steps.device) for size in sizes]
