"""Names that the dataflow contradicts: a layer named `k` that plays the part of the other side's `q`.

Mirrored names settle a pairing without a run. Where the two sides then differ, the dataflow is asked what it would
pair without names, and a run of both sides decides between the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from parity.core.adapter import Adapter
from parity.core.types import Array
from parity.pairing.evidence import Evidence
from parity.pairing.mapping import MappingLike
from parity.pairing.pair import Pairing, pair_layers
from parity.pairing.pairs import LayerPair
from parity.weights.confirmed import BETTER, SAME, apart, runs, settled
from parity.weights.models import traces_of

NOTE = "paired by what the layers do, against their names"


def by_roles(
    named: Pairing,
    sides: tuple[Adapter, Adapter],
    values: Sequence[Array],
    mapping: MappingLike | None = None,
    ignore: Sequence[str] = (),
) -> Pairing | None:
    """What stands in place of a pairing by names with which the sides differ; None where it stays.

    Where a run of both sides gives the same by the dataflow and not by the names, or comes far nearer, the dataflow's
    pairing. Where no run decides, the pairing by names with the dataflow's as a rival.

    Args:
        named: the pairing.
        sides: both sides, Keras first. Their weights are changed for a moment.
        values: inputs that both take, in the Keras layout.
        mapping: the caller's pairs of layers, which are kept.
        ignore: patterns of paths that are left out.
    """
    mapped = mapping is None and any(item.evidence is Evidence.MAPPING for item in named.pairs)
    if mapped or not _exchangeable(named, sides):
        return None
    traces = traces_of(*sides, list(values), mapping)
    if not isinstance(traces, tuple):
        return None
    turned = partial(pair_layers, *sides, mapping, traces[0].flattened, traces, ignore, names=False)
    found = settled(lambda turn: turned(turn=turn), *sides, values)
    if found.open or not apart(found, named):
        return None
    with runs(*sides, values) as gap:
        before = gap(named)
        after = gap(found) if before > SAME else float("inf")
        if before <= SAME or after == float("inf"):
            return None
        if gap.usual and (after <= SAME or after < BETTER * before):
            return replace(found, notes=[*found.notes, _told(found, named)], rivals=())
    return replace(named, rivals=(*named.rivals, found))


def _exchangeable(named: Pairing, sides: tuple[Adapter, Adapter]) -> bool:
    """Whether names alone paired two layers of one kind and shape, so that they could be exchanged."""
    layers = sides[0].layers()
    kinds = Counter(
        (layers[item.keras].family, tuple(tensor.shape for tensor in layers[item.keras].tensors))
        for item in named.pairs
        if item.evidence is Evidence.PATH and item.keras in layers
    )
    return any(count > 1 for count in kinds.values())


def _told(found: Pairing, named: Pairing) -> str:
    known = {(item.keras, item.torch) for item in named.pairs}
    own = [_shown(item) for item in found.pairs if (item.keras, item.torch) not in known]
    more = ", ..." if len(own) > 4 else ""
    return (
        f"{NOTE}: {', '.join(own[:4])}{more}; a run of both sides confirms it. If the names are right, a step behind "
        "them takes their results in another order"
    )


def _shown(item: LayerPair) -> str:
    return f"{item.keras} with {', '.join(item.torch)}"
