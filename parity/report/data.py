"""What a comparison, and the check of a pair, found: data alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.core.finding import Finding
from parity.report.result import Report


@dataclass
class Result:
    """What checking one pair found.

    Attributes:
        name: of the pair.
        parameters: trainable parameters on the torch side.
        verdict: the worst of all comparisons.
        max_abs_diff: greatest absolute difference in float64 (or the dtype asked for).
        max_rel_diff: the same, relative to the output's scale.
        float32: greatest disagreement in float32 relative to the output's scale, None where not compared.
        findings: of every comparison, each once.
        reports: each comparison, by "direction, picture".
        seconds: time taken.
        environment: versions, backend and machine.
    """

    name: str
    parameters: int = 0
    verdict: str = "INCONCLUSIVE"
    max_abs_diff: float = 0.0
    max_rel_diff: float = 0.0
    float32: float | None = None
    findings: list[Finding] = field(default_factory=list)
    reports: dict[str, Report] = field(default_factory=dict)
    seconds: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; figures that are not finite become None."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "parameters": self.parameters,
            "max_abs_diff": _finite(self.max_abs_diff),
            "max_rel_diff": _finite(self.max_rel_diff),
            "float32_rel_diff": _finite(self.float32),
            "findings": [finding.to_dict() for finding in self.findings],
            "comparisons": {
                key: {
                    name: value
                    for name, value in report.to_dict().items()
                    if name not in {"environment", "findings"}
                }
                for key, report in self.reports.items()
            },
            "seconds": round(self.seconds, 2),
            "environment": self.environment,
        }


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else value
