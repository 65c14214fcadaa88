"""What a comparison, and the check of a pair, found: data alone, which every face of a report reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from parity.core.finding import Finding
from parity.core.verdict import Verdict
from parity.report.proof import Proof, Unproven


@dataclass
class Comparison:
    """What a comparison found; `parity.report.result.Report` is the same with its faces.

    Attributes:
        verdict: EQUAL, DIVERGED or INCONCLUSIVE.
        max_abs_diff: greatest absolute difference of any output element, in `dtype`.
        max_rel_diff: the same relative to the output's greatest magnitude, in `dtype`.
        findings: every difference, in execution order.
        notes: what is worth knowing and is no difference.
        dtype: precision that was asked for; the structure is judged in float64 in any case.
        structure: greatest difference in float64 relative to the output's scale.
        structure_abs: the same, absolute.
        precision: for a dtype other than float64, each side's error against its own float64 result,
            the disagreement of the sides, the effect of one roundoff, and the bound, all relative to the
            output's scale.
        pairs: (Keras path, torch path or paths).
        layers: a row for each call of a paired layer in execution order: keras, torch, keras_kind, torch_kind,
            shape, own (relative error on identical inputs; None where shapes differ), arrived (the same of
            what arrived) and finding (its index in `findings`, or None). Empty where the outputs agree.
        graphs: nodes and edges of each side's forward pass, by "keras" and "torch"; empty where the outputs agree.
        elements: output elements compared.
        seconds: time that the comparison took.
        environment: versions, backend and machine.
        training: figures of the comparison in training, where one was asked for.
        unproven: what the verdict does not rest on, a line each; each line knows its kind and places.
        proof: what the verdict rests on, counted; None where the sides differ already on the main input.
    """

    verdict: Verdict
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
    unproven: list[Unproven] = field(default_factory=list)
    proof: Proof | None = None

    def __bool__(self) -> bool:
        """True for EQUAL alone."""
        return self.verdict == Verdict.EQUAL

    @property
    def first(self) -> Finding | None:
        """The first finding in execution order."""
        return self.findings[0] if self.findings else None


@dataclass
class Result:
    """What the check of one pair found.

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
        unproven: what the verdict does not rest on, of the comparison that proves most.
        proof: what that comparison rests on, counted.
    """

    name: str
    parameters: int = 0
    verdict: Verdict = Verdict.INCONCLUSIVE
    max_abs_diff: float = 0.0
    max_rel_diff: float = 0.0
    float32: float | None = None
    findings: list[Finding] = field(default_factory=list)
    reports: dict[str, Comparison] = field(default_factory=dict)
    seconds: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)
    unproven: list[Unproven] = field(default_factory=list)
    proof: Proof | None = None
