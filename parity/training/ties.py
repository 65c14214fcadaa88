"""Tensors of one side that are one tensor on the other, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.types import Array
from parity.pairing.slots import Slot


@dataclass(frozen=True)
class Tie:
    """Tensors of one side that are one tensor on the other.

    Attributes:
        side: the side that has several.
        paths: theirs.
        other: the path of the one.
        slot: the layout between the sides.
    """

    side: str
    paths: tuple[str, ...]
    other: str
    slot: Slot


def tied(ties: Sequence[Tie], keras: dict[str, Array | None], torch: dict[str, Array | None]) -> None:
    """Give every copy the sum of the copies' gradients, as if it were one tensor; in place."""
    for tie in ties:
        values = keras if tie.side == "keras" else torch
        parts = [values[path] for path in tie.paths if values.get(path) is not None]
        if parts:
            total = np.sum(np.stack([part for part in parts if part is not None]), axis=0)
            values.update(dict.fromkeys(tie.paths, total))
