"""Whole numbers that depend on the input's size, told from constants by two records at two sizes."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from parity.porting.to_torch.use import flat
from parity.porting.to_torch.values import is_tensor


class Sized(int):
    """A whole number that was another one in the second record."""

    pair: tuple[int, int]

    def __new__(cls, one: int, two: int) -> Sized:
        """The number in both records."""
        made = super().__new__(cls, one)
        made.pair = (one, two)
        return made


class Varying(np.ndarray[Any, Any]):
    """An array of the first record that was another one in the second record."""


def paired(one: Any, two: Any) -> Any:
    """A value of the first record, its numbers marked that the second one has otherwise."""
    if isinstance(one, bool) or is_tensor(one):
        return one
    if isinstance(one, int) and isinstance(two, int):
        return one if one == two else Sized(one, two)
    if isinstance(one, np.ndarray) and not np.array_equal(one, two):
        return one.view(Varying)
    if isinstance(one, slice) and isinstance(two, slice):
        return slice(*(paired(getattr(one, end), getattr(two, end)) for end in ("start", "stop", "step")))
    if isinstance(one, list | tuple) and isinstance(two, list | tuple) and len(one) == len(two):
        items = [paired(a, b) for a, b in zip(one, two, strict=True)]
        return items if isinstance(one, list) else tuple(items)
    if isinstance(one, dict) and isinstance(two, dict):
        return {key: paired(value, two.get(key)) for key, value in one.items()}
    return one


def compare(one: Any, two: Any, shapes: dict[int, tuple[int, ...]]) -> bool:
    """Mark the numbers of the first record that the second one has otherwise.

    Args:
        one: a scope of the first record; its steps' arguments are marked in place.
        two: the same scope of the second record, which has the same steps.
        shapes: the shapes of all tensors, which are marked too, by the tensor's key.

    Returns:
        Whether both records have the same steps.
    """
    if len(one.steps) != len(two.steps):
        return False
    _note((one.args, one.kwargs), (two.args, two.kwargs), shapes)
    for first, second in zip(one.steps, two.steps, strict=True):
        if type(first.operation) is not type(second.operation):
            return False
        first.args, first.kwargs = paired(first.args, second.args), paired(first.kwargs, second.kwargs)
        _note((first.args, first.kwargs, first.outputs), (second.args, second.kwargs, second.outputs), shapes)
        if first.scope is not None and not compare(first.scope, second.scope, shapes):
            return False
    return True


def _note(one: Any, two: Any, shapes: dict[int, tuple[int, ...]]) -> None:
    for first, second in zip(flat(one), flat(two), strict=False):
        if is_tensor(first) and is_tensor(second):
            shapes[id(first)] = paired(tuple(first.shape), tuple(second.shape))


def formula(pair: tuple[int, int], shape: tuple[int, ...], *, alone: bool = False) -> str | None:
    """How a number follows from a tensor's shape, as a template over `{0}` for its torch text; None where it does not.

    The axes are counted as `shape` has them. With `alone`, the number must be a size itself.
    """
    pairs = [getattr(size, "pair", (int(size), int(size))) for size in shape]
    for axis, (a, b) in enumerate(pairs):
        if (a, b) == pair:
            return f"{{0}}.shape[{axis}]"
    if alone:
        return None
    for axis, (a, b) in enumerate(pairs):
        if a != b and pair[0] % a == 0 and pair[0] // a == pair[1] / b:
            return f"{{0}}.shape[{axis}] * {pair[0] // a}"
        for k in range(2, 65):
            if a != b and (a // k, b // k) == pair:
                return f"{{0}}.shape[{axis}] // {k}"
    for first, axis in sorted(combinations(range(len(pairs)), 2), key=lambda axes: axes[1] - axes[0]):
        (a, b), (c, d) = pairs[first], pairs[axis]
        if (a * c, b * d) == pair:
            return f"{{0}}.shape[{first}] * {{0}}.shape[{axis}]"
    return next(
        (
            f"{{0}}.shape[{axis}] {'+' if pair[0] > a else '-'} {abs(pair[0] - a)}"
            for axis, (a, b) in enumerate(pairs)
            if a != b and pair[0] - a == pair[1] - b
        ),
        None,
    )
