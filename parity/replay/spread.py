"""How far one rounding in every weight, input and step moves each element of the outputs.

Stochastic arithmetic: the model is run again, with every floating value that rounding can touch moved by a random
share of some units in its last place, and the effect is divided by their number. What moves an element far is
rounding that it enlarges, and two sides may differ by as much there. Where nothing is enlarged they may not,
whatever the magnitude of their neighbours.

Source: Vignes, "Discrete Stochastic Arithmetic for Validating Results of Numerical Software", 2004 (CADNA);
Févotte and Lathuilière, "Verrou: a CESTAC evaluation without recompilation", 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from parity.core.adapter import Adapter
from parity.core.trace import LastSteps, Node, NodeObserver, Rerun, Values, subtracts
from parity.core.types import Array
from parity.replay.accumulation import (
    KINDS,
    accumulated,
    moved,
    plain_kind,
    roundoffs,
    share_alike,
    steps,
    takes_operand,
    terms,
)

DRAWS = 3
"""Runs, each rounded in its own way. An element's spread is the greatest that it moves in any of them."""

AMPLIFIED = 16.0
"""Units in the last place that a float64 is moved by, so that it moves by shares of one. Equal steps would cancel
exactly where two terms of one size do, and a spread of zero would be measured there."""

UNIT = AMPLIFIED * 2.0**-52
"""How far every float64 is moved, relative to itself (root mean square)."""

LAST_DRAWS, LAST_AT_A_TIME = 8, 2
"""Draws of the last steps alone, which cost little, and how many are made at a time."""

EXACT = {"reshape", "transpose", "slice", "concat", "stack", "pad", "relu"}
"""Kinds of steps that round nothing: they move or select values."""


def shaken(rng: np.random.Generator, value: Array, unit: float = UNIT, tiny: float = 0.0) -> Array:
    """Each floating element moved, up or down; zeros and what is not finite stay.

    Args:
        rng: of the steps.
        value: the elements.
        unit: how far, relative to the element.
        tiny: the smallest magnitude that still has all its digits; smaller elements move as far as this one.
    """
    if value.dtype.kind not in "fc" or value.size == 0:
        return value
    if value.dtype.kind == "c":
        return np.asarray(shaken(rng, value.real, unit, tiny) + 1j * shaken(rng, value.imag, unit, tiny))
    if not tiny:
        return moved(rng, value, unit)
    moves = steps(rng, value.shape) * unit
    return np.asarray(value + np.where(value == 0.0, 0.0, moves * np.maximum(np.abs(value), tiny)))


SHORTEST, LONGEST_SHORT = 2.0**10, 2.0**31
"""A number of few binary digits: below the second one, and whole times the first one."""


RESIZING = {"resize"}
"""Kinds of steps that compute where they read: n pixels from the origin a coordinate is n roundoffs off."""


class Shaker(NodeObserver):
    """Rounds every step's result otherwise: once, and a sum of many terms as often as it has terms."""

    def __init__(self, rng: np.random.Generator, unit: float = UNIT, tiny: float = 0.0) -> None:
        self.rng, self.unit, self.tiny = rng, unit, tiny
        self._operand: Array | None = None
        self._taken: list[tuple[int, ...]] = []
        self._made: dict[int, tuple[tuple[int, ...], ...]] = {}
        self._constant: set[int] = set()

    def before(self, node: Node, inputs: Values) -> None:
        """Keep what the rounding of the result depends on."""
        if len(inputs) and not any(inputs.floating()):
            self._whole(node)
        looked_at = subtracts(node.kind) or takes_operand(node)
        self._operand = inputs()[0] if looked_at and len(inputs) else None
        self._taken = inputs.shapes() if plain_kind(node) in KINDS else []

    def after(self, node: Node, outputs: Values) -> list[Array] | None:
        """What the step gave, each element moved."""
        self._made[node.id] = node.shapes
        if node.sort == "constant" or (
            node.sort == "op" and all(source.node in self._constant for source in node.inputs)
        ):
            self._constant.add(node.id)
        elif node.kind in EXACT and not any(outputs.floating()):  # of whole numbers, moved about
            self._whole(node)
        try:
            if node.kind in EXACT or node.sort == "constant":
                return None
            after = self._rounded(node, outputs)
            if node.id in self._constant:
                after = [kept_short(value, result) for value, result in zip(outputs(), after, strict=True)]
            return after
        finally:
            self._operand, self._taken = None, []  # a raw TensorFlow step has no `before`

    def _whole(self, node: Node) -> None:
        """A step that takes whole numbers: nothing is rounded where inputs and constants gave them (masks as floats)."""
        given = [source.node for source in node.inputs]
        if node.sort == "op" and all(one in self._constant or one not in self._made for one in given):
            self._constant.add(node.id)

    def _rounded(self, node: Node, outputs: Values) -> list[Array]:
        after = [shaken(self.rng, value, self.unit, self.tiny) for value in outputs.look()]
        if node.kind in RESIZING:
            after = [_shifted(self.rng, value, self.unit) for value in after]
        if plain_kind(node) in KINDS:
            after = [self._summed(node, value) for value in after]
        if self._operand is not None and subtracts(node.kind) and after[0].shape == self._operand.shape:
            after[0] = after[0] + (shaken(self.rng, self._operand, self.unit) - self._operand)
        return after

    def _summed(self, node: Node, value: Array) -> Array:
        """A result that is the sum of many terms, moved by their roundings too."""
        taken = self._taken or [
            self._made[source.node][source.output]
            for source in node.inputs
            if source.output < len(self._made.get(source.node, ()))
        ]
        count = terms(node, taken, value.shape)
        if count < 2 or value.dtype.kind not in "fc" or not value.size:
            return value
        far = self.unit * roundoffs(count, share_alike(self._operand, self.unit))
        return accumulated(node, value, self._operand, far, self.rng)


def kept_short(value: Array, moved: Array) -> Array:
    """What constants and whole numbers alone make, moved except where it has few digits: places and masks are exact.

    One of them, moved, would be another place once it is cut to a whole number.
    """
    if value.dtype.kind != "f":
        return moved
    with np.errstate(invalid="ignore", over="ignore"):
        short = (np.abs(value) < LONGEST_SHORT) & (np.rint(value * SHORTEST) == value * SHORTEST)
    return np.asarray(np.where(short, value, moved), moved.dtype)


def _shaken_short(rng: np.random.Generator, value: Array) -> Array:
    return kept_short(value, shaken(rng, value))


def _shifted(rng: np.random.Generator, image: Array, unit: float) -> Array:
    """A resized image, read as far away as its rounded coordinates allow: a share of the way to its neighbours."""
    if image.dtype.kind != "f" or image.ndim < 3:
        return image
    far = np.zeros(image.shape)
    for axis in range(1, image.ndim):
        if image.shape[axis] > 1:  # the steeper side: at a kink the slopes of both may cancel
            slopes = np.abs(np.diff(image, axis=axis))
            edge = np.take(slopes, [0], axis), np.take(slopes, [-1], axis)
            sides = np.concatenate([edge[0], slopes], axis), np.concatenate([slopes, edge[1]], axis)
            far += image.shape[axis] * np.maximum(*sides)
    return np.asarray(image + steps(rng, image.shape) * unit * far)


def spreads(
    model: Adapter, inputs: Sequence[Array], draws: int = DRAWS, unit: float = UNIT, tiny: float = 0.0
) -> Iterator[list[Array]]:
    """How far each element of each output moves, after each draw, in the output's own layout and units.

    The model must be held in float64 already (`Adapter.precision`); its weights come back as they were.

    Args:
        model: one side.
        inputs: model inputs in its own layout, in float64.
        draws: runs rounded otherwise, one at least.
        unit: how far a rounding moves a value, relative to it.
        tiny: the smallest magnitude that still has all its digits.

    Yields:
        For each output the greatest absolute movement of each element so far, in the shape of the output. Zeros, once,
        where the model is not repeatable: its movements are noise then, and excuse nothing.
    """
    plain, again = ([value for _, value in traced(model, inputs)] for _ in range(2))
    greatest = [np.zeros(value.shape) for value in plain]
    if any(distance(first, second).any() for first, second in zip(plain, again, strict=True)):
        yield greatest
        return
    for draw in range(draws):
        rng = np.random.default_rng((0, draw))
        with weights_shaken(model, rng, unit, tiny):
            moved = traced(
                model, [shaken(rng, value, unit, tiny) for value in inputs], Shaker(rng, unit, tiny)
            )
        greatest = [
            np.maximum(known, movement(before, after, unit))
            for known, before, (_, after) in zip(greatest, plain, moved, strict=True)
        ]
        yield greatest


class OutputSpread:
    """How far each element moves where the inputs and every step's result are rounded otherwise, the weights not.

    It costs less than `spreads`, which draws for every weight, and excuses less: two sides that agree within it are the
    same, and where they do not `spreads` says what the rest of the rounding does. Each pass is made where it is asked
    for first, and once.

    Args:
        model: one side, held in float64 wherever a pass is made.
        inputs: model inputs in its own layout, in float64.
        plain: what the side gives for them when it is traced, where that is known.
        last: the last steps of that pass, where they are kept.
    """

    def __init__(
        self,
        model: Adapter,
        inputs: Sequence[Array],
        plain: list[tuple[str, Array]] | None = None,
        last: LastSteps | None = None,
    ) -> None:
        self._model, self._inputs, self._plain, self.known = model, inputs, plain, plain is not None
        self._last, self._last_runs = last, model.side == "torch"
        self._of_last: list[list[Array]] = []
        self._draws: dict[int, list[Array]] = {}

    @property
    def plain(self) -> list[tuple[str, Array]]:
        """What the side gives when it is traced."""
        if self._plain is None:
            self._plain = self._traced()
        return self._plain

    @property
    def made(self) -> list[list[Array]]:
        """The movements that are drawn already."""
        return [*self._of_last, *self._draws.values()]

    def of(self, draw: int) -> list[Array]:
        """How far each element of each output moves in one pass, rounded in a way of its own."""
        if draw not in self._draws:
            rng = np.random.default_rng((1, draw))
            moved = traced(self._model, [shaken(rng, value) for value in self._inputs], Shaker(rng))
            self._draws[draw] = self._movement([value for _, value in moved])
        return self._draws[draw]

    def greatest(self) -> list[Array]:
        """The greatest movement of each element in any of DRAWS passes."""
        return [np.maximum.reduce(moves) for moves in zip(*map(self.of, range(DRAWS)), strict=True)]

    def rising(self) -> Iterator[list[Array]]:
        """How far each element moves in one draw after the other, the cheapest first.

        The last steps alone come first: what they round moves an element no farther than what all steps round.
        """
        yield from self._of_last
        if not self._of_last:
            self._look_at_last()
        while self._last is not None and len(self._of_last) < LAST_DRAWS:
            more = self._more_of(self._last)
            self._of_last += more
            yield from more
        for draw in range(DRAWS):
            yield self.of(draw)

    def forget(self) -> None:
        """Let the last steps and their tensors go; what they showed is kept."""
        self._last, self._last_runs = None, False

    def _look_at_last(self) -> None:
        """Keep the last steps where they give the pass's outputs again, bit for bit."""
        if not self._last_runs:
            return
        outputs = self.plain if self._last is not None else self._traced()
        self._plain = outputs if self._plain is None else self._plain
        if self._last is None or not _same(self._plain, outputs) or not self._runs_again(self._last):
            self.forget()

    def _runs_again(self, last: LastSteps) -> bool:
        try:
            (again,) = last.again([Rerun()])
        except Exception:  # any model, any error: its last steps do not run alone
            return False
        return all(map(np.array_equal, again, (value for _, value in self.plain)))

    def _more_of(self, last: LastSteps) -> list[list[Array]]:
        """Some draws more, in which the last steps alone are rounded otherwise, and what they were given."""
        first = len(self._of_last)
        rngs = [np.random.default_rng((2, draw)) for draw in range(first, first + LAST_AT_A_TIME)]
        runs = [Rerun(Shaker(rng), partial(_shaken_short, rng)) for rng in rngs]
        try:
            return [self._movement(moved) for moved in last.again(runs)]
        except Exception:  # any model, any error: its last steps do not take what was moved
            self.forget()
            return []

    def _traced(self) -> list[tuple[str, Array]]:
        """One traced pass; its last steps are kept where they are wanted."""
        try:
            outputs, trace = self._model.trace(self._inputs, NodeObserver(), last=self._last_runs)
        except Exception:  # any model, any error: it cannot be traced
            return self._model.forward(self._inputs)
        self._last = trace.take_last()
        return outputs

    def _movement(self, moved: Sequence[Array]) -> list[Array]:
        return [movement(value, after) for (_, value), after in zip(self.plain, moved, strict=True)]


@contextmanager
def weights_shaken(
    model: Adapter, rng: np.random.Generator, unit: float = UNIT, tiny: float = 0.0
) -> Iterator[None]:
    """Every floating weight moved by one unit, up or down, while this is open.

    Args:
        model: one side.
        rng: of the signs.
        unit: how far, relative to the weight itself.
        tiny: the smallest magnitude that still has all its digits.
    """
    floating = {
        tensor.path: model.read(tensor.path)
        for layer in model.layers().values()
        for tensor in layer.tensors
        if tensor.dtype.startswith(("float", "bfloat"))
    }
    try:
        for path, value in floating.items():
            model.write(path, shaken(rng, value, unit, tiny))
        yield
    finally:
        for path, value in floating.items():
            model.write(path, value)


def traced(
    model: Adapter, inputs: Sequence[Array], observer: NodeObserver | None = None
) -> list[tuple[str, Array]]:
    """One run, traced: what rounding moves is measured between such runs, because a model may differ when traced.

    Args:
        model: one side.
        inputs: model inputs in its own layout.
        observer: moves what the steps give; None moves nothing.

    Returns:
        The outputs by name; of a model that cannot be traced, those of a plain run.
    """
    try:
        return model.trace(inputs, observer or NodeObserver())[0]
    except Exception:  # any model, any error: its weights and inputs are moved all the same
        return model.forward(inputs)


def _same(first: Sequence[tuple[str, Array]], again: Sequence[tuple[str, Array]]) -> bool:
    """Whether two passes gave the same bits."""
    return len(first) == len(again) and all(
        np.array_equal(value, later) for (_, value), (_, later) in zip(first, again, strict=True)
    )


def movement(plain: Array, moved: Array, unit: float = UNIT) -> Array:
    """How far one rounding moves each element: of float64, which is moved by several units, per unit."""
    return distance(plain, moved) / (AMPLIFIED if unit == UNIT else 1.0)


def distance(plain: Array, moved: Array) -> Array:
    """|moved - plain|; zero where they are the same, infinities too, and infinite where one alone is finite."""
    with np.errstate(invalid="ignore"):
        wide = np.complex128 if np.iscomplexobj(plain) or np.iscomplexobj(moved) else np.float64
        gap = np.abs(np.asarray(moved, dtype=wide) - np.asarray(plain, dtype=wide))
    if np.isfinite(gap).all():
        return np.asarray(gap)
    same = (plain == moved) | (np.isnan(plain) & np.isnan(moved))
    return np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))
