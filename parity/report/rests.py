"""What a verdict rests on, in a line, and what it does not rest on, a line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from parity.core.verdict import Verdict
from parity.report.data import Comparison, Result
from parity.report.proof import Proof, Unproven, UnprovenKind

SHOWN = 8
"""Unproven entries that are shown one by one; JSON and the page have all of them."""
NAMED = 3
"""Places that the one line names."""

COUNTED: Mapping[UnprovenKind, tuple[str, str]] = {
    UnprovenKind.TENSORS: ("weight that moved no output", "weights that moved no output"),
    UnprovenKind.PARTS: ("weight of which a part moved none", "weights of which a part moved none"),
    UnprovenKind.LIMITS: ("limit not reached", "limits not reached"),
    UnprovenKind.BRANCHES: ("branch not taken", "branches not taken"),
    UnprovenKind.TRAINING: ("branch for training alone", "branches for training alone"),
    UnprovenKind.SIZES: ("size not tried", "sizes not tried"),
    UnprovenKind.STATE: ("place that changes with each call", "places that change with each call"),
    UnprovenKind.DTYPES: ("dtype not compared", "dtypes not compared"),
    UnprovenKind.PROBES: ("probe not made", "probes not made"),
    UnprovenKind.IGNORED: ("side with ignored tensors", "sides with ignored tensors"),
    UnprovenKind.NEVER_RUNS: (
        "lone tensor that never runs",
        "lone tensors that never run",
    ),
}
"""How entries of a kind are counted, one and several."""


def tolerated(item: Comparison | Result) -> list[str]:
    """What a tolerance of the user's did for the verdict, a line each; nothing where none was given."""
    reports = item.reports.values() if isinstance(item, Result) else [item]
    lines = []
    for report in reports:
        figures = report.precision
        if "tolerance" not in figures:
            continue
        sides = [side for side in ("keras", "torch") if figures.get(f"{side}_needs_tolerance")]
        used = "rounding alone explains both sides, so nothing rests on it"
        if sides:
            errors = " and ".join(
                f"the {side} side needs it, being {figures[f'{side}_error']:.2g} of the scale off "
                f"({figures[f'{side}_roundoffs']:.3g} roundoffs)"
                for side in sides
            )
            used = f"{errors}; rounding does not explain that"
        lines.append(f"tolerance {figures['tolerance']:g} for {report.dtype}: {used}")
    return list(dict.fromkeys(lines))


def rests_on(item: Comparison | Result) -> str:
    """One line: "102 of 102 tensors moved the outputs, 31 of 33 branches taken, 4 probes; not taken: model.py:88".

    Nothing where the sides differ, or nothing was proven.
    """
    if item.proof is None or item.verdict != Verdict.EQUAL:
        return ""
    line = ", ".join(_counts(item.proof))
    rest = _rest(item.unproven)
    return f"{line}; {rest}" if rest else line


def _counts(proof: Proof) -> list[str]:
    said = []
    if proof.tensors is not None and proof.tensors.of:
        said.append(f"{proof.tensors} tensors moved the outputs")
    if proof.limits is not None and proof.limits.of:
        said.append(f"{proof.limits} limits reached")
    if proof.branches is not None and proof.branches.of:
        said.append(f"{proof.branches} branches taken")
    count = len(proof.probes)
    return [*said, f"{count} probe{'' if count == 1 else 's'}"]


def _rest(unproven: Sequence[Unproven]) -> str:
    """The branches that were not taken by name, or how much of what kind is left."""
    kinds = {entry.kind for entry in unproven}
    if not kinds:
        return ""
    if kinds <= {UnprovenKind.BRANCHES, UnprovenKind.TRAINING}:
        places = list(dict.fromkeys(_short(place) for entry in unproven for place in entry.places))
        more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
        return f"not taken: {', '.join(places[:NAMED])}{more}"
    return f"not proven: {', '.join(counted(unproven))}"


def _short(place: str) -> str:
    """A place without its folders: "model.py:88"."""
    return Path(place).name


def unproven_of(item: Comparison | Result) -> list[Unproven]:
    """What an EQUAL verdict does not rest on; nothing for any other verdict, which rests on its findings."""
    return item.unproven if item.verdict == Verdict.EQUAL else []


def too_little(item: Comparison | Result) -> str:
    """Why an EQUAL verdict is not enough where everything must be proven; "" where it is."""
    left = unproven_of(item)
    return f"EQUAL, and not all of it proven: {', '.join(counted(left))}" if left else ""


def counted(unproven: Sequence[Unproven]) -> list[str]:
    """How many entries of each kind, in words."""
    counts = {kind: sum(_size(entry) for entry in unproven if entry.kind is kind) for kind in COUNTED}
    return [f"{count} {COUNTED[kind][count > 1]}" for kind, count in counts.items() if count]


def _size(entry: Unproven) -> int:
    """How many things an entry is about: tensors of one layer are one line."""
    return max(len(entry.places), 1) if entry.kind in {UnprovenKind.TENSORS, UnprovenKind.PARTS} else 1


def first(unproven: Sequence[Unproven], most: int = SHOWN) -> tuple[list[Unproven], str]:
    """The entries to show one by one, of every kind in turn, and a line on all others."""
    by_kind = [[entry for entry in unproven if entry.kind is kind] for kind in UnprovenKind]
    turns = [entries[i] for i in range(most) for entries in by_kind if i < len(entries)][:most]
    chosen = [entry for entry in unproven if any(entry is one for one in turns)]
    left = len(unproven) - len(chosen)
    return chosen, f"... and {left} more (--json and --html hold all)" if left else ""
