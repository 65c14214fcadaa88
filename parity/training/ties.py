"""Tensors of one side that are one tensor on the other side, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.types import Array, Side
from parity.pairing.slots import Slot


@dataclass(frozen=True)
class Tie:
    """Tensors of one side that are one tensor on the other side.

    Attributes:
        side: the side that has several.
        paths: of these tensors.
        single: path of the one tensor on the other side.
        slot: the layout between the sides.
    """

    side: Side
    paths: tuple[str, ...]
    single: str
    slot: Slot


def add_up(ties: Sequence[Tie], side: Side, gradients: dict[str, Array | None]) -> None:
    """Give every copy on this side the sum of the copies' gradients, as if they were one tensor; in place."""
    done: set[tuple[str, ...]] = set()
    for tie in ties:
        if tie.side != side or tie.paths in done:  # several rows of one tensor are added up together
            continue
        done.add(tie.paths)
        parts = [gradients[path] for path in tie.paths if gradients.get(path) is not None]
        if parts:
            total = np.sum(np.stack([part for part in parts if part is not None]), axis=0)
            gradients.update(dict.fromkeys(tie.paths, total))
