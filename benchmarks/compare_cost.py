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
    "SkipBlockDN@4x65x96x8", "FCN-ResNet18@2x65x96x3", "transformer", "tiny",
)  # fmt: skip
"""Pairs of the catalogue, each with the shape of its input; transformer and tiny are made here."""


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


OWN = {"transformer": transformer, "tiny": tiny}
"""Pairs that no catalogue has: (Keras model, torch module, shape of the input)."""


def seconds(work: Callable[[], Any]) -> float:
    """Processor seconds of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def made(name: str) -> tuple[Any, Any, tuple[int, ...]]:
    """The Keras model, the torch module and the shape of an input: of a pair of the catalogue, with a shape or not."""
    if name in OWN:
        return OWN[name]()
    plain, _, text = name.partition("@")
    entry = catalog.find(plain)
    module, model = load_model(entry.torch, "torch"), load_model(entry.keras, "keras")
    return model, module, tuple(map(int, text.split("x"))) if text else entry.input


def measured(name: str, rounds: int) -> tuple[float, float, float, str]:
    """Seconds of a bare pass of both sides, of `compare` and of `compare(quick=True)`, and the verdict."""
    model, module, shape = made(name)
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
        bare, whole, quick, verdict = measured(name, options.rounds)
        print(
            f"{name:32} {bare:9.3f} {whole:11.3f} {whole / bare:6.1f} {quick:9.3f} {quick / bare:6.1f}  {verdict}",
            flush=True,
        )


if __name__ == "__main__":
    main()
