"""The report of one comparison, and its faces: text, JSON and a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from parity.core.finding import Finding


@dataclass
class Report:
    """What a comparison found.

    Attributes:
        verdict: "EQUAL", "DIVERGED" or "INCONCLUSIVE".
        max_abs_diff: greatest absolute difference of any output element, in `dtype`.
        max_rel_diff: the same relative to the output's greatest magnitude, in `dtype`.
        findings: every difference, in execution order.
        notes: what is worth knowing and no difference.
        dtype: precision that was asked for; the structure is judged in float64 in any case.
        structure: greatest difference in float64 relative to the output's scale.
        structure_abs: the same, absolute.
        precision: for a dtype other than float64, each side's error against its own float64 result,
            the sides' disagreement, the effect of one roundoff, and the bound, all relative to the output's scale.
        pairs: (Keras path, torch path or paths).
        layers: a row for each call of a paired layer in execution order: keras, torch, keras_kind, torch_kind, shape,
            own (relative error on identical inputs; None in JSON where shapes differ), arrived (of what arrived,
            likewise) and finding (its number in `findings`, or None). Empty where the outputs agree.
        graphs: nodes and edges of each side's forward pass, by "keras" and "torch"; likewise.
        elements: output elements compared.
        seconds: time that the comparison took.
        environment: versions, backend and machine.
        training: figures of the comparison in training, where one was asked for.
    """

    verdict: str
    max_abs_diff: float
    max_rel_diff: float
    findings: list[Finding]
    notes: list[str] = field(default_factory=list)
    dtype: str = "float64"
    structure: float = float("inf")
    structure_abs: float = float("inf")
    precision: dict[str, float] = field(default_factory=dict)
    pairs: list[tuple[str, str | tuple[str, ...]]] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    graphs: dict[str, Any] = field(default_factory=dict)
    elements: int = 0
    seconds: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """True for EQUAL alone."""
        return self.verdict == "EQUAL"

    @property
    def first(self) -> Finding | None:
        """The first finding in execution order."""
        return self.findings[0] if self.findings else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; figures that are not finite become None, which JSON can hold."""
        values = {**vars(self), "findings": [finding.to_dict() for finding in self.findings]}
        finite = {
            key: value if not isinstance(value, float) or np.isfinite(value) else None
            for key, value in values.items()
        }
        finite["layers"] = [
            {
                key: None if isinstance(value, float) and not np.isfinite(value) else value
                for key, value in row.items()
            }
            for row in self.layers
        ]
        finite["precision"] = {
            key: value if np.isfinite(value) else None for key, value in self.precision.items()
        }
        return finite

    def to_json(self, path: str | Path) -> None:
        """Write the report as JSON, and the findings' tensors, at most 32 MB, as .safetensors beside it."""
        from parity.report.files import write_json

        write_json(path, self)

    def to_html(self, path: str | Path) -> None:
        """Write the report as one self-contained page."""
        from parity.report.files import write_html

        write_html(path, self)

    def __str__(self) -> str:
        """The verdict, its figures, and every finding."""
        from parity.report.text import summary

        return summary(self)
