"""What is measured, in which order, and how the time is shared out. Imports no framework."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from parity.catalog import ENTRIES, Entry


@dataclass(frozen=True)
class Mode:
    """One way to compute: the dtype that parity judges, and whether both sides may multiply with TF32."""

    name: str
    dtype: str
    tf32: bool = False


MODES = {
    mode.name: mode
    for mode in (
        Mode("float64", "float64"),
        Mode("float32", "float32"),
        Mode("tf32", "float32", tf32=True),
        Mode("bfloat16", "bfloat16"),
    )
}

HEAVY = ("BuildingNet", "DeepLab-v2", "FCN-32s", "FCN-ResNet18", "U-Net", "DeepLab-v3")
"""Pairs that took longest in one run of the catalogue with JAX on two cores, slowest first; they come last."""

SMOKE = ("SkipBlockDN", "MaxPool2d", "ConvTranspose2d-atrous")
STEPS_SHARE = 0.3
"""Share of the time that is kept for the training steps, which need the card for themselves."""


def pairs(names: Sequence[str] = (), smoke: bool = False) -> list[Entry]:
    """The pairs of the catalogue in the order of their turn: the lecture's network, then from light to heavy.

    Raises:
        ValueError: a name is not in the catalogue.
    """
    known = {entry.name: entry for entry in ENTRIES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(
            f"a pair must be in the catalogue; got {', '.join(unknown)}. `parity models` lists them all."
        )
    if names or smoke:
        return [known[name] for name in names or SMOKE]
    return sorted(ENTRIES, key=_turn)


def _turn(entry: Entry) -> tuple[int, int]:
    if entry.name == "mUnet":
        return 0, 0
    if entry.name in HEAVY:
        return 2, -HEAVY.index(entry.name)
    return 1, {"layer": 0, "block": 1}.get(entry.generation, 2)


@dataclass(frozen=True)
class Step:
    """One measurement of mUnet's training step: DLStudio's network and one of ours, in turns.

    Attributes:
        network: "torch_impl", "torch_impl compiled" or "tf_impl".
        precision: "float32", "tf32" or "bfloat16".
        batch: images a step.
        depth: of the networks.
        size: rows and columns of an image.
    """

    network: str
    precision: str
    batch: int
    depth: int = 16
    size: int = 64


def steps(smoke: bool = False) -> list[Step]:
    """The measurements in the order of their turn: what compiles for long comes last."""
    if smoke:
        return [Step(network, "float32", 2, 4, 32) for network in ("torch_impl", "tf_impl")]
    precisions, batches = ("float32", "tf32", "bfloat16"), (16, 64, 4)
    found = [Step("torch_impl", precision, batch) for batch in batches for precision in precisions]
    found += [Step("tf_impl", precision, batch) for batch in batches for precision in precisions]
    # Compiling takes a minute or more: one batch, and the precision that gains most first.
    return found + [Step("torch_impl compiled", precision, 64) for precision in reversed(precisions)]


@dataclass(frozen=True)
class Times:
    """Ends of the parts, in seconds after the start."""

    pairs: float
    steps: float


def times(budget: float, with_steps: bool = True) -> Times:
    """How the time is shared out: what the pairs leave, the steps get, and what the steps leave, the pairs get again."""
    return Times(budget * (1.0 - STEPS_SHARE) if with_steps else budget, budget)


def jobs(device: str, free_gib: float) -> int:
    """Processes at a time. Each holds both frameworks: 3 GiB of the card at most, and two cores."""
    cores = os.cpu_count() or 1
    room = int(free_gib // 3) if device == "gpu" else cores
    return max(min(cores // 2, room, 6), 1)
