"""What transfer and compare cost as a model grows: time and memory at several numbers of layers, and their growth.

python benchmarks/scale.py [--layers 100 400 1600 5000] [--shapes equal distinct] [--work transfer compare]

The pair is a stack of residual blocks of convolutions and batch norms, with a dense layer behind, built by hand on both
sides. Every size runs in a process of its own. Processor seconds are compared, because they hold on a busy machine too.
Memory is what the process grew by at its peak, in units of what it grew by for the two models themselves and all their
activations in float64. A growth of 1.0 is linear: the cost for each layer is the same as at the size before.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SIZES = (100, 400, 1600, 5000)
MOST = 1.2
"""Times linear that is taken for linear."""
PER_BLOCK = 4
"""Layers with weights in a block: two convolutions, each with a batch norm behind."""
CHANNELS = 4
SCALE = 0.01
"""What a block adds to the stream."""
SIDE = 8
"""Height and width of the picture."""


def pair(layers: int, shapes: str) -> tuple[Any, Any]:
    """The two models with about so many layers with weights; inner widths are equal, or five that take turns."""
    import keras
    import torch  # before Keras: see parity.adapters.frameworks
    from torch import nn

    widths = [CHANNELS + (i % 5 if shapes == "distinct" else 0) for i in range(layers // PER_BLOCK)]
    x = image = keras.Input((SIDE, SIDE, CHANNELS))
    for width in widths:
        y = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
        y = keras.layers.Conv2D(CHANNELS, 3, padding="same", use_bias=False)(y)
        small = keras.initializers.Constant(
            SCALE
        )  # else a stream of a thousand sums enlarges its own rounding
        x = keras.layers.Add()([x, keras.layers.BatchNormalization(gamma_initializer=small)(y)])
    logits = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(CHANNELS, width, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)
            self.second = nn.Conv2d(width, CHANNELS, 3, padding=1, bias=False)
            self.last = nn.BatchNorm2d(CHANNELS, eps=1e-3, momentum=0.01)

        def forward(self, x: Any) -> Any:
            return x + self.last(self.second(torch.relu(self.norm(self.first(x)))))

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.Sequential(*map(Block, widths))
            self.head = nn.Linear(CHANNELS, 3)

        def forward(self, x: Any) -> Any:
            return self.head(self.blocks(x).mean((2, 3)))

    return keras.Model(image, logits), Stack().eval()


def peak() -> float:
    """Megabytes that this process held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(layers: int, shapes: str, work: list[str]) -> dict[str, Any]:
    """Seconds and megabytes of each piece of work at one size, in this process."""
    import parity

    sys.setrecursionlimit(20 * layers + 10_000)  # Keras walks a graph of layers by recursion when it is made
    warm = pair(PER_BLOCK, shapes)  # what the frameworks load and compile once
    parity.transfer(*warm)
    parity.compare(*warm)
    before = peak()
    models = pair(layers, shapes)
    blocks = layers // PER_BLOCK
    activations = 2 * 2 * 6 * blocks * SIDE * SIDE * (CHANNELS + 2) * 8 / 2**20  # both sides, a batch of two
    found: dict[str, Any] = {"layers": layers, "model": peak() - before + activations}
    steps: dict[str, Callable[[], Any]] = {
        "transfer": lambda: parity.transfer(*models),
        "compare": lambda: parity.compare(*models),
    }
    for name in work:
        held, started, wall = peak(), time.process_time(), time.perf_counter()
        result = steps[name]()
        found[name] = time.process_time() - started
        found[f"{name} wall"] = time.perf_counter() - wall
        found[f"{name} MB"] = peak() - held + found["model"]
        found["verdict"] = str(getattr(result, "verdict", ""))
    return found


def main() -> None:
    """Measure every size asked for, and print a row for each; exit code 1 where the growth is more than linear."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=SIZES)
    parser.add_argument("--shapes", nargs="+", choices=("equal", "distinct"), default=("equal", "distinct"))
    parser.add_argument("--work", nargs="+", choices=("transfer", "compare"), default=("transfer", "compare"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)  # in this process, as JSON
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.layers[0], options.shapes[0], options.work)))
        return
    steep = False
    print(
        f"{'shapes':9}{'layers':>7} {'work':9}{'CPU, s':>8}{'wall, s':>9}{'growth':>8}{'MB':>7}{'of model':>9}  verdict"
    )
    for shapes in options.shapes:
        last: dict[str, Any] = {}
        for layers in options.layers:
            command = [
                sys.executable,
                __file__,
                "--one",
                "--layers",
                str(layers),
                "--shapes",
                shapes,
                "--work",
            ]
            run = subprocess.run([*command, *options.work], stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(run.stdout.splitlines()[-1])
            for name in options.work:
                growth = found[name] / last[name] * last["layers"] / layers if last else 1.0
                steep |= growth > MOST
                memory = found[f"{name} MB"]
                verdict = found["verdict"] if name == "compare" else ""
                print(
                    f"{shapes:9}{layers:7d} {name:9}{found[name]:8.2f}{found[f'{name} wall']:9.2f}{growth:8.2f}"
                    f"{memory:7.0f}{memory / max(found['model'], 1.0):9.2f}  {verdict}",
                    flush=True,
                )
            last = found
    sys.exit(int(steep))


if __name__ == "__main__":
    main()
