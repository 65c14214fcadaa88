"""Explanations as findings: one for each cause, and one cause for two layers that have each other's stride."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from parity.causes.case import Explanation
from parity.core.finding import Fix, Kind
from parity.replay.located import Located


def explained(item: Located, explanations: Sequence[Explanation], trouble: str) -> list[Located]:
    """One finding for each cause; the finding as it is where there is none."""
    found = []
    for known in explanations:
        finding = replace(
            item.finding, cause=known.cause, evidence=f"{item.finding.evidence}; {known.evidence}",
            fix=known.fix, fix_verified=known.verified,
        )  # fmt: skip
        if known.layers is not None:  # two layers without weights between this place and the one before
            fix = _moved(known.fix, (finding.keras, finding.torch), known.layers)
            finding = replace(finding, keras=known.layers[0], torch=known.layers[1], kind=Kind.LAYER, fix=fix)
        found.append(replace(item, finding=finding, strides=known.strides))
    return found or [replace(item, finding=replace(item.finding, evidence=item.finding.evidence + trouble))]


def _moved(
    fix: str | None, before: tuple[str | None, str | None], to: tuple[str | None, str | None]
) -> str | None:
    """A fix with the layers that take the step, where it names those that the result arrives at."""
    if not isinstance(fix, Fix):
        return fix

    def told(text: str) -> str:
        for side, old, new in zip(("Keras", "torch"), before, to, strict=True):
            if old and new:
                words = f"{side} {new}".replace("\\", r"\\")
                text = re.sub(rf"\b{side} {re.escape(old)}(?![\w.])", words, text)
        return text

    return Fix(told(fix.keras), told(fix.torch), told(str(fix)))


def exchanged_strides(located: list[Located]) -> list[Located]:
    """Two neighbouring convolutions, each with the stride of the other: one cause for both."""
    found = list(located)
    strided = [i for i, item in enumerate(found) if item.strides is not None]
    for i, j in pairwise(strided):
        first, second = found[i].strides, found[j].strides
        if first and second and first == second[::-1]:
            for k, neighbour in ((i, j), (j, i)):
                finding = found[k].finding
                text = f"{finding.evidence}; {found[neighbour].finding.keras} has the two exchanged"
                here, there = found[i].finding, found[j].finding
                in_torch = f"exchange the strides of {here.torch} and {there.torch}"
                fix = Fix(f"exchange the strides of {here.keras} and {there.keras}", in_torch, in_torch)
                found[k] = replace(
                    found[k], finding=replace(finding, cause="stride-placement", evidence=text, fix=fix)
                )
    return found
