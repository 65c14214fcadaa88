"""The calls of each side: kept in execution order, matched with one another, flattened as torch flattens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from math import prod

import numpy as np

from parity.core.adapter import Adapter, Observer
from parity.core.store import Store
from parity.core.types import KERNELS, RECURRENT, Array
from parity.pairing.uses.images import Regrouped
from parity.replay.located import Call


class Kept(Sequence[Array]):
    """Arrays that lie in a store, loaded when they are looked at."""

    def __init__(self, store: Store, name: tuple[object, ...], arrays: Sequence[Array]) -> None:
        self._store, self._keys = store, [(*name, i) for i in range(len(arrays))]
        for key, array in zip(self._keys, arrays, strict=True):
            store[key] = array

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [self._store[key] for key in self._keys[index]]
        return self._store[self._keys[index]]


class CallLog(Observer):
    """Keeps the calls in the order in which they end (with their tensors in a store, or the order alone)."""

    def __init__(self, store: Store | None = None) -> None:
        self.calls: list[Call] = []
        self._store = store

    def after(
        self, path: str, index: int, inputs: list[Array], outputs: list[Array], linear: list[Array] | None
    ) -> None:
        """Keep one call."""
        idle = len(outputs) == 1 and any(np.array_equal(outputs[0], value) for value in inputs)
        if self._store is None:
            self.calls.append(Call(path, index, [], idle=idle))
            return
        kept = [
            None if values is None else Kept(self._store, (path, index, what), values)
            for what, values in (("in", inputs), ("out", outputs), ("linear", linear))
        ]
        self.calls.append(Call(path, index, kept[0] or [], kept[1] or [], kept[2], idle))


def match_calls(keras: Sequence[Call], torch: Sequence[Call]) -> dict[tuple[str, int], int]:
    """(Keras path, how-many-th torch call of its partner) -> position in the Keras calls.

    By count where both sides call a layer equally often (branches may run in another order); by the
    sequence around it where they do not.
    """
    match: dict[tuple[str, int], int] = {}
    positions: dict[str, list[int]] = {}
    for position, call in enumerate(keras):
        positions.setdefault(call.path, []).append(position)
    counts: dict[str, int] = {}
    for call in torch:
        counts[call.path] = counts.get(call.path, 0) + 1
    blocks = SequenceMatcher(
        None, [call.path for call in keras], [call.path for call in torch], autojunk=False
    ).get_matching_blocks()
    aligned_calls = {block.b + i: block.a + i for block in blocks for i in range(block.size)}
    for place, call in enumerate(torch):
        if counts[call.path] == len(positions.get(call.path, ())):
            match[call.path, call.index] = positions[call.path][call.index]
        elif place in aligned_calls:
            match[call.path, call.index] = aligned_calls[place]
    return match


def in_torch_order(
    calls: Sequence[Call],
    keras: Adapter,
    flattened: Mapping[str, tuple[int, ...]],
    like: Sequence[Call] | None = None,
    regrouped: Mapping[str, Regrouped] | None = None,
) -> list[Call]:
    """Flattened images reordered from H, W, C to C, H, W, which is how torch flattens them.

    At the layers that receive them, and at the layers that flatten; and vectors that become images, which each side
    takes apart in its own order, at the layers that give them.

    Args:
        calls: the Keras calls.
        keras: the Keras side.
        flattened: (H, W, C) of the image that was flattened in front of a Keras layer, by its path.
        regrouped: how the outputs of a Keras layer go to torch's order, where they become images.
        like: the calls whose values say which layers flatten, one for each call; None: the calls themselves.
    """
    layers = keras.layers()
    images = set(flattened.values())

    def reordered(values: Sequence[Array], image: tuple[int, ...]) -> list[Array]:
        return [
            np.moveaxis(value.reshape(-1, *image), -1, 1).reshape(value.shape)
            if value.ndim == 2 and value.shape[1] == prod(image)
            else value
            for value in values
        ]

    changed = []
    for call, known in zip(calls, calls if like is None else like, strict=True):
        image = flattened.get(call.path)
        if image is not None:
            outputs = call.outputs if layers[call.path].family == "dense" else reordered(call.outputs, image)
            call = replace(call, inputs=reordered(call.inputs, image), outputs=outputs)
        elif _flattens(known) and known.inputs[0].shape[1:] in images:
            outputs = reordered(call.outputs, known.inputs[0].shape[1:])
            call = replace(call, outputs=outputs)
        if call.path in (regrouped or {}):
            call = _regrouped(
                call, (regrouped or {})[call.path], layers[call.path].family in KERNELS | RECURRENT
            )
        changed.append(call)
    return changed


def _regrouped(call: Call, change: Regrouped, takes_apart: bool) -> Call:
    """The call with its outputs in torch's order; and what goes in, where the layer counts that in the same order."""

    def turned(values: Sequence[Array]) -> list[Array]:
        whole, flat = prod(change.sizes), not change.merged
        return [change.to_torch(v) if (v.ndim == 2) is flat and v.shape[-1] == whole else v for v in values]

    if change.merged and takes_apart:
        return replace(call, inputs=turned(call.inputs))
    linear = None if call.linear is None else turned(call.linear)
    inputs = call.inputs if takes_apart else turned(call.inputs)
    return replace(call, inputs=inputs, outputs=turned(call.outputs), linear=linear)


def _flattens(call: Call) -> bool:
    if len(call.inputs) != 1 or len(call.outputs) != 1:
        return False
    x, y = call.inputs[0], call.outputs[0]
    return x.ndim > 2 and y.ndim == 2 and np.array_equal(x.reshape(len(x), -1), y)
