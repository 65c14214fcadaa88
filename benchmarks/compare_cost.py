"""What `parity.compare` costs, in bare passes: both sides evaluated once in float64 at the given size.

python benchmarks/compare_cost.py [--rounds 3] [NAME[@SHAPE] ...]

Each round measures `compare` with everything on and `compare(quick=True)`, and several bare passes of both sides in front
of them, between them and behind them. The median of a round's bare passes is what its two comparisons are divided by, and
the median of the rounds counts. One short pass alone is now fast and now slow on a busy machine, and the fastest of many
is none that a comparison could be made of. Processor seconds are compared. The bare passes are made while the models are
held in float64, as `compare` holds them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
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
    "mUnet(depth=4)@4x64x96x3", "mUnet(depth=4)@4x128x192x3", "ResNet-18@4x129x160x3", "ResNet-18@4x224x224x3",
    "FCN-ResNet18@4x129x160x3", "SkipBlockDN@4x129x160x8", "transformer@16x96x128", "mUnet(depth=4)@2x65x96x3",
    "ResNet-18@2x65x96x3", "FCN-ResNet18@2x65x96x3", "SkipBlockDN@4x65x96x8", "transformer", "tiny",
)  # fmt: skip
"""Pairs of the catalogue, each with the shape of its input; transformer and tiny are made here. The last six are small."""


def transformer() -> tuple[Any, Any, tuple[int, ...]]:
    """Four blocks of attention and two dense layers, 128 features and 4 heads, on 4 sequences of 64."""
    import keras
    import torch
    from torch import nn

    x = tokens = keras.Input((None, 128))
    for _ in range(4):
        y = keras.layers.LayerNormalization(epsilon=1e-5)(x)
        x = x + keras.layers.MultiHeadAttention(4, 32)(y, y)
        y = keras.layers.LayerNormalization(epsilon=1e-5)(x)
        x = x + keras.layers.Dense(128)(keras.layers.Dense(512, activation="gelu")(y))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.between = nn.LayerNorm(128), nn.LayerNorm(128)
            self.attention = nn.MultiheadAttention(128, 4, batch_first=True)
            self.wide, self.narrow = nn.Linear(128, 512), nn.Linear(512, 128)

        def forward(self, x: Any) -> Any:
            y = self.before(x)
            x = x + self.attention(y, y, y, need_weights=False)[0]
            return x + self.narrow(torch.nn.functional.gelu(self.wide(self.between(x))))

    return keras.Model(tokens, x), nn.Sequential(*(Block() for _ in range(4))).eval(), (4, 64, 128)


def tiny() -> tuple[Any, Any, tuple[int, ...]]:
    """Two dense layers."""
    import keras
    from torch import nn

    x = keras.Input((8,))
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.Dense(16, activation="relu")(x)))
    return model, nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).eval(), (4, 8)


PASSES = 5
"""Bare passes in a row."""

OWN = {"transformer": transformer, "tiny": tiny}
"""Pairs that no catalogue has: (Keras model, torch module, shape of the input)."""


def seconds(work: Callable[[], Any]) -> float:
    """Processor seconds of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def made(name: str) -> tuple[Any, Any, tuple[int, ...]]:
    """The Keras model, the torch module and the shape of an input: of a pair of the catalogue, with a shape or not."""
    plain, _, text = name.partition("@")
    if plain in OWN:
        model, module, shape = OWN[plain]()
        return model, module, tuple(map(int, text.split("x"))) if text else shape
    entry = catalog.find(plain)
    module, model = load_model(entry.torch, "torch"), load_model(entry.keras, "keras")
    return model, module, tuple(map(int, text.split("x"))) if text else entry.input


def bare_passes(sides: tuple[Any, Any], inputs: tuple[list[Any], list[Any]]) -> list[float]:
    """Seconds of some passes of both sides, held in float64."""
    with ExitStack() as stack:
        for side in sides:
            stack.enter_context(side.precision("float64"))
        return [
            seconds(lambda: [side.forward(values) for side, values in zip(sides, inputs, strict=True)])
            for _ in range(PASSES)
        ]


def measured(name: str, rounds: int) -> tuple[list[tuple[float, float, float]], str]:
    """Of each round the seconds of a bare pass of both sides, of `compare` and of `compare(quick=True)`; the verdict."""
    model, module, shape = made(name)
    picture = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    build(model, picture)
    randomise(adapt(module))
    parity.transfer(module, model)
    keras, other = adapt(model), adapt(module)
    exact = picture.astype(np.float64)
    inputs = [exact], to_torch_inputs([exact], keras)
    for _ in range(2):  # what is made once for a process, and the memory that it touches for the first time
        parity.compare(model, module, picture)
    found, verdict = [], ""
    for _ in range(rounds):
        reports: list[Any] = []
        bare = bare_passes((keras, other), inputs)
        whole = seconds(lambda kept=reports: kept.append(parity.compare(model, module, picture)))
        bare += bare_passes((keras, other), inputs)
        quick = seconds(lambda: parity.compare(model, module, picture, quick=True))
        bare += bare_passes((keras, other), inputs)
        found.append((median(bare), whole, quick))
        verdict = reports[0].verdict
    return found, verdict


def main() -> None:
    """Measure every pair asked for, and print a row for each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME[@SHAPE]", default=PAIRS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{'pair':32} {'bare, s':>9} {'compare, s':>11} {'ratio':>6} {'quick, s':>9} {'ratio':>6}  verdict")
    for name in options.names:
        found, verdict = measured(name, options.rounds)
        bare, whole, quick = (median(column) for column in zip(*found, strict=True))
        ratios = median(w / b for b, w, _ in found), median(q / b for b, _, q in found)
        print(
            f"{name:32} {bare:9.3f} {whole:11.3f} {ratios[0]:6.1f} {quick:9.3f} {ratios[1]:6.1f}  {verdict}",
            flush=True,
        )


if __name__ == "__main__":
    main()
