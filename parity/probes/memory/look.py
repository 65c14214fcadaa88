"""What a side holds before and after a call: the difference is what the call left behind."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from parity.core.adapter import Adapter, joined
from parity.core.types import Side
from parity.probes.memory.walk import Contents, Walk
from parity.report.proof import Unproven, UnprovenKind

MOST = 4
"""Places that are named, for each side."""
VARIABLE = "the environment variable"
RANDOM = "the state of random numbers"


def held_by(model: Adapter, own: Callable[[str], bool]) -> Contents:
    """Everything that the model and its own code hold, by place: "m.calls", "m.memory['last']".

    Args:
        model: one side.
        own: whether a file holds the models' own code.
    """
    parts = model.kept()
    walk = Walk(own, model.values)
    walk.known([thing for _, thing, _ in parts])
    for path, thing, attributes in parts:
        for name, value in attributes.items():
            walk.look(joined(path, name), value)
        for cls in type(thing).__mro__:
            walk.look(cls.__name__, cls)
    variables = {f"{VARIABLE} {name}": value for name, value in os.environ.items()}
    return {**walk.held, **variables, **{f"{RANDOM} ({name})": mark for name, mark in _random(model).items()}}


def _random(model: Adapter) -> Mapping[str, Any]:
    """Contents of the generators that a call may have drawn from."""
    keys = np.random.get_state()  # noqa: NPY002  (looked at, not drawn from)
    return {
        "random": hash(random.getstate()),
        "numpy.random": (hash(keys[1].tobytes()), *keys[2:]),  # type: ignore[union-attr,index]
        **model.random_state(),
    }


def changed(before: Contents, after: Contents) -> list[str]:
    """Places that hold something else, the shortest paths first; one place for all that lies below it."""
    found = [path for path in {**before, **after} if before.get(path, before) != after.get(path, after)]
    kept: list[str] = []
    for path in sorted(found, key=lambda path: (len(path), path)):
        if not any(path.startswith((f"{stem}.", f"{stem}[", f"{stem} ")) for stem in kept):
            kept.append(path)
    return kept


def named(side: Side, places: list[str], when: str = "with each call") -> list[Unproven]:
    """One entry for each place, and one for what is left.

    Args:
        side: whose places they are.
        places: where something changes.
        when: in words.
    """
    found = [
        Unproven(
            UnprovenKind.STATE,
            f"{place} of the {side} side changes {when}, and may change what later calls give",
            (place,),
        )
        for place in places[:MOST]
    ]
    if len(places) > MOST:
        text = f"{len(places) - MOST} more places of the {side} side change {when}"
        found.append(Unproven(UnprovenKind.STATE, text, tuple(places[MOST:])))
    return found
