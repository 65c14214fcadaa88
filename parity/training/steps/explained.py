"""What was explained of a difference in training, and what makes the rest comparable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from parity.core.finding import Finding
from parity.training.steps.parts import Part

EXACT = 1e-9
"""How closely a statistic or an update must follow a rule for the rule to be proven."""


@dataclass
class Explained:
    """Findings, and how the Keras side follows torch's rule from here on.

    Attributes:
        findings: differences in what the user set.
        rules: differences between the frameworks' own rules.
        batchnorm: changes to the rule of Keras normalisations, by path.
        parts: parts of the optimizer's rule that are taken from torch.
        unconstrained: whether Keras' weight constraints are left out.
        ignored: Keras paths of layers whose statistics are not looked at any more.
        held: torch paths of parameters that are not trained any more.
        known: whether the rest can be judged.
    """

    findings: list[Finding] = field(default_factory=list)
    rules: list[Finding] = field(default_factory=list)
    batchnorm: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    unconstrained: bool = False
    ignored: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    known: bool = True
