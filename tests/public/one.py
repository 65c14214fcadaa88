"""One public pair: transferred strictly without hints, and compared. Prints one line of JSON.

python -m tests.public.one NAME [--direction keras-to-torch]
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import warnings
from typing import Any

from tests.public.table import PAIRS


def stub_torchvision() -> None:
    """Declare the operators of torchvision's compiled part, which does not load beside a CPU build of torch."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    stub_torchvision.library = library  # type: ignore[attr-defined]  # it goes when this goes


def measured(name: str, direction: str = "torch-to-keras") -> dict[str, Any]:
    """What became of one pair."""
    import parity
    from parity.adapters import adapt
    from parity.adapters.probe import build, randomise

    pair = PAIRS[name]
    module, model, inputs = pair.torch(), pair.keras(), pair.inputs()
    build(model, inputs)
    source, target = (module, model) if direction == "torch-to-keras" else (model, module)
    randomise(adapt(source), 0)
    row: dict[str, Any] = {"name": name, "direction": direction, "wanted": pair.verdict}
    row["parameters"] = sum(p.numel() for p in module.parameters())
    started = time.perf_counter()
    try:
        parity.transfer(source, target, inputs=inputs)
        row["transfer"] = "strict"
    except (parity.ParityError, parity.UsageError, parity.PairingError) as error:
        row.update(transfer="refused", message=str(error))
    row["transfer_seconds"] = round(time.perf_counter() - started, 1)
    if row["transfer"] == "refused":
        return row
    started = time.perf_counter()
    report = parity.compare(model, module, inputs)
    row["compare_seconds"] = round(time.perf_counter() - started, 1)
    row["verdict"] = str(report.verdict)
    row["causes"] = sorted({finding.cause for finding in report.findings if finding.cause})
    row["open"] = [str(finding) for finding in report.findings if not finding.cause][:12]
    row["findings"] = len(report.findings)
    row["difference"] = float(report.max_rel_diff)
    row["right"] = (
        row["verdict"] == pair.verdict and set(row["causes"]) == set(pair.causes) and not row["open"]
    )
    row["report"] = str(report)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--direction", default="torch-to-keras")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    stub_torchvision()
    row = measured(arguments.name, arguments.direction)
    row["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print("\nROW " + json.dumps(row))


if __name__ == "__main__":
    main()
