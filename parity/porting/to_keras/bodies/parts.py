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


def bounds_of(target: ast.Subscript, rank: int, text: Callable[[ast.AST], str]) -> dict[int, str] | None:
    """The slice of each torch axis that a subscript restricts, as source; None where it chooses in another way.

    Args:
        target: the subscript.
        rank: of the tensor.
        text: gives the text of an expression in Keras.
    """
    parts = parts_of(target)
    found: dict[int, str] = {}
    axis = 0
    for part in parts:
        if is_rest(part):
            axis += rank - len(parts)
        elif isinstance(part, ast.Slice) and part.step is None:
            ends = ["None" if end is None else text(end) for end in (part.lower, part.upper)]
            if ends != ["None", "None"]:
                found[axis] = f"slice({', '.join(ends)})"
        elif isinstance(part, ast.Constant) and type(part.value) is int:
            found[axis] = f"slice({part.value}, {part.value + 1})"
        else:
            return None
        axis += 1
    return found
