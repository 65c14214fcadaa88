"""Reports as plain values, the one place where they are turned into what JSON can hold."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from parity.report.data import Comparison, Result
from parity.report.groups import groups

ONCE = {"environment", "findings", "causes"}
"""What a result says once for all of its comparisons."""


def plain(item: Comparison | Result) -> dict[str, Any]:
    """Dictionaries, lists, texts and numbers; a number that is not finite becomes None.

    Args:
        item: a comparison, or the result of a pair.
    """
    values = _of_result(item) if isinstance(item, Result) else _of_comparison(item)
    return {key: _held(value) for key, value in values.items()}


def _of_comparison(item: Comparison) -> dict[str, Any]:
    values = {entry.name: getattr(item, entry.name) for entry in fields(item)}
    return {
        **values,
        "findings": [finding.to_dict() for finding in item.findings],
        "unproven": [str(entry) for entry in item.unproven],
        "proof": _proof(item),
        "causes": [group.to_dict() for group in groups(item.findings)],
    }


def _proof(item: Comparison | Result) -> dict[str, Any] | None:
    """The counts, and the kinds and places of what is unproven."""
    if item.proof is None:
        return None
    return {**item.proof.to_dict(), "unproven": [entry.to_dict() for entry in item.unproven]}


def _of_result(result: Result) -> dict[str, Any]:
    comparisons = {key: _of_comparison(report) for key, report in result.reports.items()}
    return {
        "name": result.name,
        "verdict": result.verdict,
        "parameters": result.parameters,
        "max_abs_diff": result.max_abs_diff,
        "max_rel_diff": result.max_rel_diff,
        "float32_rel_diff": result.float32,
        "findings": [finding.to_dict() for finding in result.findings],
        "comparisons": {
            key: {name: value for name, value in values.items() if name not in ONCE}
            for key, values in comparisons.items()
        },
        "seconds": round(result.seconds, 2),
        "environment": result.environment,
        "unproven": [str(entry) for entry in result.unproven],
        "proof": _proof(result),
        "causes": [group.to_dict() for group in groups(result.findings)],
    }


def _held(value: Any) -> Any:
    """The same values with None for what JSON cannot hold."""
    if isinstance(value, dict):
        return {str(key): _held(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_held(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
