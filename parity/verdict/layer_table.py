"""The table of the layers: what each call of a paired layer showed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parity.core.finding import ROOT, Finding, Kind
from parity.core.types import LayerInfo
from parity.replay.replay import Replay


def layer_rows(
    run: Replay,
    findings: Sequence[Finding],
    pairs: Mapping[str, tuple[str, ...]],
    layers: tuple[Mapping[str, LayerInfo], Mapping[str, LayerInfo]],
) -> list[dict[str, Any]]:
    """The layer table: what each call of a paired layer showed."""
    keras_layers, torch_layers = layers
    first: dict[tuple[str | None, str], int] = {}
    for number, finding in enumerate(findings):
        first.setdefault(
            (finding.keras, "" if finding.kind in {Kind.WIRING, Kind.MISSING_CALL} else "layer"), number
        )
    rows = []
    for call, row in zip(run.calls, run.rows, strict=True):
        path, torch_paths = call.path, pairs[call.path]
        named = path or ROOT
        rows.append(
            {
                "keras": named,
                "torch": ", ".join(torch_paths) or ROOT,
                "keras_kind": keras_layers[path].kind,
                "torch_kind": torch_layers[torch_paths[-1]].kind,
                "shape": list(call.outputs[0].shape) if call.outputs else [],
                "own": row.own,
                "arrived": row.arrived,
                "finding": first.get((named, ""), first.get((named, "layer"))),
            }
        )
    return rows
