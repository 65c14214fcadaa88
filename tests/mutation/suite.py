"""Seeds every fault and prints what parity makes of it: python -m tests.mutation.suite [CAUSE ...]"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import torch  # noqa: F401  (before TensorFlow)

import parity
from tests.mutation.faults import FAULTS, Fault
from tests.mutation.models import VICTIMS, clean


@dataclass(frozen=True)
class Outcome:
    """What parity made of one mutant."""

    detected: bool
    placed: bool
    named: bool
    verified: bool
    report: Any


def outcome(fault: Fault) -> Outcome:
    """Seed one fault and compare."""
    model, module, values = clean(fault.victim)
    with fault.seed(module):
        report = parity.compare(model, module, values)
    first = report.first
    # A fault of two layers, or of a step that feeds several, is named at each; all must bear the one cause.
    causes = {finding.cause for finding in report.findings if finding.kind != "error"}
    return Outcome(
        report.verdict == "DIVERGED",
        first is not None and (first.torch in fault.places or not fault.places),
        causes == {fault.cause},
        first is not None and first.fix_verified,
        report,
    )


def main(causes: list[str]) -> int:
    """Print the table; the exit code says whether the shares hold."""
    results: dict[str, list[tuple[Fault, Outcome]]] = {}
    for fault in FAULTS:
        if not causes or fault.cause in causes:
            started = time.perf_counter()
            try:
                result = outcome(fault)
            except AssertionError as error:
                print(f"!!! {fault} {error}")
                continue
            results.setdefault(fault.cause, []).append((fault, result))
            if not (result.detected and result.placed and result.named):
                print(
                    f"--- {fault.cause} in {fault.victim} at {fault.name} "
                    f"({time.perf_counter() - started:.1f} s)\n{result.report}"
                )
    print(
        f"{'cause':<28} {'mutants':>7} {'models':>6} {'detected':>8} {'placed':>6} {'named':>6} {'fix verified':>12}"
    )
    rows = [*((cause, items) for cause, items in sorted(results.items())),
            ("all", [item for items in results.values() for item in items])]  # fmt: skip
    for cause, items in rows:
        found = [result for _, result in items]
        counts = [
            sum(values)
            for values in zip(*((r.detected, r.placed, r.named, r.verified) for r in found), strict=True)
        ]
        models = len({fault.victim for fault, _ in items})
        print(
            f"{cause:<28} {len(items):>7} {models:>6} {counts[0]:>8} {counts[1]:>6} {counts[2]:>6} {counts[3]:>12}"
        )
    controls = [parity.compare(*clean(name)).verdict for name in VICTIMS]
    print(f"clean controls: {controls.count('EQUAL')} of {len(controls)} EQUAL")
    total = len(rows[-1][1])
    held = (
        counts[0] == total
        and counts[1] >= 0.98 * total
        and counts[2] >= 0.95 * total
        and set(controls) == {"EQUAL"}
    )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
