"""Runs a recurrent layer cell by cell, so that each pass along the sequence is seen; the results are the layer's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import keras
from keras import tree

from parity.adapters.keras.recurrent.part import cells_of
from parity.adapters.patching import restored

L = keras.layers
Pass = Callable[..., Any]
"""Takes the sequence and the first states; gives the results of all steps and the last states."""
Around = Callable[[Any, Any, Pass], Pass]
"""Takes a cell, the mask of its sequence, and its pass; gives what is run in place of the pass."""


@contextmanager
def lowered(layers: Iterable[Any], around: Around) -> Iterator[None]:
    """While this is open, each recurrent layer among these runs cell by cell.

    Args:
        layers: of a model.
        around: what is put around each pass of a cell; where this is open twice, the later one is the outer one.
    """
    with ExitStack() as stack:
        for layer in layers:
            if cells_of(layer):
                stack.enter_context(_called(layer, around))
        yield


@contextmanager
def _called(layer: Any, around: Around) -> Iterator[None]:
    own = vars(layer).get("call")
    inner: Pass = own.passes if own is not None else partial(_pass, layer)

    def passes(cell: Any, mask: Any, training: Any, sequence: Any, *states: Any) -> Any:
        def run(sequence: Any, *states: Any) -> Any:
            return inner(cell, mask, training, sequence, *states)

        return around(cell, mask, run)(sequence, *states)

    def call(sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False) -> Any:
        return _run(layer, passes, sequences, initial_state, mask, training)

    call.lowers, call.passes = True, passes  # type: ignore[attr-defined]
    vars(layer)["call"] = call
    try:
        yield
    finally:
        if own is None:
            del vars(layer)["call"]
        else:
            vars(layer)["call"] = own


def _run(layer: Any, passes: Pass, sequence: Any, first: Any, mask: Any, training: Any) -> Any:
    """What the layer gives, from one pass of each of its cells."""
    cells = cells_of(layer)
    stacked = len(cells) > 1 or cells[0] is not layer.cell
    mask = tree.flatten(mask)[0] if mask is not None else None
    if layer.go_backwards:
        sequence = keras.ops.flip(sequence, axis=1)
        mask = None if mask is None else keras.ops.flip(mask, axis=1)
    if first is None:
        first = layer.get_initial_state(batch_size=keras.ops.shape(sequence)[0])
    states = list(first) if tree.is_nested(first) else [first]
    by_cell = states if stacked else [states]
    last = []
    for cell, given in zip(cells, by_cell, strict=True):
        given = list(given) if tree.is_nested(given) else [given]
        given = [keras.ops.convert_to_tensor(state, dtype=layer.compute_dtype) for state in given]
        sequence, *after = passes(cell, mask, training, sequence, *given)
        last.append(after if len(after) > 1 or not stacked else after[0])
    if layer.return_sequences:
        output = sequence
    else:
        output = (
            tree.flatten(last[-1])[0] if mask is None or not layer.zero_output_for_mask else sequence[:, -1]
        )
    if not layer.return_state:
        return output
    return (output, *(last if stacked else last[0]))


def passed(layer: Any, cell: Any, tensors: Sequence[Any], mask: Any = None) -> tuple[Any, ...]:
    """What one pass of a cell gives alone, in inference mode: the results of all steps, and the last states."""
    found: tuple[Any, ...] = _pass(layer, cell, mask, False, *tensors)
    return found


def _pass(layer: Any, cell: Any, mask: Any, training: Any, sequence: Any, *states: Any) -> Any:
    """One pass of one cell: (the results of all steps, the last states one by one)."""
    with ExitStack() as stack:
        alone = layer if cell is layer.cell else _around(cell, layer)
        for name, value in (("return_sequences", True), ("return_state", True), ("go_backwards", False)):
            stack.enter_context(restored(alone, name, value))
        found = type(alone).call(alone, sequence, initial_state=list(states), mask=mask, training=training)
    return tuple(found)


def _around(cell: Any, layer: Any) -> Any:
    """A layer that runs one of several cells."""
    alone = L.RNN(
        cell, unroll=layer.unroll, zero_output_for_mask=layer.zero_output_for_mask, dtype=layer.dtype_policy
    )
    alone.built = True
    return alone
