"""Every network of the catalogue in every export format: how far the file is from the network.

python benchmarks/exports.py [NAME ...] [--formats onnx savedmodel litert] [--full]

Weights and statistics are random. Each file is tried on two batches of two sizes, or of one where it takes no more.
Without --full the large networks have fewer channels, as in `parity check --all`; layers and operations are the same.
A NAME may have arguments of its own, as in 'FCN-ResNet18(width=8)'.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Keras' own test configuration imports torch before TensorFlow, citing a segmentation fault.
import torch  # noqa: F401  # isort: skip
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from datasets.errors import RunError
from datasets.export.agreement import Agreement, Floats
from datasets.export.command import STEP
from parity import catalog
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.adapters.spec import load_model

FORMATS = {"onnx": "torch_impl", "savedmodel": "tf_impl", "litert": "tf_impl"}
OUT = {"onnx": "model.onnx", "savedmodel": "model", "litert": "model.tflite"}
GENERATIONS = ("1", "2", "3", "4", "5", "backbone")


def samples(shape: tuple[int, ...], fixed: bool) -> list[Floats]:
    """Two images of the entry's size, and one that is larger unless `fixed`."""
    rng = np.random.default_rng(0)
    _, height, width, channels = shape
    more = (0, 0) if fixed else STEP
    shapes = (2, height, width, channels), (1, height + more[0], width + more[1], channels)
    return [rng.standard_normal(each).astype(np.float32) for each in shapes]


def attempt(entry: catalog.Entry, model: Any, format: str) -> tuple[list[Agreement], str]:
    """Export for any size, or else for one; what was found, and which it was."""
    export = importlib.import_module(f"{FORMATS[format]}.export").export
    reasons = []
    for fixed, sizes in ((False, "any size"), (True, "one size")):
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = export(model, Path(folder) / OUT[format], samples(entry.input, fixed), format, fixed)
                return found, sizes
            except RunError as error:
                reasons.append(str(error))
    return [], "; ".join(reasons)


def rows(names: list[str], formats: list[str], full: bool) -> Iterator[str]:
    """The table's lines, each as soon as it is known."""
    for half in {FORMATS[format] for format in formats}:
        importlib.import_module(f"{half}.export")
    yield "| network | format | greatest difference | of the scale | rounding explains | sizes | seconds |"
    yield "|---|---|---|---|---|---|---|"
    known = [name for name, entry in catalog.entries().items() if entry.generation in GENERATIONS]
    for name in names or known:
        entry = catalog.find(name)
        if entry.quick and not full and "(" not in name:
            entry = catalog.find(name + entry.quick)
        for format in formats:
            side: Any = "torch" if format == "onnx" else "keras"
            model = load_model(entry.torch if side == "torch" else entry.keras, side)
            randomise(adapt(model), 0)
            start = time.perf_counter()
            found, sizes = attempt(entry, model, format)
            taken = f"{time.perf_counter() - start:.0f}"
            if found:
                worst = max(found, key=lambda one: one.greatest / one.allowed)
                share = worst.greatest / worst.scale
                figures = f"{worst.greatest:.1e} | {share:.1e} | {worst.allowed / worst.scale:.1e}"
            else:
                figures = "none | none | none"
            yield f"| {entry.name} | {format} | {figures} | {sizes} | {taken} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: every network and backbone")
    parser.add_argument("--formats", nargs="+", choices=tuple(FORMATS), default=list(FORMATS))
    parser.add_argument("--full", action="store_true", help="all channels of the large networks too")
    options = parser.parse_args()
    for line in rows(options.names, options.formats, options.full):
        print(line, flush=True)


if __name__ == "__main__":
    main()
