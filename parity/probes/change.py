"""What a further probe changes, and its inputs, made from those of the main probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from parity.adapters.inputs.fitted import fitted
from parity.adapters.inputs.padding import padded_like
from parity.core.types import Array
from parity.probes.draw import drawn, flipped

Sign = Literal["", "negated", "non-negative"]
Parity = Literal["", "even", "odd"]

WEIGHTS = "both sides' weights drawn anew"


@dataclass(frozen=True)
class Change:
    """What a probe changes; each part is left out where it says nothing.

    Attributes:
        scale: floating inputs are multiplied by it.
        sign: what becomes of their signs.
        batch: the batch size; 0 leaves it.
        parity: sizes that the model leaves open become even or odd.
        weights: the paired weights of both sides are drawn anew, alike.
        drawn: the inputs are random ones of the given scale (parity.probes.draw), then scaled and signed.
    """

    scale: float = 1.0
    sign: Sign = ""
    batch: int = 0
    parity: Parity = ""
    weights: bool = False
    drawn: bool = False

    def without(self, part: str) -> Change:
        """The same with one part ("sizes", "batch", "values", "drawn") left out."""
        if part == "sizes":
            return replace(self, parity="")
        if part == "drawn":
            return replace(self, drawn=False)
        return replace(self, batch=0) if part == "batch" else replace(self, scale=1.0, sign="")

    def parts(self) -> list[Change]:
        """Its parts, each alone."""
        single = (
            Change(parity=self.parity),
            Change(batch=self.batch),
            Change(scale=self.scale),
            Change(sign=self.sign),
            Change(drawn=self.drawn),
            Change(weights=self.weights),
        )
        return [part for part in single if part != Change()]


FURTHER: tuple[Change, ...] = (
    Change(scale=8.0, sign="negated", parity="even"),
    Change(scale=64.0, sign="non-negative", parity="odd", drawn=True),
    Change(weights=True, parity="odd", drawn=True),
)
"""The probes behind the main one. Each changes several things, which is as strong as one at a time and costs less;
where a probe shows a difference, its parts are tried alone, so that the report names the one that shows it. Inputs that
are drawn anew have none of the given ones' symmetries: no constant or grey image, no whole numbers, no equal examples.
Batches of one, two and three are met, the given one included."""

MOST = 2.0**12
"""How far small inputs are enlarged at most before they are scaled."""


def further(values: Sequence[Array], smaller: bool = True) -> list[Change]:
    """The further probes for these inputs: small ones are scaled as if they had a magnitude of one.

    Args:
        values: inputs of the main probe.
        smaller: whether the probes are on smaller sizes. Where they are not, a batch of three costs too much.

    >>> [change.batch for change in further([np.ones((2, 3))])]
    [1, 3, 1]
    >>> [change.scale for change in further([np.full((2, 3), 0.25)])]
    [32.0, 256.0, 1.0]
    """
    given = _batch(values)
    missing = [size for size in (1, 2, 3) if size != given]
    batches = missing if len(missing) == 3 and (smaller or given > 3) else [*missing[:2], 1]
    plain = [value[np.isfinite(value)] for value in values if value.dtype.kind == "f"]
    size = max(
        (float(np.sqrt(np.mean(np.square(value, dtype=np.float64)))) for value in plain if value.size),
        default=0,
    )
    enlarged = 2.0 ** np.floor(np.log2(min(1.0 / size, MOST))) if 0.0 < size < 0.5 else 1.0
    return [
        replace(
            change,
            scale=change.scale * float(enlarged) if change.scale != 1.0 else 1.0,
            batch=batch,
        )
        for change, batch in zip(FURTHER, batches, strict=True)
    ]


def named(change: Change, values: Sequence[Array], changed: Sequence[Array]) -> str:
    """What was changed, in words: "inputs negated, times 8, batch 1, even sizes 38x46".

    Args:
        change: what was asked for.
        values: inputs of the main probe.
        changed: inputs of this one.
    """
    words = []
    pairs = list(zip(values, changed, strict=True))
    if any(value.dtype.kind == "f" for value in values) and new_values(change):
        words.append(in_words(change))
    elif new_values(change):
        words.append("other whole numbers")
    if any(value.shape[:1] != new.shape[:1] for value, new in pairs):
        words.append(f"batch {changed[0].shape[0]}")
    sizes = ["x".join(map(str, new.shape[1:])) for value, new in pairs if value.shape[1:] != new.shape[1:]]
    if sizes:
        words.append(f"{change.parity} sizes {', '.join(dict.fromkeys(sizes))}".strip())
    if change.weights:
        words.append(WEIGHTS)
    return ", ".join(words) or "the same inputs"


def new_values(change: Change) -> bool:
    """Whether the change asks for other values of the inputs."""
    return change.scale != 1.0 or bool(change.sign) or change.drawn


def in_words(change: Change) -> str:
    """What becomes of the inputs' values: "inputs drawn anew, made non-negative, times 64"."""
    times = f"times {change.scale:g}" if change.scale != 1.0 else ""
    sign = {"negated": "negated", "non-negative": "made non-negative"}.get(change.sign, "")
    return "inputs " + ", ".join(filter(None, ("drawn anew" if change.drawn else "", sign, times)))


def shapes(values: Sequence[Array]) -> str:
    """The shapes of inputs, as the command line takes them."""
    return " and ".join("x".join(map(str, value.shape)) for value in values)


def changed_inputs(
    values: Sequence[Array],
    change: Change,
    sizes: Mapping[int, int],
    axes: Sequence[tuple[int, ...]],
    tokens: int | None = None,
    padding: bool = False,
) -> list[Array]:
    """Inputs of a further probe, in the Keras layout.

    Args:
        values: inputs of the main probe.
        change: what to change.
        sizes: the new size for each size of an open axis (`parity.probes.sizes`); empty leaves them.
        axes: open axes of each input.
        tokens: rows of the smallest embedding table, which whole numbers stay within.
        padding: whether the token 0 is padding, which stands where it stands in the given inputs.
    """
    batch = _batch(values)
    made = []
    for number, (value, own) in enumerate(zip(values, axes, strict=True)):
        for axis in own:
            if value.shape[axis] in sizes:
                value = fitted(value, axis, sizes[value.shape[axis]])
        if change.batch and batch and value.ndim and value.shape[0] == batch:
            value = fitted(value, 0, change.batch)
        if is_mask(values, number):
            made.append(_new_mask(value, values[number], change, number))
            continue
        fresh = _new_values(value, change, tokens, number)
        made.append(padded_like(fresh, values[number]) if padding else fresh)
    return made


def drawn_like(
    values: Sequence[Array], like: Sequence[Array], tokens: int | None, padding: bool, first: int
) -> list[Array]:
    """Inputs drawn anew, in other shapes; what is a mask among the inputs of the main probe is one here.

    Args:
        values: inputs of the main probe.
        like: their sizes are those of what is made, and so is the range of their values.
        tokens: rows of the smallest embedding table, which whole numbers stay within.
        padding: whether the token 0 is padding, which stands where it stands in `like`.
        first: number of the first draw.
    """
    made = []
    for number, value in enumerate(like):
        if is_mask(values, number):
            made.append(_new_mask(value, values[number], Change(drawn=True), first + number))
            continue
        fresh = drawn(value, tokens, first + number)
        made.append(padded_like(fresh, value) if padding else fresh)
    return made


def resized(value: Array, shape: Sequence[int]) -> Array:
    """Cropped or repeated along each axis, so that the rows of a mask stay rows."""
    for axis, size in enumerate(shape):
        value = fitted(value, axis, size)
    return value


def is_mask(values: Sequence[Array], number: int) -> bool:
    """Whether an input of whole numbers is a mask: zeros and ones; ones alone where tokens of its shape come with it."""
    value = values[number]
    if value.dtype.kind not in "iu" or value.ndim < 2 or not value.size or not np.isin(value, (0, 1)).all():
        return False
    tokens = (
        bool(item.max(initial=0) > 1)
        for item in values
        if item.dtype.kind in "iu" and item.shape == value.shape
    )
    return bool(value.any()) and (not value.all() or any(tokens))


def never_masked_whole(values: Sequence[Array]) -> list[str]:
    """A note for each mask of which no row is masked whole: the probes keep one place of each, too."""
    return [
        f"input {number} is a mask: no row was masked whole, and what the models give there was not compared"
        for number, value in enumerate(values)
        if ((value.dtype.kind == "b" and value.ndim > 1 and value.size) or is_mask(values, number))
        and bool(value.any(-1).all())
    ]


def _new_mask(value: Array, given: Array, change: Change, seed: int) -> Array:
    """Another mask, in which what stands first in each row stays: a row that is masked whole has no meaning."""
    fresh = value.copy()
    if new_values(change):
        rng = np.random.default_rng((seed, int(change.scale), change.drawn))
        fresh = flipped(rng, value == 1).astype(value.dtype)
    if given[..., 0].all():
        fresh[..., 0] = 1
    return fresh


def _batch(values: Sequence[Array]) -> int:
    """The size of the batch; 0 where the inputs do not agree on one."""
    found = {value.shape[0] if value.ndim else 0 for value in values}
    return found.pop() if len(found) == 1 else 0


def _new_values(value: Array, change: Change, tokens: int | None, seed: int) -> Array:
    """Drawn anew, scaled and signed; whole numbers become missing of the range seen, and truth values are flipped."""
    if change.drawn:
        value = drawn(value, tokens, seed)
    if value.dtype.kind == "f":
        signed = {"negated": np.negative, "non-negative": np.abs}.get(change.sign)
        value = value if signed is None else signed(value)
        return value if change.scale == 1.0 else (value * change.scale).astype(value.dtype)
    if change.drawn or not value.size or (change.scale == 1.0 and not change.sign):
        return value
    rng = np.random.default_rng((seed, int(change.scale)))
    if value.dtype.kind == "b":
        return flipped(rng, value)
    if value.dtype.kind not in "iu":
        return value
    least, most = int(value.min()), int(value.max())
    if tokens is not None and least < tokens:
        most = min(most, tokens - 1)
    if change.sign == "negated" and int(value.max()) == most:
        return (least + most - value.astype(np.int64)).astype(value.dtype)
    return rng.integers(least, most + 1, value.shape).astype(value.dtype)
