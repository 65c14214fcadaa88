"""Why another tensor arrives at a layer, although every layer before it gave the same: what was done in between.

What should have arrived and what did are held against one another, and both against every earlier tensor: a step
that turns the same tensor into the one and into the other names the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np

from parity.causes.case import Explanation
from parity.causes.compare_steps import explain_steps
from parity.causes.steps import IDENTITY, Step, candidates, elementwise, same
from parity.core.types import Array

RECENT = 8
"""Earlier tensors that are tried, the latest first, besides the model's inputs."""

PER_PAIR = 3
"""Steps between the same two tensors that are considered (ReLU and ReLU6 agree on small values)."""


@dataclass(frozen=True)
class Tensor:
    """An earlier tensor, channels first, and what to call it."""

    name: str
    value: Array
    is_input: bool = False


def explain_arrival(
    ours: Array, theirs: Array, sources: Sequence[Tensor], place: tuple[str, str], certain: bool = False
) -> list[Explanation]:
    """The cause that the tensors show; empty where they show none of the known ones.

    Args:
        ours: what arrived on the Keras side, channels first.
        theirs: what arrived on the torch side.
        sources: tensors that both sides had before, the model's inputs among them, in execution order.
        place: what to call the place on either side.
        certain: one of the two is known to be what the other was made from. Otherwise a slope between them may
            be the ratio of two slopes, and is not taken for a missing activation.
    """
    for mine, other, name in _views(ours, theirs):
        found = next(_of_tensors(mine, other, sources, place, certain), None)
        if found is not None:
            cause, evidence, fix = found
            return [Explanation(cause, evidence + name, fix, verified=True)]
    return []


def _views(ours: Array, theirs: Array) -> Iterator[tuple[Array, Array, str]]:
    """The whole tensors, and the one run of channels in which they differ."""
    yield ours, theirs, ""
    if ours.shape == theirs.shape and ours.ndim > 1:
        axes = (0, *range(2, ours.ndim))
        scale = float(np.abs(ours).max(initial=0.0))
        apart = np.flatnonzero(np.abs(ours - theirs).max(axis=axes, initial=0.0) > 1e-11 * scale)
        if 0 < apart.size < ours.shape[1]:
            first, last = int(apart[0]), int(apart[-1]) + 1
            if (first, last) != (0, ours.shape[1]):
                yield ours[:, first:last], theirs[:, first:last], f" (in channels {first} to {last - 1})"


def _of_tensors(
    ours: Array, theirs: Array, sources: Sequence[Tensor], place: tuple[str, str], certain: bool
) -> Iterator[tuple[str, str, str]]:
    inputs = [source for source in sources if source.is_input]
    at_input = any(
        source.value.shape[1:2] == ours.shape[1:2] and source.value.ndim == ours.ndim for source in inputs
    )
    if ours.shape == theirs.shape:
        for step in _few(theirs, ours):
            if step.kind not in {"scale", "affine"} and (certain or "slope" not in step.settings):
                yield from explain_steps(theirs, ours, theirs, step, IDENTITY, place, at_input)
        for step in _few(ours, theirs):
            if step.kind not in {"scale", "affine"} and (certain or "slope" not in step.settings):
                yield from explain_steps(ours, ours, theirs, IDENTITY, step, place, at_input)
    recent = [source for source in reversed(sources) if not source.is_input][:RECENT]
    for source in [*_rectified([*recent, *inputs]), *_sums(recent, ours)]:
        yield from _from_source(source, ours, theirs, place)
    if ours.shape == theirs.shape:
        yield from _summed(ours - theirs, [*recent, *inputs], place)


def _few(x: Array, y: Array) -> Iterator[Step]:
    return islice(candidates(x, y), PER_PAIR)


def _rectified(sources: Sequence[Tensor]) -> Iterator[Tensor]:
    """Each tensor, and what a ReLU makes of it, which is rarely a layer of its own."""
    for source in sources:
        yield source
    for source in sources:
        if not source.is_input and source.value.ndim > 1 and (source.value < 0).any():
            yield Tensor(f"ReLU of {source.name}", np.maximum(source.value, 0.0))


def _sums(sources: Sequence[Tensor], ours: Array) -> Iterator[Tensor]:
    """Sums of two earlier tensors: what a shortcut makes."""
    alike = [source for source in sources if source.value.shape == ours.shape]
    for a, b in combinations(alike[:5], 2):
        yield Tensor(f"{a.name} + {b.name}", a.value + b.value)


def _from_source(
    source: Tensor, ours: Array, theirs: Array, place: tuple[str, str]
) -> Iterator[tuple[str, str, str]]:
    """What both sides made of one earlier tensor."""
    if source.value.shape[0] != ours.shape[0]:
        return
    mine = list(_few(source.value, ours))
    other = list(_few(source.value, theirs)) if mine else []
    for a in mine:
        for b in other:
            if a != b:
                for cause, evidence, fix in explain_steps(
                    source.value, ours, theirs, a, b, place, source.is_input
                ):
                    yield cause, evidence.replace("one and the same tensor", source.name, 1), fix


def _summed(gap: Array, sources: Sequence[Tensor], place: tuple[str, str]) -> Iterator[tuple[str, str, str]]:
    """A difference that is one more term of a sum, or another activation of one of its terms."""
    for source in sources:
        z = source.value
        if z.shape != gap.shape:
            continue
        for sign, lacking, having in ((1.0, "torch", "Keras"), (-1.0, "Keras", "torch")):
            for shown, term in ((source.name, z), (f"ReLU of {source.name}", np.maximum(z, 0.0))):
                if same(sign * gap, term):
                    yield ("skip-missing", f"what arrives differs by {shown}, which {having} adds, {lacking} not",
                           f"add {shown} on the {lacking} side")  # fmt: skip
        yield from _other_activation(gap, source, place)


def _other_activation(gap: Array, source: Tensor, place: tuple[str, str]) -> Iterator[tuple[str, str, str]]:
    """f(z) in Keras and g(z) in torch, inside a sum: the difference is f(z) - g(z)."""
    z = source.value
    order = np.argsort(z, axis=None)[np.linspace(0, z.size - 1, min(96, z.size)).astype(int)]
    some, some_gap = z.reshape(-1)[order], gap.reshape(-1)[order]
    functions = elementwise()
    values = {name: function(some) for name, function in functions.items()}
    for a in functions:
        for b in functions:
            if (
                a != b
                and same(some_gap, values[a] - values[b])
                and same(gap, functions[a](z) - functions[b](z))
            ):
                pair = [IDENTITY if name == "nothing" else Step("activation", name) for name in (a, b)]
                for cause, evidence, fix in explain_steps(
                    z, functions[a](z), functions[b](z), pair[0], pair[1], place
                ):
                    yield (
                        cause,
                        evidence.replace("one and the same tensor", f"{source.name}, inside a sum,", 1),
                        fix,
                    )
