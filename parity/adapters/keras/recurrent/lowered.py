"""Runs a recurrent layer cell by cell, so that each pass along the sequence is seen; the results are the layer's own."""

from __future__ import annotations

import weakref
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


_STEPWISE: weakref.WeakSet[Any] = weakref.WeakSet()
"""Cells that are run step by step at present, because torch calls its cell so."""


@contextmanager
def step_by_step(cells: Iterable[Any]) -> Iterator[None]:
    """While this is open, these cells are called once for each step, where a recurrent layer is taken apart."""
    fresh = [cell for cell in cells if cell not in _STEPWISE]
    _STEPWISE.update(fresh)
    try:
        yield
    finally:
        _STEPWISE.difference_update(fresh)


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
        run = _steps if cell in _STEPWISE else _whole
        sequence, *after = run(passes, layer, cell, mask, training, sequence, given)
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


def _whole(passes: Pass, layer: Any, cell: Any, mask: Any, training: Any, sequence: Any, states: Any) -> Any:
    return passes(cell, mask, training, sequence, *states)


def _steps(passes: Pass, layer: Any, cell: Any, mask: Any, training: Any, sequence: Any, states: Any) -> Any:
    """The same, the cell called for each step: what it gives are its states, of which the first is the result."""
    layer._maybe_config_dropout_masks(cell, sequence[:, 0], states)
    results = []
    for step in range(sequence.shape[1]):
        after = passes(cell, None, training, sequence[:, step], *states)
        if mask is not None:
            counts = keras.ops.expand_dims(mask[:, step], -1)
            after = [keras.ops.where(counts, new, old) for new, old in zip(after, states, strict=True)]
        states = after
        results.append(states[0])
    layer._maybe_reset_dropout_masks(cell)
    return (keras.ops.stack(results, axis=1), *states)


def passed(layer: Any, cell: Any, tensors: Sequence[Any], mask: Any = None) -> tuple[Any, ...]:
    """What one pass of a cell gives alone, in inference mode: the results of all steps, and the last states."""
    found: tuple[Any, ...] = _pass(layer, cell, mask, False, *tensors)
    return found


def _pass(layer: Any, cell: Any, mask: Any, training: Any, sequence: Any, *states: Any) -> Any:
    """One pass of one cell: (the results of all steps, the last states one by one); of one step its states alone."""
    if cell in _STEPWISE:
        more = {"training": training} if cell._call_has_training_arg else {}
        return tuple(tree.flatten(cell(sequence, list(states), **more)[1]))
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
