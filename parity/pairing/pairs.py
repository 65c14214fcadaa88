"""What a pairing gives: pairs of layers with their tensors, and what found no counterpart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from parity.core.types import Side
from parity.pairing.evidence import Evidence
from parity.pairing.problems.problem import Problem
from parity.pairing.slots import Constant, Slot
from parity.pairing.uses.images import Regrouped


@dataclass(frozen=True)
class LayerPair:
    """One Keras layer and the torch module, or modules, that do its work.

    Attributes:
        keras: path of the Keras layer.
        torch: paths of the torch modules.
        slots: the tensors that correspond.
        evidence: on what grounds the two were paired.
        constants: tensors of one side that the other does without.
    """

    keras: str
    torch: tuple[str, ...]
    slots: tuple[Slot, ...]
    evidence: Evidence
    constants: tuple[Constant, ...] = ()


@dataclass
class Pairing:
    """Every pair, and every tensor that found none.

    Attributes:
        pairs: in the Keras model's definition order.
        problems: what found no counterpart, or several.
        unmatched_keras: paths of tensors without a counterpart.
        unmatched_torch: likewise.
        ops: (Keras node, torch node) of the steps of the two traces that correspond, weighted or not.
        notes: what is worth knowing of how the layers were paired.
        level: how far the two dataflows are the same ("marks", "order", "edges"); None where they are not, or
            were not looked at.
        unrun: why the dataflow was not looked at where names left something open; None where it was.
        flattened: (H, W, C) of the image that was flattened in front of a Keras layer, by its path.
        regrouped: how the outputs of a Keras layer go to torch's order, where both become images, by its path.
        constants: (side, path) of tensors that training never changes and that one side alone has: they stay as they
            are, and what comes out judges them.
        ignored: paths of the tensors that the caller leaves out, of Keras and of torch.
        doubt: whether the dataflow leaves several pairings, or could be another's, so that a run of both sides has to
            confirm this one.
        guessed: whether nothing but such a run speaks for this one.
        rivals: further pairings that the dataflow allows, where no run could decide.
    """

    pairs: list[LayerPair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    ops: list[tuple[int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    level: str | None = None
    unrun: str | None = None
    flattened: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    unmatched_keras: list[str] = field(default_factory=list)
    unmatched_torch: list[str] = field(default_factory=list)
    regrouped: Mapping[str, Regrouped] = field(default_factory=dict)
    constants: tuple[tuple[Side, str], ...] = ()
    ignored: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    doubt: bool = False
    guessed: bool = False
    rivals: tuple[Pairing, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether each tensor has its counterpart."""
        return not self.problems

    @property
    def open(self) -> list[Problem]:
        """The problems that leave a verdict open: not those of layers that never run.

        A layer whose tensors lead to no output may still decide a branch, as a number: it leaves the verdict open.
        """
        return [problem for problem in self.problems if not problem.unrun]
