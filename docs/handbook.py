"""Measure every cause once for the porting handbook: python docs/handbook.py [CAUSE ...].

Each cause is seeded as the tests seed it, and `parity.compare` is asked. What it says, the fix for either side, the
pair's own source and pictures of both tensors are kept in docs/records/causes.json, from which the pages are made.
"""

from __future__ import annotations

import ast
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
RECORD = ROOT / "docs" / "records" / "causes.json"
NATURAL = ROOT / "tests" / "mutation" / "test_natural_faults.py"


def sources() -> dict[str, list[str]]:
    """The Keras and the torch side of each natural case, as it is written in the tests."""
    text = NATURAL.read_text(encoding="utf-8")
    found = {}
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Dict):
            continue
        for key, value in zip(node.keys, node.values, strict=True):
            if (
                isinstance(key, ast.Constant)
                and isinstance(value, ast.Lambda)
                and isinstance(value.body, ast.Tuple)
            ):
                found[str(key.value)] = [_plain(ast.unparse(side)) for side in value.body.elts]
    return found


def _plain(code: str) -> str:
    """Keras' own words for the tests' helpers."""
    if code.startswith("sequential("):
        code = f"keras.Sequential([keras.Input((20, 28, 3)), {code.removeprefix('sequential(')[:-1]}])"
    return code.replace("keras_of(", "KerasOf(").replace("L.", "layers.")


def seeds() -> dict[str, list[tuple[str, Callable[[], Any]]]]:
    """For each cause what seeds it, the most natural first: a name, and a function that compares."""
    import torch  # noqa: F401  (before TensorFlow)

    from tests.mutation import suite
    from tests.mutation import test_natural_faults as natural
    from tests.mutation.faults import FAULTS

    found: dict[str, list[tuple[str, Callable[[], Any]]]] = {}
    for name in natural.CASES:
        found.setdefault(name.split("#")[0], []).append((name, partial(natural.compared, name)))
    for fault in FAULTS:
        found.setdefault(fault.cause, []).append(
            (f"{fault.victim}: {fault.name}", partial(suite.outcome, fault))
        )
    for cause, model, test in suite.training():
        found.setdefault(cause, []).append((model, test))
    return found


@contextmanager
def heard() -> Iterator[list[Any]]:
    """Every finding of every report that is made within."""
    import parity

    findings: list[Any] = []
    compare = parity.compare

    def listening(*arguments: Any, **named: Any) -> Any:
        report = compare(*arguments, **named)
        findings.extend(report.findings)
        return report

    parity.compare = listening
    try:
        yield findings
    finally:
        parity.compare = compare


def row(name: str, finding: Any) -> dict[str, Any]:
    """What the page shows of a finding."""
    from parity.report.page.pictures import pictures

    drawn = pictures(finding.tensors) if finding.tensors else None
    return {
        "seeded": name,
        "source": sources().get(name),
        "keras": finding.keras,
        "torch": finding.torch,
        "kind": str(finding.kind),
        "evidence": finding.evidence,
        "fix": {"keras": getattr(finding.fix, "keras", finding.fix), "torch": getattr(finding.fix, "torch", finding.fix)},
        "verified": finding.fix_verified,
        "pictures": drawn and {
            "plane": drawn.plane, "shape": list(drawn.shape),
            "images": [{"name": image.name, "range": image.range, "source": image.source} for image in drawn.images],
        },
    }  # fmt: skip


def measure(cause: str, ways: list[tuple[str, Callable[[], Any]]]) -> dict[str, Any] | None:
    """The first way whose report names the cause with pictures, or else the first that names it."""
    kept = None
    for name, compare in ways[:2]:
        with heard() as findings, suppress(AssertionError):
            compare()
        for finding in findings:
            if finding.cause != cause:
                continue
            made = row(name, finding)
            if made["pictures"]:
                return made
            kept = kept or made
    return kept


def main(wanted: list[str]) -> int:
    """Measure, and write the record; the exit code says whether every cause has a row."""
    from parity.causes import CAUSES

    ways = seeds()
    rows = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for cause in wanted or CAUSES:
        started = time.perf_counter()
        made = measure(cause, ways.get(cause, []))
        if made is not None:
            rows[cause] = made
        print(
            f"{cause:<32} {'-' if made is None else made['seeded']:<40} {time.perf_counter() - started:6.1f} s",
            flush=True,
        )
        kept = {name: rows[name] for name in CAUSES if name in rows}
        RECORD.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if set(CAUSES) == set(rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
