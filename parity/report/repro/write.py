"""Writes the script that shows one finding of a report, from the report's JSON and its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from parity.core.errors import UsageError
from parity.core.files.json_file import read_json
from parity.core.files.whole_file import sha256, whole_file
from parity.core.types import Array
from parity.report.repro.checking import checked, checked_backend, checked_tensors
from parity.report.repro.script import script

LARGEST = 2**30
"""Bytes of the tensors next to a report."""


def write(report: Path, number: int, destination: Path, pair: str | None = None) -> Path:
    """Write the script and its .safetensors file.

    Nothing of the report becomes code: see `parity.report.repro.checking`.

    Args:
        report: a JSON file of `Report.to_json` or `parity check --json`, with its tensors next to it. It may be
            anyone's: it may take 256 MiB, and the tensors next to it 1 GiB.
        number: of the finding, counted from 1 as the report prints them.
        destination: the script; the tensors go next to it.
        pair: which result of a report on several pairs.

    Returns:
        The path of the tensors.

    Raises:
        UsageError: the report, the finding or its tensors are not there, or are not what parity writes.
        OSError: the report cannot be read, or the script not be written.
    """
    from safetensors.numpy import save_file

    values = _chosen(_read(report), pair, report)
    findings = values["findings"]
    if not 1 <= number <= len(findings):
        raise UsageError(
            f"--finding must be between 1 and {len(findings)}; got {number}. {report} has no such finding."
        )
    finding = findings[number - 1]
    source = _source(report, number, values)
    data = destination.with_suffix(".safetensors")
    if data.resolve() == source.resolve():
        raise UsageError(
            f"the script's tensors must not replace the report's; got -o {destination}. Rename it."
        )
    tensors = _tensors(source, number, values.get("tensors_sha256"))
    text = script(
        checked(finding),
        tensors,
        checked_backend(values.get("environment", {})),
        f"{report.name}, finding {number}",
    )
    destination.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(data) as partial:
        save_file(tensors, partial)
    with whole_file(destination) as partial:
        partial.write_text(text, encoding="utf-8")
    return data


def _source(report: Path, number: int, values: dict[str, Any]) -> Path:
    """The file of a report's tensors, which lies next to it."""
    findings, name = values["findings"], values.get("tensors_file", "")
    finding = findings[number - 1]
    if not isinstance(name, str) or Path(name).name != name:
        raise UsageError(
            f"tensors_file must name a file next to the report; got {ascii(name)[:80]} in {report}. Write it anew."
        )
    source = report.parent / name
    if not finding.get("tensors") or not source.is_file():
        why = finding.get("tensors_left_out") or values.get("tensors_left_out")
        with_them = [i for i, item in enumerate(findings, 1) if item.get("tensors")]
        raise UsageError(
            f"a finding must have tensors to be reproduced; got finding {number} ({finding.get('kind')}) "
            f"{f'whose tensors were left out: {why}' if why else 'without any'}"
            f"{'' if source.is_file() or not with_them else f', and no {source}'}. "
            f"Findings with tensors: {', '.join(map(str, with_them)) or 'none'}."
        )
    return source


def _tensors(source: Path, number: int, digest: Any) -> dict[str, Array]:
    """The tensors of one finding, once the file is known to be the one that the report was written with."""
    from safetensors import safe_open

    prefix, found = f"{number}.", {}
    try:
        if source.stat().st_size > LARGEST:
            raise ValueError(f"{source.stat().st_size} bytes, more than {LARGEST}")
        if isinstance(digest, str) and digest != sha256(source):
            raise ValueError("another content than when the report was written")
        with safe_open(source, framework="np") as file:
            for key in file.keys():  # noqa: SIM118  (no mapping)
                if key.startswith(prefix):
                    found[key.removeprefix(prefix)] = np.array(file.get_tensor(key))
    except Exception as error:  # safetensors raises errors of its own on what is no such file
        text = " ".join(str(error).split())[:200]
        raise UsageError(
            f"a report's tensors must be the .safetensors file that was written with it; got {source}: {text}. "
            "Write the report anew."
        ) from error
    checked_tensors(list(found))
    sides = {name.partition(".")[0] for name in found}
    if not ({"keras_output", "torch_output"} <= sides or {"keras_input", "torch_input"} <= sides):
        raise UsageError(
            f"a finding's tensors must hold both sides' inputs or outputs; got {', '.join(sorted(sides)) or 'none'} "
            f"in {source}. Write the report anew."
        )
    return found


def _read(path: Path) -> list[dict[str, Any]]:
    """The results in a report's JSON; a single report is a list of one."""
    values = read_json(path, "a report")
    values = values if isinstance(values, list) else [values]
    if not values or not all(
        isinstance(item, dict) and _are_objects(item.get("findings")) for item in values
    ):
        raise UsageError(
            f"a report must come from Report.to_json or parity check --json; got {path} without findings."
        )
    return values


def _are_objects(findings: Any) -> bool:
    return isinstance(findings, list) and all(isinstance(item, dict) for item in findings)


def _chosen(results: list[dict[str, Any]], pair: str | None, path: Path) -> dict[str, Any]:
    """The result of that name, or without a name the only one that has findings."""
    candidates = [item for item in results if (item.get("name") == pair if pair else item["findings"])]
    if len(candidates) != 1:
        names = ", ".join(str(item.get("name", "comparison")) for item in results if item["findings"])
        raise UsageError(
            f"one pair must be meant; got --pair {pair or '(none)'} for {path}. Pairs with findings: {names or 'none'}."
        )
    return candidates[0]
