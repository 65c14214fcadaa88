"""Where two models part: each paired layer is held against its counterpart on identical inputs.

The Keras model is run once and every call of a paired layer is kept. Then the torch model is run with
each paired layer's input and output replaced by what the Keras side had at the same call. So
- what a layer itself does to identical inputs is its own error ("layer");
- what arrives at a layer, when all layers before it gave the Keras values, shows the wiring between
  them ("wiring");
- nothing propagates: every independent fault is found in the one run, in execution order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import product
from math import prod

import numpy as np

from parity.adapters.base import Adapter, Array, LayerInfo, Observer
from parity.finding import Finding, in_a_line
from parity.layout import activation_to_torch, aligned
from parity.pairing import Pairing
from parity.tolerance import difference

ROOT = "(the model itself)"
"""What a finding calls a model that is a single layer."""

LARGEST_PADDING = 16
"""Rows or columns by which an explicit padding may differ from a layer's own."""


@dataclass
class Call:
    """One call of one Keras layer."""

    path: str
    index: int
    inputs: list[Array]
    outputs: list[Array] = field(default_factory=list)
    linear: list[Array] | None = None


class Recorder(Observer):
    """Keeps the calls in the order in which they end (inputs and outputs, or the order alone)."""

    def __init__(self, keep: bool = True) -> None:
        self.calls: list[Call] = []
        self._keep = keep

    def after(
        self, path: str, index: int, inputs: list[Array], outputs: list[Array], linear: list[Array] | None
    ) -> None:
        """Keep one call."""
        self.calls.append(Call(path, index, inputs, outputs, linear) if self._keep else Call(path, index, []))


@dataclass(frozen=True)
class Located:
    """A finding with its place in the Keras model's execution order."""

    order: float
    finding: Finding


def localise(
    keras: Adapter,
    torch: Adapter,
    pairing: Pairing,
    keras_inputs: Sequence[Array],
    torch_inputs: Sequence[Array],
    flattened: Mapping[str, tuple[int, ...]] | None = None,
) -> list[Finding]:
    """Every independent difference, in execution order.

    Args:
        keras: the Keras side, already in the precision to judge in (float64).
        torch: the torch side, likewise.
        pairing: which layer is which.
        keras_inputs: model inputs in the Keras layout.
        torch_inputs: the same in the torch layout.
        flattened: (H, W, C) of the image that was flattened in front of a Keras layer, by its path.
    """
    pairs = watched_pairs(keras, torch, pairing)
    recorder, errors = Recorder(), []
    with keras.watched(recorder, set(pairs)):
        outputs, error = _attempt(keras, keras_inputs)
    errors += [error] if error else []
    order, stopped = _torch_order(torch, pairs, torch_inputs)
    match = _match_calls(recorder.calls, order)
    if stopped:  # calls that torch would have made on its own; with the Keras values it may get further
        for position, call in enumerate(recorder.calls):
            if position not in match.values():
                match.setdefault((call.path, call.index), position)
    silent = ({"missing-call"} if stopped else set()) | ({"extra-call"} if errors else set())
    run = _Replay(_in_torch_order(recorder.calls, keras, flattened or {}), match, pairs, torch)
    with torch.watched(run, set(run.first) | set(run.last)):
        forced, error = _attempt(torch, torch_inputs)
    errors += [error] if error else []
    located = run.located + [
        item
        for item in _call_findings(recorder.calls, order, match, pairs, keras, torch)
        if item.finding.kind not in silent  # a side that raised says nothing of later calls
    ]
    if not error and outputs is not None and forced is not None:
        located += _output_findings(outputs, forced, len(recorder.calls))
    findings = _each_once(
        [item.finding for item in sorted(_without_consequences(located), key=lambda item: item.order)]
    )
    return findings + [
        Finding(None, None, "error", None, f"{side} raised {text}") for side, text in errors if not findings
    ]


def watched_pairs(keras: Adapter, torch: Adapter, pairing: Pairing) -> dict[str, tuple[str, ...]]:
    """Pairs that can be held against each other: those with weights, and leaves with mirrored paths."""
    ours, theirs = keras.layers(), torch.layers()
    pairs = {
        item.keras: item.torch
        for item in pairing.pairs
        if ours[item.keras].leaf and theirs[item.torch[0]].leaf
    }
    taken = {path for paths in pairs.values() for path in paths}
    for path, mate in mirrored(ours, theirs).items():
        if mate not in taken and path not in pairs and _weightless(ours[path]) and _weightless(theirs[mate]):
            pairs[path] = (mate,)
    return pairs


def mirrored(ours: Mapping[str, LayerInfo], theirs: Mapping[str, LayerInfo]) -> dict[str, str]:
    """Keras path -> torch path of layers and blocks whose names are the same, punctuation aside.

    Numbers in a sequence say less than names: they count where the two are of like kinds.
    """
    by_name = {name: path for path, layer in theirs.items() for name in (*layer.aliases, path)}
    loose = {re.sub(r"[^0-9a-zA-Z]+", "_", name): path for name, path in by_name.items()}
    found = {}
    for path, layer in ours.items():
        mate = by_name.get(path) or loose.get(re.sub(r"[^0-9a-zA-Z]+", "_", path))
        if mate is None:
            mates = [by_name[name] for name in layer.aliases if name in by_name]
            mate = next(
                (name for name in mates if not layer.leaf or _alike(layer.kind, theirs[name].kind)), None
            )
        if mate is not None and path:
            found[path] = mate
    return found


def _alike(keras: str, torch: str) -> bool:
    """MaxPooling2D and MaxPool2d, ZeroPadding2D and ZeroPad2d, UpSampling2D and Upsample."""
    kinds = [
        re.sub(r"\dd$", "", kind.lower()).replace("average", "avg").replace("ing", "")
        for kind in (keras, torch)
    ]
    plain = [kind.replace("padd", "pad").replace("sampl", "sample").removesuffix("e") for kind in kinds]
    return plain[0] == plain[1]


def _weightless(layer: LayerInfo) -> bool:
    return layer.leaf and not layer.tensors


def _attempt(model: Adapter, inputs: Sequence[Array]) -> tuple[list[Array] | None, tuple[str, str] | None]:
    """Outputs, or the error that the model raised, in a line."""
    try:
        return [value for _, value in model.forward(inputs)], None
    except Exception as error:  # any model, any error: it is a finding, not a crash of the tool
        return None, (model.side, in_a_line(error))


def _torch_order(
    torch: Adapter, pairs: dict[str, tuple[str, ...]], inputs: Sequence[Array]
) -> tuple[list[Call], bool]:
    """The calls that the torch model makes on its own, by the name of the Keras partner; whether it raised."""
    recorder = Recorder(keep=False)
    partner = {paths[-1]: path for path, paths in pairs.items()}
    with torch.watched(recorder, set(partner)):
        _, error = _attempt(torch, inputs)
    return [Call(partner[call.path], call.index, []) for call in recorder.calls], error is not None


def _match_calls(ours: Sequence[Call], theirs: Sequence[Call]) -> dict[tuple[str, int], int]:
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


def _in_torch_order(
    calls: Sequence[Call], keras: Adapter, flattened: Mapping[str, tuple[int, ...]]
) -> list[Call]:
    """Flattened images reordered from H, W, C to C, H, W, which is how torch flattens them."""
    layers = keras.layers()

    def reordered(values: list[Array], image: tuple[int, ...]) -> list[Array]:
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
        changed.append(call)
    return changed


class _Replay(Observer):
    """Feeds the Keras values to the torch layers and notes where they would have differed."""

    def __init__(
        self,
        calls: Sequence[Call],
        match: dict[tuple[str, int], int],
        pairs: dict[str, tuple[str, ...]],
        torch: Adapter,
    ) -> None:
        self.calls, self.match, self.torch, self.pairs = calls, match, torch, pairs
        self.first = {paths[0]: path for path, paths in pairs.items()}
        self.last = {paths[-1]: path for path, paths in pairs.items()}
        self.located: list[Located] = []
        self._arrived: dict[tuple[str, int], tuple[list[Array], str]] = {}

    def _call(self, names: dict[str, str], path: str, index: int) -> tuple[int, Call] | None:
        position = self.match.get((names[path], index)) if path in names else None
        return None if position is None else (position, self.calls[position])

    def before(self, path: str, index: int, inputs: list[Array]) -> list[Array] | None:
        """Compare what arrives, then put the Keras inputs in its place."""
        found = self._call(self.first, path, index)
        if found is None:
            return None
        call = found[1]
        text, replacement = _compare(call.inputs, inputs)
        if not text:
            return replacement
        if len(call.inputs) == len(inputs) and all(map(_padded_alike, call.inputs, inputs)):
            return None  # one side pads inside the layer, the other in front of it: judge by the result
        self._arrived[call.path, index] = (inputs, text)
        return replacement

    def after(
        self, path: str, index: int, inputs: list[Array], outputs: list[Array], linear: list[Array] | None
    ) -> list[Array] | None:
        """Compare what the layer made of the Keras inputs, then put the Keras outputs in its place."""
        found = self._call(self.last, path, index)
        if found is None:
            return None
        position, call = found
        arrived = self._arrived.pop((call.path, index), None)
        if arrived is not None:
            own, replacement = self._on_its_own_input(call, arrived[0])
            if own:  # a step in front of the layer on one side is part of the layer on the other
                return replacement
            self._note(position - 0.25, call, "wiring", f"input differs: {arrived[1]}")
        text, replacement = _compare_result(call, outputs)
        if text:
            shapes = arrived is None and "shape" in text
            self._note(position, call, "shape" if shapes else "layer", f"on identical inputs: {text}")
        return replacement

    def _on_its_own_input(self, call: Call, inputs: list[Array]) -> tuple[bool, list[Array] | None]:
        """Whether the layer gives the Keras output from the input that the torch model gave it."""
        if len(self.pairs[call.path]) > 1:
            return False, None
        try:
            outputs = self.torch.run_layer(self.pairs[call.path][0], inputs)
        except Exception:  # it cannot even take it: the input is what is wrong
            return False, None
        text, replacement = _compare_result(call, outputs)
        return not text, replacement

    def _note(self, order: float, call: Call, kind: str, text: str) -> None:
        again = f" (call {call.index + 1} of this layer)" if call.index else ""
        ours, theirs = call.path or ROOT, ", ".join(self.pairs[call.path]) or ROOT
        self.located.append(Located(order, Finding(ours, theirs, kind, None, text + again)))


def _compare_result(call: Call, outputs: Sequence[Array]) -> tuple[str, list[Array] | None]:
    """Compare with the layer's output, or with what it was before the layer's built-in activation."""
    text, replacement = _compare(call.outputs, outputs)
    if text and call.linear is not None:
        plain, before_activation = _compare(call.linear, outputs)
        if not plain:  # torch applies the activation as a step of its own
            return "", before_activation
    return text, replacement


def _padded_alike(keras: Array, torch: Array) -> bool:
    """Whether one image is the other with a constant border around it."""
    if keras.ndim != torch.ndim or keras.ndim < 3:
        return False
    ours, theirs = activation_to_torch(keras), torch
    large, small = (ours, theirs) if ours.size > theirs.size else (theirs, ours)
    if large.shape[:2] != small.shape[:2] or any(
        a < b for a, b in zip(large.shape, small.shape, strict=True)
    ):
        return False
    if max(a - b for a, b in zip(large.shape[2:], small.shape[2:], strict=True)) > LARGEST_PADDING:
        return False
    for offsets in product(
        *(range(a - b + 1) for a, b in zip(large.shape[2:], small.shape[2:], strict=True))
    ):
        window = tuple(
            slice(offset, offset + size) for offset, size in zip(offsets, small.shape[2:], strict=True)
        )
        if np.array_equal(large[(slice(None), slice(None), *window)], small):
            rest = np.ones(large.shape[2:], dtype=bool)
            rest[window] = False
            return bool(np.all(large[:, :, rest] == 0) or np.all(np.isneginf(large[:, :, rest])))
    return False


def _compare(ours: Sequence[Array], theirs: Sequence[Array]) -> tuple[str, list[Array] | None]:
    """What differs (empty where nothing does), and the Keras arrays as torch lays them out."""
    replacement = []
    texts = []
    if len(ours) != len(theirs):
        return f"{len(ours)} tensors in Keras, {len(theirs)} in torch", None
    for mine, other in zip(ours, theirs, strict=True):
        fit = aligned(mine, other)
        if fit is None:
            texts.append(f"shape {mine.shape} in Keras, {other.shape} in torch")
            replacement.append(activation_to_torch(mine) if mine.ndim == other.ndim > 3 else mine)
            continue
        value, layout = fit
        gap = difference(mine, value)
        if not gap.within() and gap.size:
            texts.append(str(gap))
        replacement.append(activation_to_torch(mine) if layout == "channels first" else mine)
    return "; ".join(texts), replacement


def _call_findings(
    ours: Sequence[Call],
    theirs: Sequence[Call],
    match: dict[tuple[str, int], int],
    pairs: dict[str, tuple[str, ...]],
    keras: Adapter,
    torch: Adapter,
) -> list[Located]:
    """Calls that only one side makes, gathered under the outermost block that is missing as a whole."""
    matched = set(match.values())
    missing = [(position, call.path) for position, call in enumerate(ours) if position not in matched]
    extra, last = [], -1
    for call in theirs:
        position = match.get((call.path, call.index))
        if position is None:
            extra.append((last + 0.5, pairs[call.path][-1]))
        else:
            last = position
    located = []
    names = mirrored(keras.layers(), torch.layers()) | {path: paths[0] for path, paths in pairs.items()}
    for kind, calls, everything, verb in (
        ("missing-call", missing, [call.path for call in ours], ("Keras", "torch")),
        ("extra-call", extra, [pairs[call.path][-1] for call in theirs], ("torch", "Keras")),
    ):
        for block, order in _blocks(calls, everything).items():
            text = f"{verb[0]} runs it here, {verb[1]} does not"
            partner = _partner(block, kind, names)
            ours_first = (block, partner) if kind == "missing-call" else (partner, block)
            located.append(Located(order - 0.5, Finding(ours_first[0], ours_first[1], kind, None, text)))
    return located


def _blocks(calls: Sequence[tuple[float, str]], everything: Sequence[str]) -> dict[str, float]:
    """The outermost containers all of whose calls are among these, with the first place of each."""
    total: dict[str, int] = {}
    gone: dict[str, int] = {}
    for path in everything:
        for stem in _stems(path):
            total[stem] = total.get(stem, 0) + 1
    for _, path in calls:
        for stem in _stems(path):
            gone[stem] = gone.get(stem, 0) + 1
    blocks: dict[str, float] = {}
    for order, path in calls:
        outermost = next((stem for stem in _stems(path) if gone[stem] == total[stem]), path)
        blocks.setdefault(outermost, order)
    return blocks


def _stems(path: str) -> list[str]:
    """a, a.b, a.b.c for a.b.c."""
    parts = path.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _partner(block: str, kind: str, names: Mapping[str, str]) -> str | None:
    """The other side's name of a layer or block, where it has one."""
    if kind == "missing-call":
        return names.get(block)
    return {mate: path for path, mate in names.items()}.get(block)


def _output_findings(ours: Sequence[Array], forced: Sequence[Array], end: int) -> list[Located]:
    text, _ = _compare(ours, forced)
    if not text:
        return []
    evidence = f"after the last paired layer, with all layers giving the Keras values: {text}"
    kind = "shape" if text.startswith("shape") else "output"
    return [Located(end + 1.0, Finding(None, None, kind, None, evidence))]


def _without_consequences(located: Sequence[Located]) -> list[Located]:
    """Drop what a missing or extra call explains: what arrives at any later place, past every shortcut."""
    calls = [item.order for item in located if item.finding.kind in {"missing-call", "extra-call"}]
    first = min(calls, default=float("inf"))
    return [
        item
        for item in located
        if item.finding.kind not in {"wiring", "output", "shape"} or item.order < first
    ]


def _each_once(findings: Sequence[Finding]) -> list[Finding]:
    """One finding a layer for what every call of it shows."""
    first: dict[tuple[str | None, str | None, str], Finding] = {}
    for finding in findings:
        first.setdefault((finding.keras, finding.torch, finding.kind), finding)
    return list(first.values())


def repeatable(model: Adapter, inputs: Sequence[Array]) -> bool:
    """Whether two evaluations give the same bits."""
    first, second = (_attempt(model, inputs)[0] for _ in range(2))
    if first is None or second is None:
        return True
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True))
