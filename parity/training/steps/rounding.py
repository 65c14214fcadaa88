"""What one unit roundoff in weights and inputs does to what a side has after each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from parity.core.rules import in_torch_terms
from parity.core.types import Side
from parity.pairing.slots import Slot
from parity.training.rounding import greater, moved
from parity.training.steps.run import TrainingStep


@dataclass
class StepRounding:
    """How far rounding moves what a side has after one step, by torch path.

    Attributes:
        loss: the loss before the step.
        gradients: the gradients before it.
        state: parameters and statistics after it.
        optimizer_state: what the optimizer keeps after it, by name of what it keeps.
    """

    loss: float = 0.0
    gradients: dict[str, float] = field(default_factory=dict)
    state: dict[str, float] = field(default_factory=dict)
    optimizer_state: dict[str, dict[str, float]] = field(default_factory=dict)

    def widen(self, plain: TrainingStep, nudged: TrainingStep, torch_paths: Mapping[str, str]) -> None:
        """Take in a measurement; the greater counts.

        Args:
            plain: the step.
            nudged: the same step from weights and inputs that were moved by one unit roundoff.
            torch_paths: torch path of each tensor of this side.
        """

        def named(measured: Mapping[str, float]) -> dict[str, float]:
            return {torch_paths[path]: value for path, value in measured.items() if path in torch_paths}

        self.loss = max(self.loss, abs(plain.loss - nudged.loss))
        self.gradients = greater(self.gradients, named(moved(plain.gradients, nudged.gradients)))
        self.state = greater(self.state, named(moved(plain.state, nudged.state)))
        for path, state in plain.optimizer_state.items():
            if path in torch_paths and path in nudged.optimizer_state:
                rule = plain.rules.get(path)
                states = state, nudged.optimizer_state[path]
                first, second = (in_torch_terms(rule, s) if rule else s for s in states)
                known = self.optimizer_state.get(torch_paths[path], {})
                self.optimizer_state[torch_paths[path]] = greater(known, moved(first, second))


def widen_all(
    rounding: Sequence[StepRounding],
    plain: Sequence[TrainingStep],
    nudged: Sequence[TrainingStep],
    slots: Sequence[Slot],
    side: Side,
) -> None:
    """Take the measurement of one side into each step's rounding; the greater of both sides counts."""
    torch_paths = {slot.keras if side == "keras" else slot.torch: slot.torch for slot in slots}
    for each, before, after in zip(rounding, plain, nudged, strict=True):
        each.widen(before, after, torch_paths)
