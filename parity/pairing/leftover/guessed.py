"""A guess from names, for tensors that the dataflow leaves open; a run of both sides has to confirm it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from parity.core.layout import Layout, identity
from parity.core.types import LayerInfo, TensorInfo
from parity.pairing.evidence import Evidence
from parity.pairing.leftover.listing import listed
from parity.pairing.pairs import LayerPair, Pairing
from parity.pairing.slots import SYNONYMS, Slot, raw_slots

MOST = 400
"""Open tensors of one side beyond which nothing is guessed."""
Owned = tuple[LayerInfo, TensorInfo]


def guessed(
    pairing: Pairing,
    sides: tuple[Mapping[str, LayerInfo], Mapping[str, LayerInfo]],
    neighbours: bool = False,
    numbers: bool = True,
) -> Pairing | None:
    """The pairing with its open tensors paired by their names and shapes; None where that does not come out even.

    Args:
        pairing: what the dataflow makes sure.
        sides: the layers of both sides, with what operations do with their tensors.
        neighbours: layers that were paired by their neighbours alone count as open too.
        numbers: whether numbers in names count; else like layers go in the order of their numbers, since one side may
            count from one, and a functional model lists its layers by their depth.
    """
    kept = [item for item in pairing.pairs if not (neighbours and item.evidence.of_neighbours)]
    done = [slot for item in kept for slot in item.slots]
    freed = [slot for item in pairing.pairs if item not in kept for slot in item.slots]
    misfits = [problem.misfit for problem in pairing.problems if problem.misfit is not None]
    wanted = (
        {*pairing.unmatched_keras, *(slot.keras for slot in freed), *(pair[0] for pair in misfits)},
        {*pairing.unmatched_torch, *(slot.torch for slot in freed), *(pair[1] for pair in misfits)},
    )
    partial = any(slot.layout.partial for slot in freed) or any(
        item.constants for item in pairing.pairs if item not in kept
    )
    open_ = [
        [(layer, tensor) for layer in layers.values() for tensor in layer.tensors if tensor.path in wanted[i]]
        for i, layers in enumerate(sides)
    ]
    taken = {slot.keras for slot in done} & wanted[0] or {slot.torch for slot in done} & wanted[1]
    if not 0 < len(open_[0]) == len(open_[1]) <= MOST or taken or partial:
        return None
    keras, torch = open_ if numbers else map(_counted, open_)
    found = _by_names(keras, torch, numbers)
    if found is None:
        return None
    return _with(pairing, kept, found, wanted)


def swapped(pairing: Pairing, most: int) -> list[Pairing]:
    """The same guess with two like tensors exchanged, as often as asked for: what it must be better than."""
    own = [slot for item in pairing.pairs if item.evidence is Evidence.NAMES_CONFIRMED for slot in item.slots]
    found: list[Pairing] = []
    for i, first in enumerate(own):
        for second in own[i + 1 :]:
            if len(found) < most and first.layout == second.layout:
                turned = {
                    first: replace(first, torch=second.torch),
                    second: replace(second, torch=first.torch),
                }
                found.append(replace(pairing, pairs=[_exchanged(item, turned) for item in pairing.pairs]))
    return found


def crossed(pairing: Pairing, most: int) -> list[Pairing]:
    """The pairing with two like layers exchanged that their neighbours, or names as well, paired; at most so many."""
    own = [item for item in pairing.pairs if item.evidence.of_neighbours and not item.constants]
    found: list[Pairing] = []
    for i, first in enumerate(own):
        for second in own[i + 1 :]:
            if _form(first) == _form(second) and len(found) < most:
                turned = {first.keras: _in_place(first, second), second.keras: _in_place(second, first)}
                pairs = [
                    turned.get(item.keras, item) if item in (first, second) else item
                    for item in pairing.pairs
                ]
                found.append(replace(pairing, pairs=pairs))
    return found


def _form(item: LayerPair) -> list[tuple[str, Layout]]:
    """The tensors of a pair: their names in Keras and the rules between both."""
    return [(slot.keras.rpartition(".")[2], slot.layout) for slot in item.slots]


def _in_place(item: LayerPair, like: LayerPair) -> LayerPair:
    """The Keras layer of one pair with the torch module of another."""
    slots = (replace(a, torch=b.torch) for a, b in zip(item.slots, like.slots, strict=True))
    return replace(item, torch=like.torch, slots=tuple(slots))


def _exchanged(item: LayerPair, turned: Mapping[Slot, Slot]) -> LayerPair:
    """A pair with some of its tensors' partners exchanged."""
    return replace(item, slots=tuple(turned.get(slot, slot) for slot in item.slots))


def _with(
    pairing: Pairing,
    kept: list[LayerPair],
    found: list[tuple[Owned, Owned, Layout]],
    wanted: tuple[set[str], set[str]],
) -> Pairing:
    """The pairing with these tensors paired."""
    slots: dict[tuple[str, str], list[Slot]] = {}
    for (keras, variable), (torch, tensor), layout in found:
        slots.setdefault((keras.path, torch.path), []).append(Slot(variable.path, tensor.path, layout))
    pairs = [
        LayerPair(keras, (torch,), tuple(own), Evidence.NAMES_CONFIRMED)
        for (keras, torch), own in slots.items()
    ]
    first = listed([f"{variable.path} with {tensor.path}" for (_, variable), (_, tensor), _ in found], 3)
    note = f"the dataflow leaves some open: names decide, and a run of both sides with equal weights confirms it ({first})"
    return replace(
        pairing,
        pairs=[*kept, *pairs],
        problems=[
            problem
            for problem in pairing.problems
            if problem.keras not in {keras for keras, _ in slots}
            and not any(tensor.path in wanted[tensor.side == "torch"] for tensor in problem.held)
        ],
        unmatched_keras=[path for path in pairing.unmatched_keras if path not in wanted[0]],
        unmatched_torch=[path for path in pairing.unmatched_torch if path not in wanted[1]],
        notes=[*pairing.notes, note],
    )


def _by_names(
    keras: list[Owned], torch: list[Owned], numbers: bool
) -> list[tuple[Owned, Owned, Layout]] | None:
    """Each with the free one of the likeliest name, the likeliest first; of equal ones the first."""
    choices = []
    for i, first in enumerate(keras):
        for j, second in enumerate(torch):
            layout = _layout(first, second)
            if layout is not None:
                choices.append((-likeness(first[1].path, second[1].path, numbers), i, j, layout))
    found, left = [], ({*range(len(keras))}, {*range(len(torch))})
    for _, i, j, layout in sorted(choices, key=lambda item: item[:3]):
        if i in left[0] and j in left[1]:
            left[0].discard(i)
            left[1].discard(j)
            found.append((keras[i], torch[j], layout))
    return None if left[0] else found


def _counted(owned: list[Owned]) -> list[Owned]:
    """Names that differ in their numbers alone in the order of these, from where the first of them stands."""
    stems = [re.split(r"\d+", tensor.path) for _, tensor in owned]
    numbers = [list(map(int, re.findall(r"\d+", tensor.path))) for _, tensor in owned]
    first = {tuple(stem): place for place, stem in reversed(list(enumerate(stems)))}
    order = sorted(range(len(owned)), key=lambda place: (first[tuple(stems[place])], numbers[place]))
    return [owned[place] for place in order]


def _layout(keras: Owned, torch: Owned) -> Layout | None:
    """The rule between two tensors: by what is done with them, by kind, or, of one shape, as they are."""
    known = {name for names in SYNONYMS.values() for name in names} | set(SYNONYMS)
    names = keras[1].name, torch[1].name
    if set(names) <= known and names[0] not in (names[1], *SYNONYMS.get(names[1], ())):
        return None
    found = raw_slots(keras, torch, None).found
    if found:
        return found[0].layout
    return identity(torch[1].shape) if keras[1].shape == torch[1].shape else None


def likeness(keras: str, torch: str, numbers: bool = True) -> float:
    """How much two paths have in common: words that are the same, or that begin alike, of all words.

    Args:
        keras: path of a tensor.
        torch: likewise.
        numbers: whether numbers count as words.

    >>> likeness("query_conv2d.kernel", "to_q.weight") > likeness("query_conv2d.kernel", "to_k.weight")
    True
    >>> likeness("encoder.e1.kernel", "enc.0.weight") > likeness("encoder.e1.kernel", "dec.0.weight")
    True
    """
    first, second = (
        [word for word in _words(path) if numbers or not word.isdigit()] for path in (keras, torch)
    )
    both = [(word, second) for word in first] + [(word, first) for word in second]
    total = sum(
        _weight(word) * max((_alike(word, one) for one in words), default=0.0) for word, words in both
    )
    return total / max(sum(_weight(word) for word, _ in both), 1.0)


def _weight(word: str) -> float:
    """Numbers say less than words: one side may count from one, the other from zero."""
    return 0.3 if word.isdigit() else 1.0


def _words(path: str) -> list[str]:
    """The words and numbers of a path, without those that only say what a tensor or a layer is."""
    plain = re.sub(r"([a-z])([A-Z])", r"\1 \2", path).lower()
    found = re.findall(r"[a-z]+|\d+", re.sub(r"[123]d\b", "", plain))
    return [word for word in found if word not in COMMON] or found


COMMON = {
    "weight",
    "kernel",
    "bias",
    "conv",
    "dense",
    "linear",
    "layer",
    "layers",
    "to",
    "proj",
    "embeddings",
}
"""Words that say nothing of which of several like layers it is."""


def _alike(first: str, second: str) -> float:
    if first == second:
        return 1.0
    short, long = sorted((first, second), key=len)
    return 0.7 + 0.2 * len(short) / len(long) if long.startswith(short) and not short.isdigit() else 0.0
