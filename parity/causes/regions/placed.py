"""Findings with file:line of the user's code: of the steps that lead to them, or of the layers that they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from parity.causes.recorded import RecordedSteps
from parity.causes.regions.region import region
from parity.causes.regions.shown import shown
from parity.core.adapter import Adapter
from parity.core.finding import ROOT, Finding
from parity.core.trace import CodePlace, Source
from parity.replay.located import Located


def between_steps(
    item: Located,
    steps: RecordedSteps,
    ends: tuple[Source, Source],
    sides: tuple[Adapter, Adapter],
    listed: bool,
) -> Located:
    """A difference that arrives, with the steps behind the last tensors that agree.

    Args:
        item: the difference.
        steps: both sides, recorded.
        ends: the tensors that differ, Keras first.
        sides: both models.
        listed: whether the evidence lists the steps, because no cause names them.
    """
    known = region(steps, *ends)
    if known is None or not (known.keras or known.torch):
        return item
    steps_shown = shown(known, sides)
    keras_at, torch_at = (None if site is None else str(site) for site in steps_shown.at)
    finding = replace(item.finding, keras_at=keras_at, torch_at=torch_at)
    if listed:
        finding = replace(finding, evidence=f"{finding.evidence}; {steps_shown.text}")
    return replace(item, finding=finding)


def with_sites(findings: Sequence[Finding], sides: tuple[Adapter, Adapter]) -> list[Finding]:
    """The findings, each with where the layers that it names are made.

    Args:
        findings: some may have their places already.
        sides: both models.
    """
    keras, torch = sides
    known: dict[tuple[str, str], CodePlace | None] = {}

    def at(path: str | None, model: Adapter) -> str | None:
        if path is None:
            return None
        path = "" if path == ROOT else path.split(", ")[0]
        layers = model.layers()
        while path and path not in layers:  # a tensor's path
            path = path.rpartition(".")[0]
        if (model.side, path) not in known:
            try:
                known[model.side, path] = model.made_at(path)
            except Exception:  # any class, any source: it costs the place alone
                known[model.side, path] = None
        site = known[model.side, path]
        return None if site is None else str(site)

    return [
        replace(
            item,
            keras_at=item.keras_at or at(item.keras, keras),
            torch_at=item.torch_at or at(item.torch, torch),
        )
        for item in findings
    ]
