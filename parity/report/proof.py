"""What a verdict rests on, counted, and what it does not rest on, in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class UnprovenKind(StrEnum):
    """What sort of thing no probe has shown."""

    TENSORS = "tensors"
    PARTS = "parts"
    LIMITS = "limits"
    BRANCHES = "branches"
    TRAINING = "training"
    SIZES = "sizes"
    STATE = "state"
    DTYPES = "dtypes"
    PROBES = "probes"
    IGNORED = "ignored"
    NEVER_RUNS = "never-runs"


@dataclass(frozen=True, eq=False, repr=False)
class Unproven(str):
    """One thing that the verdict does not rest on: a line of text that knows its kind and its places.

    Attributes:
        kind: what sort of thing it is.
        text: one line, for readers; the string itself is the same.
        places: paths of layers or tensors, or "file:line".
    """

    kind: UnprovenKind
    text: str
    places: tuple[str, ...] = ()

    def __new__(cls, kind: UnprovenKind, text: str, places: tuple[str, ...] = ()) -> Unproven:
        """The text, as a string."""
        return str.__new__(cls, text)

    def __getnewargs__(self) -> Any:
        """What a copy is made from."""
        return self.kind, self.text, self.places

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"kind": self.kind.value, "text": self.text, "places": list(self.places)}


@dataclass(frozen=True)
class Share:
    """How many of how many."""

    reached: int = 0
    of: int = 0

    def __str__(self) -> str:
        """In words."""
        return f"{self.reached:,} of {self.of:,}"


@dataclass(frozen=True)
class Proof:
    """What the verdict rests on.

    Attributes:
        probes: what each probe changed, the main one first; each was evaluated on both sides.
        tensors: floating weight tensors of the torch side of which every element moved the outputs, where looked at.
        branches: ways that the conditions in the models' own code went, where watched.
        limits: limits (clip, relu6, softplus' threshold) that values reached, of all steps that have one.
    """

    probes: tuple[str, ...] = ()
    tensors: Share | None = None
    branches: Share | None = None
    limits: Share | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        shares = {"tensors": self.tensors, "branches": self.branches, "limits": self.limits}
        counted = {
            name: None if share is None else {"reached": share.reached, "of": share.of}
            for name, share in shares.items()
        }
        return {"probes": list(self.probes), **counted}
