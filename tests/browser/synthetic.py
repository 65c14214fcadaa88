"""A report of any size, made up: a residual network with faults spread over it."""

from __future__ import annotations

from typing import Any

import numpy as np

from parity.core.finding import Finding
from parity.report.result import Report

BLOCK = ("Conv2D", "BatchNormalization", "ReLU", "Conv2D", "BatchNormalization")


def made_up(layers: int, faults: int, seed: int = 0, size: int = 120) -> Report:
    """A report on a network with so many layers, in residual blocks, and so many findings with tensors."""
    rng = np.random.default_rng(seed)
    faulty = sorted(rng.choice(layers, faults, replace=False).tolist()) if faults else []
    rows: list[dict[str, Any]] = []
    for i in range(layers):
        kind = BLOCK[i % 5]
        name = f"stage{i // 100}.block{i // 5 % 20}.{kind.lower()}{i % 5}"
        arrived = (
            10.0 ** rng.uniform(-6, -2)
            if faulty and i > faulty[0] and i not in faulty
            else 10.0 ** rng.uniform(-17, -15)
        )
        rows.append({
            "keras": name, "torch": f"body.{i // 5}.{i % 5}", "keras_kind": kind, "torch_kind": kind.replace("2D", "2d"),
            "shape": [2, 33, 46, 64], "own": 10.0 ** rng.uniform(-9, 0) if i in faulty else 10.0 ** rng.uniform(-17, -15.5),
            "arrived": arrived, "finding": faulty.index(i) if i in faulty else None,
        })  # fmt: skip
    findings = [
        Finding(
            rows[i]["keras"], rows[i]["torch"], "wiring" if n % 7 == 3 else "layer", "batchnorm-epsilon" if n % 2 else None,
            "on identical inputs: greatest difference 0.00589 (0.000742 of the scale 7.95) at index (0, 8, 34, 15), "
            "49152 of 49152 elements (100.0 %) beyond the bound; epsilon=0.001 in Keras, eps=1e-05 in torch",
            "set epsilon=1e-05 on the Keras layer" if n % 2 else None, bool(n % 4 == 1),
            tensors=_tensors(rng, size),
        )
        for n, i in enumerate(faulty)
    ]  # fmt: skip
    graphs = {side: _graph(rows, side) for side in ("keras", "torch")}
    return Report(
        "DIVERGED" if faults else "EQUAL", 8.85, 1.4, findings, ["a note on the comparison"], elements=49152,
        pairs=[(row["keras"], row["torch"]) for row in rows], layers=rows, graphs=graphs, seconds=3.2,
        environment={"python": "3.11", "keras": "3", "torch": "2", "keras backend": "tensorflow"},
    )  # fmt: skip


def _tensors(rng: np.random.Generator, size: int) -> dict[str, np.ndarray[Any, Any]]:
    y, x = np.mgrid[:size, : size + 30] / 20.0
    keras = (np.sin(x + rng.uniform(0, 6)) * np.cos(y))[None, :, :, None] * np.ones((2, 1, 1, 3))
    torch = keras + rng.normal(0, 1e-3, keras.shape) * (x > 3)[None, :, :, None]
    return {"keras_output.0": keras, "torch_output.0": np.moveaxis(torch, -1, 1)}


def _graph(rows: list[dict[str, Any]], side: str) -> dict[str, Any]:
    """Each block's sum takes the block's input too; the torch side's sums are steps without a path as well."""
    nodes: list[dict[str, Any]] = [
        {"id": 0, "label": "input", "kind": "input", "path": None, "shape": [2, 33, 46, 3]}
    ]
    edges, last, shortcut = [], 0, 0
    for i, row in enumerate(rows):
        nodes.append({"id": len(nodes), "label": row[side].split(".", 1)[1], "kind": row[f"{side}_kind"], "path": row[side],
                      "shape": row["shape"]})  # fmt: skip
        edges.append([last, nodes[-1]["id"]])
        last = nodes[-1]["id"]
        if i % 5 == 4 and i % 50 > 15:
            nodes.append(
                {"id": len(nodes), "label": "add", "kind": "add", "path": None, "shape": row["shape"]}
            )
            edges += [[last, nodes[-1]["id"]], [shortcut, nodes[-1]["id"]]]
            last = nodes[-1]["id"]
        shortcut = last if i % 5 == 4 else shortcut
    return {"nodes": nodes, "edges": edges}
