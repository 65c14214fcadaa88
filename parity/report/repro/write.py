"""Writes the script that shows one finding of a report, from the report's JSON and its tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from parity.core.errors import UsageError
from parity.report.repro.script import script


def write(report: Path, number: int, destination: Path, pair: str | None = None) -> Path:
    """Write the script and its .safetensors file.

    Args:
        report: a JSON file of `Report.to_json` or `parity check --json`, with its tensors next to it.
        number: of the finding, counted from 1 as the report prints them.
        destination: the script; the tensors go next to it.
        pair: which result of a report on several pairs.

    Returns:
        The path of the tensors.

    Raises:
        UsageError: the report, the finding or its tensors are not there.
    """
    from safetensors.numpy import load_file, save_file

    values = _chosen(_read(report), pair, report)
    findings = values["findings"]
    if not 1 <= number <= len(findings):
        raise UsageError(
            f"--finding must be between 1 and {len(findings)}; got {number}. {report} has no such finding."
        )
    finding = findings[number - 1]
    source = report.parent / values.get("tensors_file", "")
    if not finding.get("tensors") or not source.is_file():
        why = finding.get("tensors_left_out") or values.get("tensors_left_out")
        with_them = [i for i, item in enumerate(findings, 1) if item.get("tensors")]
        raise UsageError(
            f"a finding must have tensors to be reproduced; got finding {number} ({finding['kind']}) "
            f"{f'whose tensors were left out: {why}' if why else 'without any'}"
            f"{'' if source.is_file() or not with_them else f', and no {source}'}. "
            f"Findings with tensors: {', '.join(map(str, with_them)) or 'none'}."
        )
    prefix = f"{number}."
    tensors = {
        key.removeprefix(prefix): np.array(value)
        for key, value in load_file(source).items()
        if key.startswith(prefix)
    }
    data = destination.with_suffix(".safetensors")
    if data.resolve() == source.resolve():
        raise UsageError(
            f"the script's tensors must not replace the report's; got -o {destination}. Rename it."
        )
    text = script(finding, tensors, values.get("environment", {}), f"{report.name}, finding {number}")
    destination.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, data)
    destination.write_text(text, encoding="utf-8")
    return data


def _read(path: Path) -> list[dict[str, Any]]:
    """The results in a report's JSON; a single report is a list of one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"a report must be a JSON file; got {path}: {error}.") from error
    values = values if isinstance(values, list) else [values]
    if not values or not all(isinstance(item, dict) and "findings" in item for item in values):
        raise UsageError(
            f"a report must come from Report.to_json or parity check --json; got {path} without findings."
        )
    return values


def _chosen(results: list[dict[str, Any]], pair: str | None, path: Path) -> dict[str, Any]:
    """The result of that name, or without a name the only one that has findings."""
    candidates = [item for item in results if (item.get("name") == pair if pair else item["findings"])]
    if len(candidates) != 1:
        names = ", ".join(str(item.get("name", "comparison")) for item in results if item["findings"])
        raise UsageError(
            f"one pair must be meant; got --pair {pair or '(none)'} for {path}. Pairs with findings: {names or 'none'}."
        )
    return candidates[0]
