"""The attentions of one side, each with its queries, keys and values, the shares it gives them, and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from parity.core.adapter import Adapter
from parity.core.trace import Node, NodeObserver, Source, Trace, Values
from parity.core.types import Array
from parity.pairing.uses.attended import FUNCTIONS, Attention, attentions
from parity.pairing.uses.operations import terms

HIDDEN = -1e8
"""Scores below this are masked."""
ARGUMENTS = {
    "torch": ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale"),
    "keras": ("query", "key", "value", "bias", "mask", "scale", "is_causal"),
}
"""Of the frameworks' own functions, in order."""


@dataclass(frozen=True)
class Site:
    """One attention. The leading axes of all tensors are one: the batch, and within it the heads.

    Attributes:
        end: number of the step that gives the result.
        scope: path of the innermost layer in which it runs.
        query, key, value: (N, T, d), (N, S, d), (N, S, e).
        shares: (N, T, S), zero where it is masked.
        result: (N, T, e).
        batch: how many examples there are.
        dtype: in which the softmax was computed.
        sources: where query and key come from.
    """

    end: int
    scope: str
    query: Array
    key: Array
    value: Array
    shares: Array
    result: Array
    batch: int
    dtype: str
    sources: tuple[Source, Source]

    @property
    def heads(self) -> int:
        """How many heads there are."""
        return len(self.query) // self.batch


class KeptSteps(NodeObserver):
    """Keeps what some steps give, as they give it."""

    def __init__(self, wanted: set[int]) -> None:
        self._wanted, self.values = wanted, dict[int, list[Array]]()
        self.operands: dict[int, list[Array]] = {}

    def before(self, node: Node, inputs: Values) -> None:
        """Keep the operands of a function: a mask may be a constant."""
        if node.label in FUNCTIONS:
            self.operands[node.id] = inputs()

    def after(self, node: Node, outputs: Values) -> None:
        """Keep one step's results."""
        if node.id in self._wanted:
            self.values[node.id] = outputs()


@dataclass
class Attending:
    """The attentions of one side, with its trace and the values around them."""

    trace: Trace
    sites: list[Site]
    values: Mapping[int, list[Array]]
    operands: Mapping[int, list[Array]]
    inputs: Sequence[Array]

    def value(self, source: Source) -> Array | None:
        """What a step gave."""
        if source.node in self.trace.inputs:
            return np.asarray(self.inputs[self.trace.inputs.index(source.node)])
        found = self.values.get(source.node)
        return None if found is None or source.output >= len(found) else found[source.output]


def attending(
    model: Adapter, inputs: Sequence[Array], forced: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> Attending:
    """Record the attentions of one side.

    Args:
        model: the side.
        inputs: model inputs in its own layout.
        forced: what is open while the side runs, to give layers other values.
    """
    with forced():
        trace = model.trace(inputs, attention=True)[1]
    known = attentions(trace, model.layers())
    if not known:
        return Attending(trace, [], {}, {}, inputs)
    kept = KeptSteps({node.id for node in trace.nodes if node.sort != "input"})
    with forced():
        trace = model.trace(inputs, kept, attention=True)[1]
    found = Attending(trace, [], kept.values, kept.operands, inputs)
    for one in known:
        try:
            site = _site(found, one, len(inputs[0]))
        except (ValueError, IndexError, KeyError, TypeError):  # laid out in a way that is not known
            site = None
        if site is not None:
            found.sites.append(site)
    return found


def _site(run: Attending, one: Attention, batch: int) -> Site | None:
    shape = run.values[one.mixed.id][0]
    operands = [
        run.value(next(source for source in node.inputs if source.position == at))
        for node, at in ((one.scores, one.query), (one.scores, one.key), (one.mixed, one.value))
    ]
    if any(value is None for value in operands):
        return None
    q, k, v = (np.asarray(value) for value in operands)
    sources = tuple(
        next(source for source in one.scores.inputs if source.position == at) for at in (one.query, one.key)
    )
    if one.scores is one.mixed:
        made = _of_function(run, one, q, k, v, shape)
    else:
        made = _written_out(run, one, q, k, v, shape)
    query, key, value, shares, result, dtype = made
    q, k, v, shares, mixed = (
        array.reshape(-1, *array.shape[-2:]).astype(np.float64)
        for array in (query, key, value, shares, result)
    )
    if not np.allclose(shares @ v, mixed, rtol=0, atol=1e-5 * float(np.abs(mixed).max())):
        return None
    return Site(one.mixed.id, one.mixed.scope, q, k, v, shares, mixed, batch, dtype, (sources[0], sources[1]))


def _of_function(
    run: Attending, one: Attention, q: Array, k: Array, v: Array, result: Array
) -> tuple[Any, ...]:
    """By one function of the framework: its arguments say what the shares are."""
    node, side = one.mixed, run.trace.side
    names = ARGUMENTS[side]
    given: dict[str, Any] = {}
    for i, value in enumerate(run.operands[node.id]):
        name = node.names[i] if node.names else str(i)
        given[names[int(name)] if name.isdigit() else name] = value
    for name, value in node.settings.items():
        given.setdefault(names[int(name)] if name.isdigit() and int(name) < len(names) else name, value)
    if side == "keras":
        q, k, v, result = (np.moveaxis(array, -2, -3) for array in (q, k, v, result))
    k, v = (np.repeat(array, q.shape[-3] // array.shape[-3], -3) if q.ndim > 3 else array for array in (k, v))
    scale = given.get("scale")
    scale = float(q.shape[-1]) ** -0.5 if scale is None else float(np.asarray(scale))
    scores = (q @ np.swapaxes(k, -1, -2)).astype(np.float64) * scale
    for name in ("attn_mask", "bias", "mask"):
        mask = given.get(name)
        if mask is not None:
            mask = np.asarray(mask)
            scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if given.get("is_causal"):
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    return q, k, v, softmax(scores), result, str(result.dtype)


def _written_out(
    run: Attending, one: Attention, q: Array, k: Array, v: Array, result: Array
) -> tuple[Any, ...]:
    """By two products: their axes say what is what."""
    given = np.asarray(run.values[one.softmax.id][0])
    dtype, rank = str(given.dtype), len(one.scores.shapes[0])
    shares = given.reshape(one.scores.shapes[0]) if given.ndim != rank else given
    if one.scores.kind == "matmul":
        turned = one.key < one.query  # scores of keys by queries
        query = np.swapaxes(q, -1, -2) if turned else q
        key = k if turned else np.swapaxes(k, -1, -2)
        shares = np.swapaxes(shares, -1, -2) if turned else shares
    else:
        query, key, shares = _by_letters(one, q, k, shares)
    if one.mixed.kind == "matmul":
        turned = one.value < one.mixed.inputs[-1].position
        value, mixed = (np.swapaxes(array, -1, -2) if turned else array for array in (v, result))
    else:
        value, mixed = _mixed_by_letters(run, one, v, result)
    leading = shares.shape[:-2]
    wide = [np.broadcast_to(array, (*leading, *array.shape[-2:])) if prod(array.shape[:-2]) != prod(leading) else array
            for array in (query, key, value)]  # fmt: skip
    return *wide, shares, mixed, dtype


def _by_letters(one: Attention, q: Array, k: Array, shares: Array) -> tuple[Array, Array, Array]:
    """Query, key and shares of an einsum, the axes that both operands share first."""
    places = [source.position for source in one.scores.inputs]
    shapes = [q.shape if at == one.query else k.shape for at in places]
    found = terms(one.scores, shapes)
    if found is None:
        raise ValueError
    of_query, of_key = found[places.index(one.query)], found[places.index(one.key)]
    scores = found[-1]
    shared = [letter for letter in scores if letter in of_query and letter in of_key]
    own = [letter for letter in scores if letter not in of_key]
    other = [letter for letter in scores if letter not in of_query]
    inner = [letter for letter in of_query if letter in of_key and letter not in scores]
    if not len(own) == len(other) == len(inner) == 1:
        raise ValueError
    return (
        q.transpose([of_query.index(a) for a in [*shared, *own, *inner]]),
        k.transpose([of_key.index(a) for a in [*shared, *other, *inner]]),
        shares.transpose([scores.index(a) for a in [*shared, *own, *other]]),
    )


def _mixed_by_letters(run: Attending, one: Attention, v: Array, result: Array) -> tuple[Array, Array]:
    """Values and result of an einsum, the axes that shares and values have in common first."""
    places = [source.position for source in one.mixed.inputs]
    inputs = {
        source.position: run.trace.nodes[source.node].shapes[source.output] for source in one.mixed.inputs
    }
    found = terms(one.mixed, [inputs[at] for at in places])
    if found is None:
        raise ValueError
    of_value, of_result = found[places.index(one.value)], found[-1]
    of_shares = next(term for at, term in zip(places, found, strict=False) if at != one.value)
    shared = [letter for letter in of_shares if letter in of_value and letter in of_result]
    inner = [letter for letter in of_shares if letter in of_value and letter not in of_result]
    own = [letter for letter in of_result if letter not in of_value]
    last = [letter for letter in of_value if letter not in of_shares]
    return (
        v.transpose([of_value.index(a) for a in [*shared, *inner, *last]]),
        result.transpose([of_result.index(a) for a in [*shared, *own, *last]]),
    )


def softmax(scores: Array) -> Array:
    """The shares that scores give; zeros where a whole row is masked."""
    hidden = scores <= HIDDEN
    greatest = np.where(hidden, -np.inf, scores).max(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        shares = np.where(hidden, 0.0, np.exp(scores - np.where(np.isfinite(greatest), greatest, 0.0)))
    total = shares.sum(-1, keepdims=True)
    return np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
