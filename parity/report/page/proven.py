"""What an EQUAL verdict rests on and what it does not rest on, on the page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from parity.core.verdict import Verdict
from parity.report.data import Result
from parity.report.proof import Proof, Share, Unproven, UnprovenKind
from parity.report.rests import unproven_of

UNFOLDED = 12
"""Entries of a kind that are shown without a click."""

HEADS: Mapping[UnprovenKind, str] = {
    UnprovenKind.IGNORED: "Ignored as asked",
    UnprovenKind.NEVER_RUNS: "Tensors without a counterpart, of layers that never run",
    UnprovenKind.PROBES: "Probes not made",
    UnprovenKind.SIZES: "Sizes not tried",
    UnprovenKind.STATE: "What a call leaves behind",
    UnprovenKind.DTYPES: "Dtypes not compared",
    UnprovenKind.BRANCHES: "Branches of the models' own code not taken",
    UnprovenKind.TRAINING: "Branches for training alone",
    UnprovenKind.TENSORS: "Weights that moved no output",
    UnprovenKind.PARTS: "Weights of which a part moved no output",
    UnprovenKind.LIMITS: "Limits that no value reached",
}


def proven(item: Result) -> str:
    """The counts as bars, the probes, and every unproven entry by kind; nothing where the verdict is not EQUAL."""
    left = unproven_of(item)
    if item.proof is None or item.verdict != Verdict.EQUAL:
        return ""
    return f"<h3>What this rests on</h3>{_bars(item.proof)}{_probes(item.proof)}{_unproven(left)}"


def _bars(proof: Proof) -> str:
    shares = {
        "tensors moved the outputs": proof.tensors,
        "branches taken": proof.branches,
        "limits reached": proof.limits,
    }
    rows = "".join(_bar(name, share) for name, share in shares.items() if share is not None and share.of)
    return f"<div class=bars>{rows}</div>" if rows else ""


def _bar(name: str, share: Share) -> str:
    whole = " whole" if share.reached == share.of else ""
    return (
        f"<span class=n><b>{share.reached:,}</b> of {share.of:,}</span><span>{escape(name)}</span>"
        f'<span class="bar{whole}"><i style="width:{100 * share.reached / share.of:.1f}%"></i></span>'
    )


def _probes(proof: Proof) -> str:
    items = "".join(f"<li>{escape(name)}" for name in proof.probes)
    count = len(proof.probes)
    head = f"{count} probe{'' if count == 1 else 's'}, each evaluated on both sides:"
    return f"<p class=dim>{head}</p><ol class=probes>{items}</ol>"


def _unproven(entries: list[Unproven]) -> str:
    if not entries:
        return "<p class=dim>Nothing is left unproven.</p>"
    return "".join(
        _kind(head, [entry for entry in entries if entry.kind is kind])
        for kind, head in HEADS.items()
        if any(entry.kind is kind for entry in entries)
    )


def _kind(head: str, entries: list[Unproven]) -> str:
    listed = "".join(f"<li>{escape(entry)}" for entry in entries)
    opened = " open" if len(entries) <= UNFOLDED else ""
    return f"<details class=unproven{opened}><summary>{escape(head)} ({len(entries)})</summary><ul>{listed}</ul></details>"
