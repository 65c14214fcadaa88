"""Which layer is which: by an explicit mapping, by mirrored paths, by the dataflow, or where shapes leave one choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from parity.core.adapter import Adapter
from parity.core.trace import Trace, settle_flattened
from parity.core.types import LayerInfo, TensorInfo
from parity.pairing.by_dataflow import Structure
from parity.pairing.by_name import Matcher
from parity.pairing.leftover.ignored import without_ignored
from parity.pairing.mapping import MappingLike
from parity.pairing.pairs import LayerPair, Pairing
from parity.pairing.slots import Slot, tensor_at
from parity.pairing.uses.images import Regrouped, images_of, output_axis, regrouped, with_image
from parity.pairing.uses.merged import input_axis, merged_inputs, reordered
from parity.pairing.uses.read import as_traced

LayerInfos = Mapping[str, LayerInfo]
__all__ = ["LayerPair", "MappingLike", "Pairing", "pair_layers"]


def pair_layers(
    keras: Adapter,
    torch: Adapter,
    mapping: MappingLike | None = None,
    flattened: Mapping[str, tuple[int, ...]] | None = None,
    traces: tuple[Trace, Trace] | None = None,
    ignore: Sequence[str] = (),
    seen: tuple[Trace, Trace] | None = None,
    turn: int | None = 0,
    names: bool = True,
) -> Pairing:
    """Pair the layers of two models and the tensors within each pair.

    Mirrored names decide where they pair every tensor; where they do not, the dataflow does, with names and
    equal weights as further evidence.

    Args:
        keras: the Keras side.
        torch: the torch side.
        mapping: {Keras path: torch path or tuple of torch paths}; of layers, containers or single tensors.
        flattened: (H, W, C) of the image that was flattened in front of a Keras layer, by its path.
        traces: of one forward pass of each side on the same inputs, (keras, torch); the Keras trace then says
            what was flattened, after they are settled it with torch's.
        seen: such traces where names alone pair the layers: they only say what features are made of, and become.
        ignore: patterns of paths that are left out (`parity.pairing.leftover.ignored`).
        turn: which way to go where a run of both sides has to decide; None goes none.
        names: whether mirrored names pair first; else the dataflow does, and names where it leaves several.

    Returns:
        Pairs in the Keras model's definition order, with every problem found.

    Raises:
        UsageError: the mapping is not made of paths, or a pattern names nothing.
    """

    layers = keras.layers(), torch.layers()
    if traces is not None:
        settle_flattened(*traces)
        flattened = traces[0].flattened
        layers = as_traced(layers[0], traces[0]), as_traced(layers[1], traces[1])

    def matcher() -> Matcher:
        fresh = Matcher(*layers, dict(flattened or {}))
        fresh.by_mapping(mapping)
        fresh.names.count_anew()
        fresh.by_sequence()
        return fresh

    named = matcher()
    if names:
        named.by_path()
    if traces is None:
        named.by_signature()
        pairing = named.result(keras, torch)
    else:
        pairing = Structure(keras, torch, traces, named, matcher(), turn).decide()
    shown = traces or seen
    if shown is not None:
        pairing = _as_images(pairing, shown, layers)
        pairing = _as_merged(pairing, shown, layers)
    return without_ignored(pairing, layers, ignore)


def _as_merged(
    pairing: Pairing, traces: tuple[Trace, Trace], layers: tuple[LayerInfos, LayerInfos]
) -> Pairing:
    """The pairing with features that are merged axes of an image in each side's own order."""
    keras, torch = merged_inputs(traces[0], layers[0]), merged_inputs(traces[1], layers[1])
    if not keras or not torch:
        return pairing
    return _turned(
        pairing, layers[1], lambda slot: reordered(keras.get(slot.keras), torch.get(slot.torch)), input_axis
    )


def _as_images(
    pairing: Pairing, traces: tuple[Trace, Trace], layers: tuple[LayerInfos, LayerInfos]
) -> Pairing:
    """The pairing with outputs that become images in each side's own order."""
    keras, torch = images_of(traces[0], layers[0]), images_of(traces[1], layers[1])
    return _turned(
        pairing, layers[1], lambda slot: regrouped(keras.get(slot.keras), torch.get(slot.torch)), output_axis
    )


def _turned(
    pairing: Pairing,
    torch: LayerInfos,
    change_of: Callable[[Slot], Regrouped | None],
    axis_of: Callable[[TensorInfo, str | None], int | None],
) -> Pairing:
    """The pairing with features in each side's own order.

    Args:
        pairing: without it.
        torch: the torch layers.
        change_of: how the features of a slot's tensors go from side to side.
        axis_of: the axis of a torch tensor that counts them.
    """
    pairs: list[LayerPair] = []
    found: dict[str, Regrouped] = {}
    for item in pairing.pairs:
        slots = []
        for slot in item.slots:
            change = change_of(slot)
            layer, tensor = tensor_at(torch, slot.torch)
            axis = axis_of(tensor, layer.family) if change and layer and tensor else None
            layout = with_image(slot.layout, axis, change) if change and axis is not None else None
            if layout is not None and change is not None:
                slot = replace(slot, layout=layout)
                found[item.keras] = change
            slots.append(slot)
        pairs.append(replace(item, slots=tuple(slots)))
    return replace(pairing, pairs=pairs, regrouped={**pairing.regrouped, **found}) if found else pairing
