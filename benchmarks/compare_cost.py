"""What `parity.compare` costs, in bare passes: both sides evaluated once in float64 at the given size.

python benchmarks/compare_cost.py [--rounds 3] [NAME[@SHAPE] ...]

Each round measures a bare pass of both sides, `compare` with everything on, and `compare(quick=True)`, side by side; the
smallest of each counts. Processor seconds are compared, because they hold on a busy machine too. The bare pass is made
while the models are held in float64, as `compare` holds them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

# Keras' own test configuration imports torch before TensorFlow, citing a segmentation fault.
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import parity
from parity import catalog
from parity.adapters import adapt
from parity.adapters.probe import build, randomise, to_torch_inputs
from parity.adapters.spec import load_model

PAIRS = (
    "mUnet(depth=4)@2x65x96x3", "mUnet(depth=4)@4x64x96x3", "ResNet-18@2x65x96x3", "ResNet-18@4x129x160x3",
    "SkipBlockDN@4x65x96x8", "FCN-ResNet18@2x65x96x3",
)  # fmt: skip
"""Pairs of the catalogue, each with the shape of its input."""


def seconds(work: Callable[[], Any]) -> float:
    """Processor seconds of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measured(name: str, shape: tuple[int, ...], rounds: int) -> tuple[float, float, float, str]:
    """Seconds of a bare pass of both sides, of `compare` and of `compare(quick=True)`, and the verdict."""
    entry = catalog.find(name)
    module, model = load_model(entry.torch, "torch"), load_model(entry.keras, "keras")
    picture = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    build(model, picture)
    randomise(adapt(module))
    parity.transfer(module, model)
    keras, other = adapt(model), adapt(module)
    exact = picture.astype(np.float64)
    moved = to_torch_inputs([exact], keras)
    best = [float("inf")] * 3
    verdict = ""
    for _ in range(rounds):
        with ExitStack() as stack:
            for side in (keras, other):
                stack.enter_context(side.precision("float64"))
            bare = seconds(lambda: (keras.forward([exact]), other.forward(moved)))
        reports: list[Any] = []
        whole = seconds(lambda found=reports: found.append(parity.compare(model, module, picture)))
        quick = seconds(lambda: parity.compare(model, module, picture, quick=True))
        best = [min(pair) for pair in zip(best, (bare, whole, quick), strict=True)]
        verdict = reports[0].verdict
    return *best, verdict


def main() -> None:
    """Measure every pair asked for, and print a row for each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME[@SHAPE]", default=PAIRS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{'pair':32} {'bare, s':>9} {'compare, s':>11} {'ratio':>6} {'quick, s':>9} {'ratio':>6}  verdict")
    for name in options.names:
        plain, _, text = name.partition("@")
        shape = tuple(map(int, text.split("x"))) if text else catalog.find(plain).input
        bare, whole, quick, verdict = measured(plain, shape, options.rounds)
        print(
            f"{name:32} {bare:9.3f} {whole:11.3f} {whole / bare:6.1f} {quick:9.3f} {quick / bare:6.1f}  {verdict}",
            flush=True,
        )


if __name__ == "__main__":
    main()
