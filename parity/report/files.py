"""Reports as files: JSON with the findings' tensors next to it, bounded, and the HTML page."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parity.core.files.whole_file import sha256, whole_file
from parity.core.finding import Finding
from parity.core.types import Array
from parity.report.data import Comparison, Result
from parity.report.gaps import worst_element
from parity.report.page.html import page
from parity.report.plain import plain

LIMIT = 32 * 2**20
"""Bytes of tensors next to one JSON file."""


def write_json(path: str | Path, reports: Comparison | Sequence[Result]) -> None:
    """One report as an object, or results as a list; the findings' tensors go to .safetensors files next to it.

    Every finding that has tensors says in "tensors" which keys it has there; the report or result names the
    file in "tensors_file", and its checksum in "tensors_sha256". Where they are more than 32 MB, each finding keeps
    the batch element that differs most.

    Args:
        path: the JSON file; its folder is made where there is none.
        reports: a report, or a sequence of results.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    many: Sequence[Comparison | Result] = reports if isinstance(reports, Sequence) else [reports]
    written = [plain(item) for item in many]
    for number, (item, values) in enumerate(zip(many, written, strict=True), 1):
        suffix = ".safetensors" if len(many) == 1 else f".{number}.safetensors"
        _store(path.with_suffix(suffix), item.findings, values)
    whole = written if isinstance(reports, Sequence) else written[0]
    with whole_file(path) as partial:
        partial.write_text(_dumped(whole), encoding="utf-8")


def json_text(results: Sequence[Result]) -> str:
    """What `write_json` writes of results, without the tensors, which lie next to a file."""
    return _dumped([plain(result) for result in results])


def _dumped(values: Any) -> str:
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def write_html(path: str | Path, reports: Comparison | Sequence[Result]) -> None:
    """One self-contained page for a report, or for a sequence of results.

    Args:
        path: the HTML file; its folder is made where there is none.
        reports: a report, or a sequence of results.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(page(reports), encoding="utf-8")


def _store(path: Path, findings: Sequence[Finding], values: dict[str, Any]) -> None:
    """Write the findings' tensors, and say in the report's values what was written."""
    if not any(finding.tensors for finding in findings):
        return
    if importlib.util.find_spec("safetensors") is None:
        values["tensors_left_out"] = "safetensors is not installed"
        return
    from safetensors.numpy import save_file

    kept, notes = bounded([dict(finding.tensors) for finding in findings])
    for entry, tensors, note in zip(values["findings"], kept, notes, strict=True):
        if tensors or note:
            entry.update({"tensors": list(tensors), **note})
    named = {f"{i}.{key}": value for i, tensors in enumerate(kept, 1) for key, value in tensors.items()}
    with whole_file(path) as partial:
        save_file({key: np.array(value, order="C") for key, value in named.items()}, partial)
    values["tensors_file"], values["tensors_sha256"] = path.name, sha256(path)


def bounded(
    tensors: Sequence[dict[str, Array]], limit: int = LIMIT
) -> tuple[list[dict[str, Array]], list[dict[str, Any]]]:
    """What of the findings' tensors fits into the limit, and for each finding what was left out.

    Args:
        tensors: of each finding.
        limit: bytes in all.

    Returns:
        The tensors kept, and {} or {"batch_element": i} or {"tensors_left_out": why} for each.
    """
    kept, notes = list(tensors), [dict[str, Any]() for _ in tensors]
    if _bytes(kept) > limit:
        for i, values in enumerate(kept):
            element = worst_element(values)
            if element is not None:
                kept[i] = {
                    key: value if "weight" in key else value[element : element + 1]
                    for key, value in values.items()
                }
                notes[i] = {"batch_element": element}
    for i in reversed(range(len(kept))):
        if _bytes(kept) > limit and kept[i]:
            kept[i], notes[i] = {}, {"tensors_left_out": f"more than {limit // 2**20} MB in all"}
    return kept, notes


def _bytes(tensors: Sequence[dict[str, Array]]) -> int:
    return sum(value.nbytes for values in tensors for value in values.values())
