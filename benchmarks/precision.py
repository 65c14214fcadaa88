"""How far honest sides are off in each dtype, and how far TF32 is, in units of what one roundoff does.

python benchmarks/precision.py [--seeds 3] [NAME ...]

The table is the evidence for TOLERATED in parity/verdict/precision.py: the greatest error of an element, divided
by what one roundoff of every weight, input and step does to it. TF32 is simulated by rounding what goes into the
torch side's convolutions and dense layers to 10 bits, in all of them and in one alone (the least
visible of the first, middle and last).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

# Keras' own test configuration imports torch before TensorFlow, citing a segmentation fault.
import torch  # isort: skip
import numpy as np
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import parity
from parity import catalog
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.adapters.spec import load_model

DTYPES = ("float32", "bfloat16", "float16")
MULTIPLIES = (nn.modules.conv._ConvNd, nn.Linear)


def tf32(value: torch.Tensor) -> torch.Tensor:
    """The nearest value with 10 explicit mantissa bits; other dtypes than float32 stay."""
    if value.dtype != torch.float32:
        return value
    return ((value.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


@contextmanager
def reduced(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Round what goes into these modules for the time being."""
    with ExitStack() as stack:
        for module in modules:
            hook = module.register_forward_pre_hook(lambda _, inputs: tuple(map(tf32, inputs)))
            stack.callback(hook.remove)
        yield


def called(module: nn.Module, values: Any) -> list[nn.Module]:
    """The convolutions and dense layers that run (mUnet declares some that never do)."""
    found: list[nn.Module] = []
    with ExitStack() as stack, torch.no_grad():
        for child in module.modules():
            if isinstance(child, MULTIPLIES):
                stack.callback(child.register_forward_hook(lambda layer, *_: found.append(layer)).remove)
        module.eval()(torch.from_numpy(values).movedim(-1, 1))
    return found


def ratio(model: Any, module: Any, values: Any, dtype: str) -> float:
    """The worse side's greatest error in roundoffs; not a number where a side cannot compute."""
    report = parity.compare(model, module, values, dtype=dtype)
    if not report.precision:
        return float("nan")
    return max(report.precision[f"{side}_roundoffs"] for side in ("keras", "torch"))


def measure(name: str, seed: int) -> dict[str, float]:
    """All ratios of one catalogue entry."""
    entry = catalog.find(name)
    module, model = load_model(entry.torch), load_model(entry.keras)
    randomise(adapt(module), seed)
    parity.transfer(module, model, inputs=np.zeros(entry.input, np.float32))
    values = np.random.default_rng(seed).standard_normal(entry.input).astype(np.float32)
    figures = {dtype: ratio(model, module, values, dtype) for dtype in DTYPES}
    layers = called(module, values)
    for column, chosen in (
        ("tf32", [layers]),
        ("tf32, one", [[layers[i]] for i in {0, len(layers) // 2, -1}] if layers else [[]]),
    ):
        found = []
        for part in chosen:
            with reduced(part):
                found.append(ratio(model, module, values, "float32") if part else float("nan"))
        figures[column] = min(found)
    return figures


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="entries of the catalogue; default: all but the full mUnet")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    names = options.names or [name for name in catalog.entries() if name != "mUnet"]
    columns = (*DTYPES, "tf32", "tf32, one")
    print(f"{'system':26}" + "".join(f"{column:>12}" for column in columns), flush=True)
    for name in names:
        rows = [measure(name, seed) for seed in range(options.seeds)]
        worst = [max(row[dtype] for row in rows) for dtype in DTYPES]
        least = [min(row[column] for row in rows) for column in columns[len(DTYPES) :]]
        print(f"{name:26}" + "".join(f"{value:12.3g}" for value in (*worst, *least)), flush=True)


if __name__ == "__main__":
    main()
