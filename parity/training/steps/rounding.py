"""How far rounding moves each element of what a side has after each step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from parity.core.rules import in_torch_terms
from parity.core.types import Array, Both
from parity.training.rounding import Spread, widen
from parity.training.steps.run import TrainingStep


@dataclass
class StepSpread:
    """How far rounding moves what one side has in one step, by its own paths.

    Attributes:
        loss: the loss before the step.
        gradients: the gradients before it.
        state: parameters and statistics after it.
        optimizer_state: what the optimizer keeps after it, as torch keeps it, by "path name".
    """

    loss: float = 0.0
    gradients: Spread = field(default_factory=dict)
    state: Spread = field(default_factory=dict)
    optimizer_state: Spread = field(default_factory=dict)

    def take(self, plain: TrainingStep, moved: TrainingStep) -> None:
        """Take in the same step of a run from shaken weights, inputs and targets; the greatest movement counts."""
        self.loss = max(self.loss, abs(plain.loss - moved.loss))
        widen(self.gradients, dict(plain.gradients), dict(moved.gradients))
        widen(self.state, dict(plain.state), dict(moved.state))
        widen(self.optimizer_state, dict(kept(plain)), dict(kept(moved)))


StepSpreads = Both[StepSpread]
"""Both sides' spreads of one step."""


def kept(step: TrainingStep) -> dict[str, Array]:
    """What the optimizer keeps of every parameter, as torch keeps it, by "path name"."""
    found: dict[str, Array] = {}
    for path, state in step.optimizer_state.items():
        rule = step.rules.get(path)
        terms = in_torch_terms(rule, state) if rule else state
        found |= {f"{path} {name}": np.asarray(value) for name, value in terms.items()}
    return found
