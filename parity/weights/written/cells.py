"""Which written cell is which Keras cell, and in which order its gates stand: tried on both sides with equal weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from parity.adapters.patching import restored
from parity.core.adapter import Adapter
from parity.core.trace import Trace
from parity.core.types import Array
from parity.pairing.evidence import Evidence
from parity.pairing.pair import LayerPair, Pairing
from parity.pairing.recurrent.loops import in_turn, loops_of
from parity.weights.confirmed import BETTER, SAME, runs
from parity.weights.written.gates import (
    Assigned,
    assignments,
    cells_of,
    fits,
    gates_of,
    orders,
    resets_alike,
    written_pair,
)
from parity.weights.written.roles import gate_order


def with_written_cells(
    pairing: Pairing,
    paired: Callable[[], Pairing],
    sides: tuple[Adapter, Adapter],
    traces: tuple[Trace, Trace],
    values: Sequence[Array] | None,
) -> Pairing:
    """The pairing, with the Keras cells that are left in it and cells that torch code writes out as pairs.

    They count where both sides give the same with equal random weights, or come far nearer to it than with the gates in
    any other order; else where the steps of each cell say which gate is which. Else the pairing stays as it is.

    Args:
        pairing: of the two models, with what it leaves open.
        paired: makes the pairing anew, of the layers that the sides then say that they have.
        sides: Keras and torch. The weights of both are changed for a moment.
        traces: of one pass of each.
        values: inputs that both take, in the Keras layout; None where none are known.
    """
    left = set(pairing.unmatched_keras)
    every = cells_of(sides[0].layers())
    cells = [cell for cell in every if left & {tensor.path for tensor in cell.tensors}]
    if values is None or not cells:
        return pairing
    mapped = {path for item in pairing.pairs if item.evidence is Evidence.MAPPING for path in item.torch}
    loops = [
        loop
        for loop in loops_of(traces[1], sides[1].layers())
        if not mapped & set(loop.modules) and any(fits(cell, loop) for cell in cells)
    ]
    assigned = assignments(cells, loops)
    if not assigned:
        return pairing
    hidden = {cell.path for cell in cells}, {path for loop in loops for path in loop.modules}
    with _without(sides, hidden):
        rest = paired()
    order = {path: number for number, path in enumerate(sides[0].layers())}
    found = None if rest.open else _tried(list(_ways(rest, assigned, order, traces[1])), sides, values)
    return found or _read(rest, assigned, order, traces[1], sides) or pairing


def _read(
    rest: Pairing,
    assigned: Sequence[Assigned],
    order: dict[str, int],
    trace: Trace,
    sides: tuple[Adapter, Adapter],
) -> Pairing | None:
    """The pairing that the steps of the cells say where no run does: another activation, or a difference elsewhere."""
    way = assigned[0]
    both = any(layer.kind == "Bidirectional" for layer in sides[0].layers().values())
    if rest.guessed or (len(assigned) > 1 and (both or not in_turn(trace, [loop for _, loop in way]))):
        return None
    pairs: list[LayerPair] = []
    for cell, loop in way:
        gates = gate_order(trace, loop, gates_of(cell))
        pair = None if gates is None else written_pair(cell, loop, gates)
        if pair is None or not resets_alike(cell):
            return None
        pairs.append(pair)
    return _with(rest, pairs, order)


def _with(rest: Pairing, pairs: Sequence[LayerPair], order: dict[str, int]) -> Pairing:
    every = sorted([*rest.pairs, *pairs], key=lambda item: order[item.keras])
    return replace(rest, pairs=every, level=None)


@contextmanager
def _without(sides: tuple[Adapter, Adapter], hidden: tuple[set[str], set[str]]) -> Iterator[None]:
    """While this is open, some layers have no tensors."""
    with ExitStack() as stack:
        for side, paths in zip(sides, hidden, strict=True):
            known = {
                path: replace(layer, tensors=()) if path in paths else layer
                for path, layer in side.layers().items()
            }
            stack.enter_context(restored(side, "layers", lambda known=known: known))
        yield


def _ways(
    rest: Pairing, assigned: Sequence[Assigned], order: dict[str, int], trace: Trace
) -> Iterator[Pairing]:
    """The pairing of the rest with the cells, each way: as the steps say, else one order of gates for cells of a kind."""
    counts = sorted({gates_of(cell) for cell, _ in assigned[0]})
    for way in assigned:
        read = [gate_order(trace, loop, gates_of(cell)) for cell, loop in way]
        chosen: list[dict[int, tuple[int, ...]]] = [{}]
        for count in counts:
            chosen = [{**one, count: gates} for one in chosen for gates in orders(count)]
        every = [[one[gates_of(cell)] for cell, _ in way] for one in chosen]
        for gates in [known] if len(known := [one for one in read if one is not None]) == len(way) else every:
            found = [written_pair(*pair, one) for pair, one in zip(way, gates, strict=True)]
            pairs = [item for item in found if item is not None]
            if len(pairs) == len(found):
                yield replace(_with(rest, pairs, order), doubt=False, guessed=False)


def _tried(
    ways: Sequence[Pairing], sides: tuple[Adapter, Adapter], values: Sequence[Array]
) -> Pairing | None:
    """The way with which both sides give the same, or come far nearer than with any other; None where none does."""
    gaps: list[float] = []
    with runs(*sides, values) as gap:
        for way in ways:
            gaps.append(gap(way))
            if gaps[-1] <= SAME:
                return way
    near = sorted(range(len(gaps)), key=gaps.__getitem__)
    return ways[near[0]] if len(near) > 1 and gaps[near[0]] < BETTER * gaps[near[1]] else None
