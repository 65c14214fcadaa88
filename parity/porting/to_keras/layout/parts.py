"""The part of a tensor that an assignment changes: which slice of which axis."""

from __future__ import annotations

import ast
from collections.abc import Callable


def parts_of(target: ast.Subscript) -> list[ast.expr]:
    """The subscript's parts, one for each axis that it names."""
    return target.slice.elts if isinstance(target.slice, ast.Tuple) else [target.slice]


def is_rest(part: ast.expr) -> bool:
    """Whether a part is an ellipsis."""
    return isinstance(part, ast.Constant) and part.value is ...


def dropped_axes(target: ast.Subscript, rank: int) -> list[int]:
    """The torch axes that a subscript takes one place of, and that its part does not have any more."""
    parts, found, axis = parts_of(target), [], 0
    for part in parts:
        if is_rest(part):
            axis += rank - len(parts)
        elif not isinstance(part, ast.Slice):
            found.append(axis)
        axis += 1
    return found


def with_axes(text: str, places: list[int]) -> str:
    """The text of a tensor with new axes at these places of the result; those in front come by broadcasting.

    >>> with_axes("x", [0, 2])
    'ops.expand_dims(x, 2)'
    """
    needed = [place for k, place in enumerate(sorted(places)) if place != k]
    if not needed:
        return text
    return f"ops.expand_dims({text}, {needed[0] if len(needed) == 1 else tuple(needed)})"


def bounds_of(
    target: ast.Subscript,
    rank: int,
    text: Callable[[ast.AST], str],
    is_number: Callable[[ast.AST], bool] = lambda _: False,
) -> dict[int, str] | None:
    """The slice of each torch axis that a subscript restricts, as source; None where it chooses in another way.

    Args:
        target: the subscript.
        rank: of the tensor.
        text: gives the text of an expression in Keras.
        is_number: whether an expression is a whole number that is not negative.
    """
    parts = parts_of(target)
    found: dict[int, str] = {}
    axis = 0
    for part in parts:
        if is_rest(part):
            axis += rank - len(parts)
        elif isinstance(part, ast.Slice):
            ends = ["None" if end is None else text(end) for end in (part.lower, part.upper)]
            ends += [] if part.step is None else [text(part.step)]
            if ends != ["None", "None"]:
                found[axis] = f"slice({', '.join(ends)})"
        elif isinstance(part, ast.Constant) and type(part.value) is int:
            found[axis] = f"slice({part.value}, {part.value + 1})"
        elif is_number(part):
            found[axis] = f"slice({text(part)}, {text(part)} + 1)"
        else:
            return None
        axis += 1
    return found
