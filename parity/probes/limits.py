"""Limits that values reached: clip, relu6, the corners of hard activations, softplus' threshold; and choices made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.core.trace import Node, NodeObserver, Values
from parity.core.types import Array, Side
from parity.probes import choices
from parity.report.proof import Share, Unproven, UnprovenKind

BELOW, WITHIN, ABOVE = "below", "within", "above"
BOTH = frozenset({BELOW, WITHIN, ABOVE})
LOWER, UPPER = frozenset({BELOW, WITHIN}), frozenset({WITHIN, ABOVE})

REGIONS: Mapping[str, frozenset[str]] = {
    "relu": LOWER, "leakyrelu": LOWER, "prelu": LOWER, "elu": LOWER, "selu": LOWER, "celu": LOWER,
    "maximum": LOWER, "clampmin": LOWER, "abs": LOWER, "absolute": LOWER,
    "minimum": UPPER, "clampmax": UPPER,
    "relu6": BOTH, "hardtanh": BOTH, "clip": BOTH, "clamp": BOTH, "clipbyvalue": BOTH,
    "hardsigmoid": BOTH, "hardsilu": BOTH, "hardswish": BOTH,
    "softplus": UPPER,
}  # fmt: skip
"""Steps with limits, by parity's name without punctuation, and where their operand can lie."""
BY_SIGN = {"relu", "leakyrelu", "prelu", "elu", "selu", "celu", "abs", "absolute"}
HARD = {"hardsigmoid", "hardsilu", "hardswish"}
CORNER = 3.0
"""Where a hard sigmoid and a hard swish bend, on either side of zero."""
INNER = ("__inference_", "__forward_")
"""How TensorFlow names functions that it compiled."""
THRESHOLD = 20.0
"""Where torch's softplus becomes the identity unless it is given another threshold."""
SAID: Mapping[str, str] = {
    BELOW: "its operand never lay below the lower limit",
    WITHIN: "its operand never lay within the limits",
    ABOVE: "its operand never lay above the upper limit",
}
SIGNS: Mapping[str, str] = {BELOW: "its operand was never negative", WITHIN: "its operand was never positive"}


@dataclass
class Limit:
    """One step with limits or a choice: what it is called, where its operand can lie, and where it has lain.

    A quiet one is any other step. It counts where it gave the same at every element of every probe.
    """

    name: str
    kind: str
    place: str
    regions: frozenset[str]
    choice: bool = False
    reached: set[str] = field(default_factory=set)
    quiet: bool = False

    @property
    def missing(self) -> list[str]:
        """Where the operand has never lain."""
        return sorted(self.regions - self.reached)

    def said(self) -> str:
        """One line on what is missing."""
        words = SIGNS if self.kind in BY_SIGN else SAID
        return f"{self.name}: {', '.join(words.get(way) or _said(self.kind, way) for way in self.missing)}"


LimitsSeen = dict[tuple[str, str, int], Limit]


class LimitObserver(NodeObserver):
    """Looks at the operands of steps with limits, in one trace; what is known already is not looked at again.

    Args:
        side: which side is traced.
        known: limits of earlier traces of this side.
    """

    def __init__(self, side: Side, known: LimitsSeen) -> None:
        self.side, self.known = side, known
        self.found: LimitsSeen = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._open: tuple[tuple[str, str, int], list[Array]] | None = None
        self._last: Node | None = None
        self._given: Values | None = None
        self._compared: set[int] = set()

    def before(self, node: Node, inputs: Values) -> None:
        """Keep the operands of a step with limits."""
        self._open, self._last, self._given = None, node, inputs
        key = self._noted(node, len(inputs))
        if key is not None and self._wanted(key):
            values = inputs() if choices.needs_operands(key[0]) else []
            self._open = key, values

    def around(self, node: Node, function: Callable[..., Any]) -> Callable[..., Any]:
        """Note an operation that is not the framework's own: what happens within is not seen."""
        namespace = getattr(function, "namespace", None)
        if node.sort == "op" and isinstance(namespace, str) and namespace not in choices.FRAMEWORKS_OWN:
            place = node.path or node.scope
            self._enter(f"{namespace}::{node.label}", place, frozenset({choices.SEEN}), True)
        return function

    def after(self, node: Node, outputs: Values) -> None:
        """Say where the operand lay, or which way the step went."""
        if node is not self._last:
            return
        if self._open is not None and len(outputs):
            self._look(node, *self._open, outputs.look())
        if node.sort == "op" and (self._open is None or not self.found[self._open[0]].missing):
            self._vary(node, outputs)

    def _vary(self, node: Node, outputs: Values) -> None:
        """Note whether a step gave the same at every element although what it was given varied; and sums that are none."""
        kind = _kind(node)
        key = f"{kind}, varied", node.path or node.scope, node.index
        known = self.known.get(key)
        if (
            kind in choices.MADE | choices.MOVED
            or outputs.floating()[:1] != [True]
            or (known and not known.missing)
        ):
            return
        value = outputs.look()[0]
        same = choices.same_everywhere(value)
        if same and not self._given_varied(node, kind):
            return
        ways, reached = {choices.VARIED}, set() if same else {choices.VARIED}
        if kind in choices.SUMS and self._given is not None:
            ways.add(choices.DONE)
            small = choices.absorbed(self._given.look(), value, node.settings)
            reached |= set() if small else {choices.DONE}
        name = f"{kind} at {key[1]}" if key[1] else f"{kind} in the model itself"
        self.found[key] = Limit(name, kind, key[1], frozenset(ways), True, reached, quiet=True)

    def _given_varied(self, node: Node, kind: str) -> bool:
        """Whether a step was given a floating tensor that is no constant; a product by a constant may be by zero."""
        given = self._given
        if given is None:
            return False
        floating = [value for value, is_float in zip(given.look(), given.floating(), strict=True) if is_float]
        varied = [value.size > 1 and not choices.same_everywhere(value) for value in floating]
        if kind in choices.PRODUCTS:
            return len(varied) > 1 and all(varied)
        return any(varied)

    def _look(
        self, node: Node, key: tuple[str, str, int], operands: list[Array], values: list[Array]
    ) -> None:
        """Say where the operand lay, or which way the step went."""
        limit = self.found[key]
        if limit.choice:
            if operands or not choices.needs_operands(limit.kind):
                limit.reached |= choices.went(limit.kind, operands, values, node.settings) & limit.regions
            return
        floating = [value for value in operands if value.dtype.kind == "f"]
        if floating:
            operand = max(floating, key=lambda value: value.size)
            limit.reached |= _reached(limit.kind, operand, values[0], node.settings) & limit.regions

    def ran(self, node: Node, inputs: Values, outputs: Values) -> None:
        """A raw operation: both at once."""
        self.before(node, inputs)
        self.after(node, outputs)

    def _wanted(self, key: tuple[str, str, int]) -> bool:
        """Whether something of this step is not known yet."""
        known = self.known.get(key)
        return known is None or bool(known.missing)

    def _noted(self, node: Node, operands: int) -> tuple[str, str, int] | None:
        """The step's own entry; None where it has neither limits nor a choice."""
        kind = _kind(node)
        regions, choice = _regions(node, kind, self.side), False
        if not regions and node.sort in {"op", "layer"} and node.inputs:
            regions, choice = choices.ways_of(kind, node.settings, operands), True
        if kind in choices.COMPARISONS:
            self._compared.add(node.id)
        elif kind in choices.CONDITIONS and any(source.node in self._compared for source in node.inputs):
            return None  # the comparison says it already
        if not regions:
            return None
        return self._enter(kind, node.path or node.scope, regions, choice)

    def _enter(self, kind: str, place: str, regions: frozenset[str], choice: bool) -> tuple[str, str, int]:
        number = self._counts[kind, place] = self._counts.get((kind, place), -1) + 1
        where = f"at {place}" if place else "in the model itself"
        again = f" ({number + 1})" if number else ""
        key = kind, place, number
        self.found[key] = Limit(f"{kind} {where}{again}", kind, place, regions, choice)
        return key


def _said(kind: str, way: str) -> str:
    return SAID.get(way) or choices.said(kind, way)


def _plain(kind: str) -> str:
    return kind.replace("_", "").lower()


def _kind(node: Node) -> str:
    """The step's own kind, or that of its built-in activation."""
    if node.label.startswith(INNER):
        return "partitionedcall"
    if node.kind == "slice" and _plain(node.label) in choices.SPLITS:
        return choices.SPLIT
    kind = node.kind if node.sort != "layer" or node.kind.replace("_", "").lower() in REGIONS else ""
    return (kind or str(node.settings.get("activation", node.kind))).replace("_", "").lower()


def _regions(node: Node, kind: str, side: Side) -> frozenset[str]:
    """Where the operand of the step can lie; nothing for a step without limits."""
    regions = REGIONS.get(kind, frozenset())
    if not regions or node.sort in {"constant", "parameter", "input"}:
        return frozenset()
    if kind == "softplus":
        return regions if side == "torch" else frozenset()  # Keras' softplus has no threshold
    if "activation" in node.settings and kind != node.kind.replace("_", "").lower():
        return frozenset()  # within a layer: its operand is not seen
    if kind == "relu" and node.settings.get("max_value") is not None:
        return BOTH
    if kind in {"clip", "clamp"}:
        return _of_bounds(node.settings)
    if kind in {"maximum", "minimum"} and len(node.inputs) > 1:
        return frozenset()  # of two tensors: no constant limit
    return regions


def _of_bounds(settings: Mapping[str, Any]) -> frozenset[str]:
    """The regions of a clip with the bounds that it was called with."""
    lower = settings.get("min", settings.get("x_min", settings.get("1")))
    upper = settings.get("max", settings.get("x_max", settings.get("2")))
    if lower is None and upper is None:
        return BOTH
    return (LOWER if lower is not None else frozenset()) | (UPPER if upper is not None else frozenset())


def _reached(kind: str, operand: Array, result: Array, settings: Mapping[str, Any]) -> set[str]:
    """In which regions values of the operand lie."""
    if kind in BY_SIGN and settings.get("max_value") is None:
        masks = {BELOW: operand < 0, WITHIN: operand > 0}
    elif kind in HARD:
        masks = {BELOW: operand < -CORNER, WITHIN: np.abs(operand) < CORNER, ABOVE: operand > CORNER}
    elif kind == "softplus":
        threshold = settings.get("threshold", settings.get("2", THRESHOLD))
        beyond = operand * settings.get("beta", settings.get("1", 1.0)) > threshold
        masks = {WITHIN: ~beyond, ABOVE: beyond}
    elif operand.shape != result.shape:
        return set()
    else:
        masks = {BELOW: result > operand, WITHIN: result == operand, ABOVE: result < operand}
    return {region for region, mask in masks.items() if bool(np.any(mask))}


def merge(known: LimitsSeen, found: LimitsSeen) -> None:
    """Take one trace into account."""
    for key, limit in found.items():
        held = known.setdefault(key, limit)
        held.reached |= limit.reached


def share(sides: Sequence[LimitsSeen]) -> Share:
    """Steps of which every limit was reached, of all that have one."""
    every = [limit for limits in sides for limit in limits.values() if limit.missing or not limit.quiet]
    return Share(sum(not limit.missing for limit in every), len(every))


def unreached(keras: LimitsSeen, torch: LimitsSeen) -> list[Unproven]:
    """One entry for each step with a limit that no value reached; once for what both sides say alike."""
    said: dict[str, tuple[list[str], str]] = {}
    for side, limits in (("keras", keras), ("torch", torch)):
        for limit in limits.values():
            if limit.missing:
                said.setdefault(limit.said(), ([], limit.place))[0].append(side)
    return [
        Unproven(UnprovenKind.LIMITS, text if len(sides) > 1 else f"{text} ({sides[0]})", (place,))
        for text, (sides, place) in said.items()
    ]
