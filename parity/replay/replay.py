"""Runs both models so that each pair of layers sees identical inputs.

The Keras model is run once and every call of a paired layer is kept. Then the torch model is run with each paired
layer's input and output replaced by what the Keras side had at the same call. So
- what a layer itself does to identical inputs is its own error;
- what arrives at a layer, when all layers before it gave the Keras values, shows the wiring between them;
- nothing propagates: every independent fault shows in the one run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import product
from math import prod

import numpy as np

from parity.core.adapter import Adapter, Observer
from parity.core.finding import Kind
from parity.core.layout import activation_to_torch, aligned
from parity.core.store import Store
from parity.core.tolerance import difference
from parity.core.types import Array
from parity.replay.border import LARGEST_PADDING, framed
from parity.replay.located import Apart, Call, Compared


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
        if self._store is None:
            self.calls.append(Call(path, index, []))
            return
        kept = [
            None if values is None else Kept(self._store, (path, index, what), values)
            for what, values in (("in", inputs), ("out", outputs), ("linear", linear))
        ]
        self.calls.append(Call(path, index, kept[0] or [], kept[1] or [], kept[2]))


@dataclass
class Row:
    """One Keras call: the layer's own error and the error that arrived, relative; None where not measured."""

    own: float | None = None
    arrived: float | None = None


def match_calls(ours: Sequence[Call], theirs: Sequence[Call]) -> dict[tuple[str, int], int]:
    """(Keras path, how-many-th torch call of its partner) -> position in the Keras calls.

    By count where both sides call a layer equally often (branches may run in another order); by the
    sequence around it where they do not.
    """
    match: dict[tuple[str, int], int] = {}
    positions: dict[str, list[int]] = {}
    for position, call in enumerate(ours):
        positions.setdefault(call.path, []).append(position)
    counts: dict[str, int] = {}
    for call in theirs:
        counts[call.path] = counts.get(call.path, 0) + 1
    blocks = SequenceMatcher(
        None, [call.path for call in ours], [call.path for call in theirs], autojunk=False
    ).get_matching_blocks()
    aligned_calls = {block.b + i: block.a + i for block in blocks for i in range(block.size)}
    for place, call in enumerate(theirs):
        if counts[call.path] == len(positions.get(call.path, ())):
            match[call.path, call.index] = positions[call.path][call.index]
        elif place in aligned_calls:
            match[call.path, call.index] = aligned_calls[place]
    return match


def in_torch_order(
    calls: Sequence[Call], keras: Adapter, flattened: Mapping[str, tuple[int, ...]]
) -> list[Call]:
    """Flattened images reordered from H, W, C to C, H, W, which is how torch flattens them.

    At the layers that receive them, and at the layers that flatten.
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
    for call in calls:
        image = flattened.get(call.path)
        if image is not None:
            outputs = call.outputs if layers[call.path].family == "dense" else reordered(call.outputs, image)
            call = Call(call.path, call.index, reordered(call.inputs, image), outputs, call.linear)
        elif _flattens(call) and call.inputs[0].shape[1:] in images:
            outputs = reordered(call.outputs, call.inputs[0].shape[1:])
            call = Call(call.path, call.index, call.inputs, outputs, call.linear)
        changed.append(call)
    return changed


def _flattens(call: Call) -> bool:
    if len(call.inputs) != 1 or len(call.outputs) != 1:
        return False
    x, y = call.inputs[0], call.outputs[0]
    return x.ndim > 2 and y.ndim == 2 and np.array_equal(x.reshape(len(x), -1), y)


class Replay(Observer):
    """Feeds the Keras values to the torch layers and notes where they would have differed.

    `uncut` are calls, by Keras path and number, whose torch result flows on as it is: a part of the Keras result,
    which the Keras model cuts out behind the layer. `cuts` are calls of Keras layers without a partner that crop.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        match: dict[tuple[str, int], int],
        pairs: dict[str, tuple[str, ...]],
        torch: Adapter,
        uncut: frozenset[tuple[str, int]] = frozenset(),
        cuts: Sequence[Call] = (),
    ) -> None:
        self.cuts = cuts
        self.calls, self.match, self.torch, self.pairs, self.uncut = calls, match, torch, pairs, uncut
        self.cut: list[tuple[str, int]] = []
        self.first = {paths[0]: path for path, paths in pairs.items()}
        self.last = {paths[-1]: path for path, paths in pairs.items()}
        self.apart: list[Apart] = []
        self.rows = [Row() for _ in calls]
        self._arrived: dict[tuple[str, int], tuple[list[Array], str]] = {}
        self._taken: dict[tuple[str, int], list[Array]] = {}

    def _call(self, names: dict[str, str], path: str, index: int) -> tuple[int, Call] | None:
        position = self.match.get((names[path], index)) if path in names else None
        return None if position is None else (position, self.calls[position])

    def before(self, path: str, index: int, inputs: list[Array]) -> list[Array] | None:
        """Compare what arrives, then put the Keras inputs in its place."""
        found = self._call(self.first, path, index)
        if found is None:
            return None
        position, call = found
        compared = compare(call.inputs, inputs, one_pixel=True)
        if compared.misshapen:
            alike, compared = _without_borders(call.inputs, inputs) or (False, compared)
            if alike:  # one side pads inside the layer, the other in front of it: judge by the result
                self._taken[call.path, index] = inputs
                return None
        self.rows[position].arrived = compared.greatest
        self._taken[call.path, index] = inputs if compared.replacement is None else compared.replacement
        if compared.differs:
            self._arrived[call.path, index] = (inputs, compared.text)
        return compared.replacement

    def after(
        self, path: str, index: int, inputs: list[Array], outputs: list[Array], linear: list[Array] | None
    ) -> list[Array] | None:
        """Compare what the layer made of the Keras inputs, then put the Keras outputs in its place."""
        found = self._call(self.last, path, index)
        if found is None:
            return None
        position, call = found
        taken = self._taken.pop((call.path, index), inputs)
        arrived = self._arrived.pop((call.path, index), None)
        if arrived is not None:
            own, replacement = self._on_its_own_input(call, arrived[0])
            if own:  # a step in front of the layer on one side is part of the layer on the other
                self.rows[position].own = 0.0
                return replacement
            text = f"input differs: {arrived[1]}"
            self.apart.append(
                Apart(position - 0.25, call, Kind.WIRING, text, arrived[0], [], call.inputs, index)
            )
        compared, ours = compare_result(call, outputs)
        if compared.misshapen:
            call = self._cut_behind(call, outputs)
            compared, ours = compare_result(call, outputs)
        if compared.misshapen and len(ours) == len(outputs) == 1 and _part_of(ours[0], outputs[0]):
            self.cut.append((call.path, call.index))
            if (call.path, call.index) in self.uncut:
                self.rows[position].own = 0.0
                return None
        self.rows[position].own = compared.greatest
        if compared.differs:
            kind = Kind.SHAPE if arrived is None and compared.misshapen else Kind.LAYER
            text = f"on identical inputs: {compared.text}"
            self.apart.append(Apart(position, call, kind, text, taken, outputs, ours, index))
        return compared.replacement

    def _cut_behind(self, call: Call, outputs: Sequence[Array]) -> Call:
        """The call with what the Keras model cuts out of its result, where that has the shape of torch's result."""
        if len(call.outputs) != 1 or len(outputs) != 1 or outputs[0].ndim < 3:
            return call
        for cut in self.cuts:
            shape = activation_to_torch(cut.outputs[0]).shape
            if shape == outputs[0].shape and np.array_equal(cut.inputs[0], call.outputs[0]):
                return Call(call.path, call.index, call.inputs, [cut.outputs[0]])
        return call

    def _on_its_own_input(self, call: Call, inputs: list[Array]) -> tuple[bool, list[Array] | None]:
        """Whether the layer gives the Keras output from the input that the torch model gave it."""
        if len(self.pairs[call.path]) > 1:
            return False, None
        try:
            outputs = self.torch.run_layer(self.pairs[call.path][0], inputs)
        except Exception:  # it cannot even take it: the input is what is wrong
            return False, None
        compared, _ = compare_result(call, outputs)
        return not compared.differs, compared.replacement


def compare(ours: Sequence[Array], theirs: Sequence[Array], one_pixel: bool = False) -> Compared:
    """Compare two lists of tensors, each in its own framework's layout.

    With `one_pixel`, an image of one pixel may be a vector on the other side: (N, 1, 1, C) and (N, C).
    """
    replacement = []
    texts = []
    greatest, misshapen = 0.0, False
    if len(ours) != len(theirs):
        text = f"{len(ours)} tensors in Keras, {len(theirs)} in torch"
        return Compared(True, text, None, float("inf"))
    for mine, other in zip(ours, theirs, strict=True):
        fit = aligned(mine, other)
        if fit is None and one_pixel and _one_pixel(mine, other):
            fit, mine = (other, "as it is"), mine.reshape(other.shape)
        if fit is None:
            texts.append(f"shape {mine.shape} in Keras, {other.shape} in torch")
            replacement.append(activation_to_torch(mine) if mine.ndim == other.ndim > 3 else mine)
            greatest, misshapen = float("inf"), True
            continue
        value, layout = fit
        gap = difference(mine, value)
        greatest = max(greatest, gap.max_rel)
        if not gap.within() and gap.size:
            texts.append(str(gap))
        replacement.append(activation_to_torch(mine) if layout == "channels first" else mine)
    return Compared(bool(texts), "; ".join(texts), replacement, greatest, misshapen)


def _without_borders(ours: Sequence[Array], theirs: Sequence[Array]) -> tuple[bool, Compared] | None:
    """Compare images of which one has a border that the other gets later; None where that is not so.

    Returns:
        Whether they are alike otherwise, and how they differ, each Keras image framed as torch's is.
    """
    if len(ours) != len(theirs):
        return None
    frames = [framed(activation_to_torch(mine), other) for mine, other in zip(ours, theirs, strict=True)]
    images = [frame.image for frame in frames if frame is not None]
    if len(images) < len(frames):
        return None
    gaps = [difference(image, other) for image, other in zip(images, theirs, strict=True)]
    beyond = [gap for gap in gaps if not gap.within()]
    text = "; ".join(map(str, beyond))
    return not beyond, Compared(bool(beyond), text, images, max(gap.max_rel for gap in gaps))


def compare_result(call: Call, outputs: Sequence[Array]) -> tuple[Compared, Sequence[Array]]:
    """Compare with the layer's output, or with what it was before the layer's built-in activation.

    Returns:
        What differs, and which Keras result it was held against.
    """
    compared = compare(call.outputs, outputs, one_pixel=True)
    if compared.differs and call.linear is not None:
        plain = compare(call.linear, outputs, one_pixel=True)
        if not plain.misshapen:  # torch applies the activation as a step of its own
            return plain, call.linear
    return compared, call.outputs


def _part_of(keras: Array, torch: Array) -> bool:
    """Whether torch's image is a part of the Keras one."""
    ours = activation_to_torch(keras)
    if keras.ndim != torch.ndim or keras.ndim < 3 or ours.shape[:2] != torch.shape[:2]:
        return False
    room = [a - b for a, b in zip(ours.shape[2:], torch.shape[2:], strict=True)]
    if min(room) < 0 or max(room) == 0 or max(room) > LARGEST_PADDING:
        return False
    return any(
        difference(
            ours[
                (
                    slice(None),
                    slice(None),
                    *(slice(a, a + n) for a, n in zip(at, torch.shape[2:], strict=True)),
                )
            ],
            torch,
        ).within()
        for at in product(*(range(n + 1) for n in room))
    )


def _one_pixel(keras: Array, torch: Array) -> bool:
    """Whether both hold one vector for each example: (N, C), or an image of one pixel."""
    ours = activation_to_torch(keras)
    if min(ours.ndim, torch.ndim) < 2 or ours.shape[:2] != torch.shape[:2]:
        return False
    return ours.size == torch.size == ours.shape[0] * ours.shape[1]
