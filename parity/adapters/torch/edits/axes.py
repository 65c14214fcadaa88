"""Other axes of a reduction, softmax, concatenation, flip, roll or running sum."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import torch

from parity.adapters.torch.edits.edit import Called, Edit, of_first, positive, with_given

SOFTMAXES = {"softmax", "log_softmax", "softmin", "gumbel_softmax"}
REDUCTIONS = {"mean", "sum", "amax", "amin", "max", "min", "std", "var", "var_mean", "std_mean", "prod", "norm",
              "vector_norm", "logsumexp", "argmax", "argmin", "median", "nanmean", "nansum", "any", "all", "aminmax",
              "count_nonzero"}  # fmt: skip
RUNNING = {"cumsum", "cumprod", "flip", "fliplr", "flipud", "roll", "sort", "argsort", "topk", "glu", "diff",
           "logcumsumexp", "cummax", "cummin"}  # fmt: skip
JOINS = {"cat", "concat", "concatenate", "stack"}
PLACES = {"flip": 1, "roll": 2, "norm": 2, "vector_norm": 2, "topk": 2, "gumbel_softmax": 4, "diff": 2}
"""Where the axes stand among the arguments, where that is not the second place."""
NAMES = {"flip": "dims", "roll": "dims"}


def changed_axes(step: Called) -> Iterator[Edit]:
    """The same step along other axes."""
    x, name = step.x, step.name
    if x is None or name not in SOFTMAXES | REDUCTIONS | RUNNING | JOINS:
        return
    if name in {"fliplr", "flipud"}:
        own: Any = 1 if name == "fliplr" else 0
        key, place = "dims", 1
    else:
        key, place = NAMES.get(name, "dim"), PLACES.get(name, 1)
        own = step.given(
            key, place, 0 if name in JOINS else -1 if name in {"sort", "argsort", "topk", "glu"} else None
        )
        if name == "flip" and len(step.args) > 2:
            own = tuple(step.args[1:])
    if isinstance(own, torch.Tensor) or (own is None and name in SOFTMAXES | RUNNING):
        return
    rank = x.ndim + (name == "stack")
    axes = positive(own, rank)
    cause = "softmax-axis" if name in SOFTMAXES else "axis-value"
    for tried in _alternatives(axes, rank, name):
        value: Any = tried[0] if isinstance(own, int) and len(tried) == 1 else tried
        change = _flipped(tried) if name in {"flip", "fliplr", "flipud"} else with_given(key, place, value)
        yield Edit(cause, f"{name} over {_shown(tried)}", f"{name} over {_shown(axes)}", change)


def _flipped(axes: tuple[int, ...]) -> Any:
    return of_first(lambda x: torch.flip(x, axes))


def _alternatives(axes: tuple[int, ...], rank: int, name: str) -> Iterator[tuple[int, ...]]:
    """Other axes, as many of them first; for reductions also more or fewer."""
    counts = [len(axes)]
    if name in REDUCTIONS or name == "flip":
        counts += [n for n in range(1, rank + 1) if n != len(axes)]
    for count in counts:
        for tried in combinations(range(rank), count):
            if set(tried) != set(axes):
                yield tried


def _shown(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"
