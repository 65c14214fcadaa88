"""A table of one row that one side alone adds everywhere: its row is part of another summand of the same sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from parity.core.adapter import Adapter
from parity.core.trace import Node, Trace
from parity.core.types import KERNELS, LayerInfo, Side
from parity.pairing.by_name import Matcher
from parity.pairing.pairs import Pairing
from parity.pairing.slots import Constant, Slot, tensor_at

CARRIED = frozenset({"add", "identity", "cast", "reshape", "expand", "broadcast_to"})
"""Steps behind which a summand is still one, as long as nobody else takes what they give."""
Sums = Mapping[str, int]


def fold_added(matcher: Matcher, adapters: tuple[Adapter, Adapter], traces: tuple[Trace, Trace]) -> None:
    """Let a paired summand take in each row that is left over: a table of positions, else a bias, else any table."""
    every = (matcher.keras, matcher.torch), (matcher.free_keras, matcher.free_torch)
    for adapter, trace, layers, free in zip(adapters, traces, *every, strict=True):
        side = adapter.side
        rows = [path for path in layers if path in free and _one_row(layers[path])]
        sums = _sums(adapter, trace, layers) if rows else {}
        for path in rows:
            tensor = layers[path].tensors[0]
            place = next(_places(matcher.pairing, side, layers, sums, path), None)
            if place is not None:
                number, slot = place
                item = matcher.pairing.pairs[number]
                taken = replace(slot, bias=(side, tensor.path), summed=True)
                zero = Constant(side, tensor.path, 0.0, folded=True)
                matcher.pairing.pairs[number] = replace(
                    item,
                    slots=tuple(taken if one is slot else one for one in item.slots),
                    constants=(*item.constants, zero),
                )
                free.discard(path)
                matcher.pairing.notes.append(
                    f"{tensor.path} has one row, which {side} alone adds everywhere: "
                    f"{slot.torch if side == 'torch' else slot.keras} stands for the sum of both"
                )


def _one_row(layer: LayerInfo) -> bool:
    """Whether the layer is a table of one row."""
    tensors = layer.tensors
    return layer.family == "embedding" and len(tensors) == 1 and tensors[0].shape[:-1] == (1,)


def _places(
    pairing: Pairing, side: Side, layers: Mapping[str, LayerInfo], sums: Sums, path: str
) -> Iterator[tuple[int, Slot]]:
    """Where the row may go: (number of the pair, slot) of what is added in the same sum at every place."""
    width = layers[path].tensors[0].shape[-1]
    found: list[tuple[int, int, Slot]] = []
    for number, item in enumerate(pairing.pairs):
        for slot in item.slots:
            layer, tensor = tensor_at(layers, slot.torch if side == "torch" else slot.keras)
            if layer is None or tensor is None or slot.bias is not None or tensor.shape[-1:] != (width,):
                continue
            bias = tensor.name == "bias" and layer.family in KERNELS and len(tensor.shape) == 1
            rank = 0 if tensor.walk is not None else 1 if bias else 2
            fits = rank < 2 or layer.family == "embedding"
            if fits and path in sums and sums.get(layer.path) == sums[path]:
                found.append((rank, number, slot))
    for _, number, slot in sorted(found, key=lambda place: place[:2]):
        yield number, slot


def _sums(adapter: Adapter, trace: Trace, layers: Mapping[str, LayerInfo]) -> Sums:
    """By the path of each layer that is called once, with tensors of its own alone: the last step of its sum."""
    users = trace.users()
    last = {source.node for _, source in trace.outputs}
    places = [adapter.storage(tensor.path) for layer in layers.values() for tensor in layer.tensors]
    tied = {place for place, times in Counter(places).items() if times > 1}
    raw = {node.path for node in trace.nodes if node.sort == "parameter"}
    found = {}
    for path, calls in trace.calls_by_path().items():
        own = {tensor.path for tensor in layers[path].tensors}
        alone = not own & raw and not any(adapter.storage(tensor) in tied for tensor in own)
        if len(calls) == 1 and alone and not calls[0].settings.get("activation"):
            top = _top(trace, calls[0], users, last)
            if top is not None:
                found[path] = top
    return found


def _top(trace: Trace, node: Node, users: Mapping[int, list[int]], last: set[int]) -> int | None:
    summed = False
    while node.id not in last and len(users[node.id]) == 1:
        user = trace.nodes[users[node.id][0]]
        if user.kind not in CARRIED or user.shapes[0][-1:] != node.shapes[0][-1:]:
            break
        summed |= user.kind == "add"
        node = user
    return node.id if summed else None
