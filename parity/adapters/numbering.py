"""The numbers in the names that Keras makes up for what has none: conv2d, conv2d_1 and on, through a whole process."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

Built = TypeVar("Built")
STATE, COUNTS = "keras.src.backend.common.global_state", "object_name_uids"
"""Where Keras keeps how many things of each class it has named, one table for each thread."""
_reached: dict[str, int] = {}
"""The highest count of each class after any build."""


def numbered_alike(build: Callable[[], Built]) -> Built:
    """What a function builds, with the same automatic names however often models were built so before.

    Keras counts on from one model to the next, so that two builds of one model differ in their names. Here its
    counts are put back afterwards, as if the function had built nothing. Nothing else is touched:
    `keras.utils.clear_session` would also forget the policies, seeds and graphs of a user's own models.

    A function may keep a layer from one call to the next, and that layer's name is then taken. Keras refuses it with a
    ValueError, and the function is called once more with counts that no build has reached.

    Args:
        build: makes a model; it may be the first to import Keras.
    """
    before = _counts()
    try:
        return build()
    except ValueError:
        unused = {name: max(before.get(name, 0), _reached.get(name, 0)) for name in {*before, *_reached}}
        if unused == before:
            raise
        _set(unused)
        return build()
    finally:
        _reached.update({name: max(count, _reached.get(name, 0)) for name, count in _counts().items()})
        _set(before)


def _counts() -> dict[str, int]:
    """Keras' counts by class; none where Keras is not loaded."""
    state: Any = sys.modules.get(STATE)
    return dict(state.get_global_attribute(COUNTS) or {}) if state is not None else {}


def _set(counts: dict[str, int]) -> None:
    state: Any = sys.modules.get(STATE)
    if state is not None:
        state.set_global_attribute(COUNTS, defaultdict(int, counts))
