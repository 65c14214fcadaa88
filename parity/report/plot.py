"""A report as a plot: the error of every layer in execution order, or what an EQUAL verdict rests on."""

from __future__ import annotations

import math
from typing import Any

from parity.core.errors import UsageError
from parity.report.data import Comparison

FLOOR = 1e-17
"""Where no difference at all is drawn."""
NAMED = 12
"""Layers that are named, those with findings."""
COLOURS = {"own": "#c62828", "arrived": "#5b7fb5", "proof": "#1a7f37"}


def plot(report: Comparison, axes: Any = None) -> Any:
    """Draw the report.

    Where layers were held against each other: for each call in execution order its own error on identical inputs, and the
    error that arrived at it, relative to the scale there. Else the shares that the verdict rests on.

    Args:
        report: of one comparison.
        axes: matplotlib's, to draw into; None makes a figure.

    Returns:
        The axes.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as pyplot
    except ImportError as error:
        raise UsageError(
            "a plot must be drawn by matplotlib; got none installed. Run pip install 'segparity[report]'."
        ) from error
    if axes is None:
        _, axes = pyplot.subplots(figsize=(8, 3.5), layout="constrained")
    if report.layers:
        _layers(report, axes)
    else:
        _shares(report, axes)
    axes.set_title(f"{report.verdict!s} ({report.dtype})", loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _layers(report: Comparison, axes: Any) -> None:
    rows = report.layers
    places = list(range(1, len(rows) + 1))
    for key, words in (("arrived", "arrived"), ("own", "of the layer itself")):
        drawn = [(place, _value(row.get(key))) for place, row in zip(places, rows, strict=True)]
        known = [point for point in drawn if point[1] is not None]
        if known:
            style = "o" if key == "own" else "-"
            axes.plot(*zip(*known, strict=True), style, color=COLOURS[key], markersize=5, label=words)
    named = 0
    for place, row in zip(places, rows, strict=True):
        number = row.get("finding")
        if number is None or named == NAMED:
            continue
        named += 1
        finding = report.findings[number]
        height = _value(row.get("own")) or _value(row.get("arrived")) or 1.0
        text = f"{finding.place}\n{finding.cause or finding.kind.value}"
        axes.annotate(
            text, (place, height), xytext=(8, 0), textcoords="offset points", fontsize=8, va="center"
        )
    axes.set_yscale("log")
    axes.set_ylim(bottom=FLOOR / 3)
    axes.margins(x=0.08, y=0.12)
    axes.set_xlim(0.5, len(rows) * 1.25 + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("call, in execution order")
    axes.set_ylabel("error, relative to the scale there")
    axes.legend(frameon=False, fontsize=8)


def _value(number: Any) -> float | None:
    """An error as it is drawn: zero on the floor; None where there is none."""
    if number is None or math.isnan(number):
        return None
    return min(max(float(number), FLOOR), 1e3)


def _shares(report: Comparison, axes: Any) -> None:
    proof = report.proof
    shares = {} if proof is None else {
        "limits reached": proof.limits, "branches taken": proof.branches, "tensors moved the outputs": proof.tensors,
    }  # fmt: skip
    known = {name: share for name, share in shares.items() if share is not None and share.of}
    for place, (name, share) in enumerate(known.items()):
        axes.barh(place, 1.0, color="#8888", height=0.6)
        axes.barh(place, share.reached / share.of, color=COLOURS["proof"], height=0.6)
        axes.text(0.01, place, f"{share} {name}", va="center", fontsize=9, color="white")
    axes.set_yticks([])
    axes.set_xlim(0, 1)
    axes.set_xlabel(
        "share of what the verdict could rest on" if known else "nothing is counted for this verdict"
    )
