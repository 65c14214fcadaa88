"""Which sizes a model leaves open, and which even and odd ones to try there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parity.core.adapter import Adapter
from parity.core.types import Array
from parity.probes.change import Parity

SMALL: Mapping[Parity, tuple[int, ...]] = {
    "even": (38, 46, 22, 30, 54, 26),
    "odd": (39, 47, 23, 31, 55, 27),
}
"""Small sizes, so that a further probe costs little; halving them meets even and odd sizes again and again."""
SMALL_VOLUME: Mapping[Parity, tuple[int, ...]] = {"even": (14, 18, 10, 22), "odd": (15, 19, 11, 23)}
"""The same where three axes are open."""
MULTIPLE = 32
"""Networks that halve and join again often take multiples of it alone."""
TINY = 20
"""Sizes up to this one are enlarged too, so that a limit a little above them is met; it costs next to nothing."""


def open_axes(keras: Adapter, values: Sequence[Array]) -> list[tuple[int, ...]]:
    """Axes of each input whose size the Keras model leaves open; those of images where it declares nothing."""
    alternatives = keras.input_specs()
    for specs in alternatives:
        if len(specs) == len(values) and all(
            _fits(shape, value) for (shape, _), value in zip(specs, values, strict=True)
        ):
            return [tuple(i + 1 for i, size in enumerate(shape) if size is None) for shape, _ in specs]
    if alternatives:
        return [() for _ in values]
    return [tuple(range(1, value.ndim - 1)) if value.dtype.kind == "f" else () for value in values]


def _fits(shape: Sequence[int | None], value: Array) -> bool:
    return len(shape) == value.ndim - 1 and all(
        size in (None, own) for size, own in zip(shape, value.shape[1:], strict=True)
    )


def candidates(
    values: Sequence[Array], axes: Sequence[tuple[int, ...]], parity: Parity
) -> list[dict[int, int]]:
    """New sizes to try in turn, by the size that they replace: small ones, multiples of 32, and the next ones.

    Equal sizes of several inputs stay equal. Where no parity is asked for, the sizes are small ones that most networks
    take: a probe on them costs less.

    Args:
        values: inputs of the main probe, in the Keras layout.
        axes: their open axes.
        parity: "even" or "odd"; "" for either.
    """
    sizes = list(
        dict.fromkeys(value.shape[axis] for value, own in zip(values, axes, strict=True) for axis in own)
    )
    sizes = [size for size in sizes if size > 1]
    if not sizes:
        return []
    odd = parity == "odd"
    multiples = {size: MULTIPLE * (1 + i % 3) + odd for i, size in enumerate(sizes)}
    if not parity:
        smaller = all(new <= size for size, new in multiples.items())
        return [multiples] if smaller and any(new < size for size, new in multiples.items()) else []
    small = (SMALL if max(map(len, axes)) < 3 else SMALL_VOLUME)[parity]
    tried = [
        _turned(
            {size: _at_most(size, small[i % len(small)], parity) for i, size in enumerate(sizes)}, parity
        ),
        multiples,
        {size: _next(size, parity) for size in sizes},
    ]
    return [made for i, made in enumerate(tried) if made not in tried[:i]]


def _turned(made: dict[int, int], parity: Parity) -> dict[int, int]:
    """Odd sizes the other way round: what was wider than high becomes higher than wide."""
    if parity != "odd":
        return made
    return dict(zip(sorted(made, reverse=True), sorted(made.values()), strict=True))


def _at_most(size: int, small: int, parity: Parity) -> int:
    """The small size; where the size is smaller already the next one, and of tiny ones more than twice as many."""
    if parity == "odd" and size <= TINY:
        return 2 * size + 1
    return small if size > small else _next(size, parity)


def _next(size: int, parity: Parity) -> int:
    """The size itself where it is even (or odd) already; else the one below, or above where that is too small."""
    if size % 2 == (0 if parity == "even" else 1):
        return size
    return size - 1 if size > 4 else size + 1
