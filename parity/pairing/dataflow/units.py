"""What a graph consists of: units, the vertices that are their uses, and the edges between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from parity.core.trace import Trace
from parity.pairing.dataflow.marks import Marks


@dataclass(frozen=True)
class Unit:
    """What is paired: a layer, a part of a layer, or tensors that are used outside a leaf layer.

    `rows` are the outputs of a fused layer that this unit gives, and `bias_rows` the part of the bias that it adds;
    empty for all of them.
    """

    path: str
    part: str = ""
    tensors: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    bias_rows: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Hash once: units are looked up by the million."""
        object.__setattr__(
            self, "_hash", hash((self.path, self.part, self.tensors, self.rows, self.bias_rows))
        )

    def __hash__(self) -> int:
        """Of all that it is."""
        return int(self._hash)  # type: ignore[attr-defined]

    @property
    def partial(self) -> bool:
        """Whether it has a part of a tensor."""
        return bool(self.rows or self.bias_rows)


@dataclass(frozen=True)
class Vertex:
    """One use of a unit, or a model input, a model output or a great sum (then `unit` is None)."""

    label: tuple[Any, ...]
    coarse: tuple[Any, ...]
    unit: Unit | None
    node: int


@dataclass
class Graph:
    """Weighted steps and what connects them: (from, to, marks), by index; and the trace that it was made from."""

    vertices: list[Vertex] = field(default_factory=list)
    edges: set[tuple[int, int, Marks]] = field(default_factory=set)
    units: dict[Unit, list[int]] = field(default_factory=dict)
    trace: Trace | None = None
