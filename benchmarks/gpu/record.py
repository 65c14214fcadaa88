"""What was found, as JSON and as Markdown, written anew after every row: a kill loses nothing."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.plan import MODES

Row = dict[str, Any]
PAIR_HEADS = ("pair", *MODES, "seconds", "JAX compiled")
STEP_HEADS = (
    "batch",
    "precision",
    "network",
    "ms",
    "times DLStudio's speed",
    "TFLOP/s",
    "% of the peak",
    "peak TFLOP/s",
)


@dataclass
class Record:
    """Everything that is known so far.

    Attributes:
        folder: where results.json and results.md lie.
        machine: facts of the card and the versions.
        settings: how the run was started.
        pairs: rows of `benchmarks.gpu.pairs.check`.
        steps: rows of `benchmarks.gpu.steps.measure`.
        not_run: why something was not measured, by its name.
        state: "running", "finished" or "stopped".
        seconds: since the start.
    """

    folder: Path
    machine: Mapping[str, str]
    settings: Mapping[str, Any]
    pairs: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)
    state: str = "running"
    seconds: float = 0.0

    def write(self) -> None:
        """Write both files; each is complete or is the one before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        known = {name: value for name, value in vars(self).items() if name != "folder"}
        text = json.dumps(_finite(known), indent=1, allow_nan=False)
        for name, content in (("results.json", text), ("results.md", markdown(self))):
            fresh = self.folder / f".{name}.new"
            fresh.write_text(content + "\n", encoding="utf-8")
            os.replace(fresh, self.folder / name)

    @property
    def unexpected(self) -> list[Row]:
        """Rows of pairs that are not what they must be."""
        return [row for row in self.pairs if not row["expected"]]


def markdown(record: Record) -> str:
    """The record for readers."""
    lines = [f"# The catalogue on {record.machine.get('card', 'an unknown device')}", ""]
    lines += [
        f"State: {record.state}, after {record.seconds:.0f} s of {record.settings.get('budget', 0):.0f} s.",
        "",
    ]
    lines += [f"- {name}: {value}" for name, value in record.machine.items()]
    lines += ["", "## The catalogue, tf_impl on JAX against torch_impl", "", *_pairs(record.pairs)]
    lines += ["", "## mUnet's training step against DLStudio's", "", *_steps(record.steps)]
    if record.unexpected:
        lines += ["", "## Not as expected", ""]
        lines += [f"- {row['pair']}, {row['mode']}: {row['verdict']}{_why(row)}" for row in record.unexpected]
    if record.not_run:
        lines += ["", "## Not run", "", *(f"- {name}: {why}" for name, why in record.not_run.items())]
    return "\n".join(lines)


def _pairs(rows: Sequence[Row]) -> list[str]:
    by_pair: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_pair.setdefault(row["pair"], {})[row["mode"]] = row
    lines = _head(PAIR_HEADS)
    for name, found in by_pair.items():
        cells = [name, *(_verdict(found.get(mode)) for mode in MODES)]
        compiled = sum(row["compilations"] for row in found.values())
        cells += [f"{sum(row['seconds'] for row in found.values()):.1f}", f"{compiled:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    counts = [
        f"{mode}: {sum(row['expected'] for row in there)} of {len(there)} as expected"
        for mode in MODES
        if (there := [row for row in rows if row["mode"] == mode])
    ]
    used = [row for row in rows if any(moved > 1e-5 for moved in row.get("tf32_moved", {}).values())]
    named = sum(row["expected"] for row in used)
    return [
        *lines,
        "",
        f"{'; '.join(counts)}. TF32 moved an output in {len(used)} pairs, and is named in {named}.",
    ]


def _verdict(row: Row | None) -> str:
    if row is None:
        return "not run"
    causes = sorted({str(finding["cause"]) for finding in row["findings"]})
    verdict = f"{row['verdict']} ({', '.join(causes)})" if causes else row["verdict"]
    moved = max(row.get("tf32_moved", {}).values(), default=0.0)
    text = f"{verdict} {row['max_rel_diff']:.1e}" + (f", moved {moved:.1e}" if moved else "")
    return text if row["expected"] else f"{text} !"


def _steps(rows: Sequence[Row]) -> list[str]:
    lines = _head(STEP_HEADS)
    for row in rows:
        low, high = row["times_dlstudio_quartiles"]
        cells = [
            str(row["batch"]),
            row["precision"],
            row["network"],
            f"{row['ms']:.2f}",
            "1" if row["network"] == "DLStudio" else f"{row['times_dlstudio']:.2f} ({low:.2f}-{high:.2f})",
            f"{row['tflops']:.2f}",
            f"{100 * row['share_of_peak']:.1f}",
            f"{row['peak_tflops']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    work = sorted({(row["batch"], row["depth"], row["size"], row["operations"]) for row in rows})
    stated = [
        f"batch {batch}, depth {depth}, {size} x {size}: {operations / 1e9:.1f} GFLOP a step"
        for batch, depth, size, operations in work
    ]
    return [*lines, "", f"Counted on DLStudio's network: {'; '.join(stated) or 'nothing yet'}."]


def _head(names: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]


def _why(row: Row) -> str:
    texts = [f"{finding['kind']}: {finding['evidence']}" for finding in row["findings"]]
    return f": {'; '.join(texts)}" if texts else ""


def _finite(value: Any) -> Any:
    """JSON has no infinities: as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
