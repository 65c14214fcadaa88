"""A layer that one side uses twice and the other side has twice: equal until the first step."""

from __future__ import annotations

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.layout import Rows
from parity.core.types import Array, Both, Side
from parity.pairing.slots import Slot
from parity.training.bench import Bench
from parity.training.ties import Tie

EXACT = 1e-9
"""How closely, relative to its scale, the single tensor's gradient must be the sum of the copies' gradients."""


def find_ties(bench: Bench) -> tuple[list[Tie], list[Finding]]:
    """Copies by their values, each proven by the gradients: the one's is the sum of the copies'."""
    candidates = _candidates(bench)
    if not candidates:
        return [], []
    targets = bench.targets(0)
    with bench.unchanged():
        passes = bench.evaluate(False, targets)
    gradients = Both(passes.keras.parameters, passes.torch.parameters)
    ties: list[Tie] = []
    findings: dict[tuple[str, str], Finding] = {}
    for tie in candidates:
        gap = _proven(tie, gradients)
        if gap is not None:
            ties.append(tie)
            finding = _finding(tie, gap)
            findings.setdefault((str(finding.keras), str(finding.torch)), finding)
    return ties, list(findings.values())


def _proven(tie: Tie, gradients: Both[dict[str, Array | None]]) -> float | None:
    """How far the single gradient is from the sum of the copies', relative to its scale; None where it is no sum."""
    copies, single = (gradients.keras, gradients.torch) if tie.side == "keras" else gradients[::-1]
    parts, whole = [copies.get(path) for path in tie.paths], single.get(tie.single)
    if whole is None or any(part is None for part in parts):
        return None
    convert = tie.slot.layout.to_torch if tie.side == "keras" else tie.slot.layout.to_keras
    arrays = [convert(part) for part in parts if part is not None]
    whole = tie.slot.layout.part("torch" if tie.side == "keras" else "keras", whole)
    scale = float(np.abs(whole).max(initial=0.0))
    gap, alone = (float(np.abs(value - whole).max(initial=0.0)) for value in (sum(arrays), arrays[0]))
    if not gap <= EXACT * scale < alone:
        return None
    return gap / scale if scale else 0.0


def _finding(tie: Tie, gap: float) -> Finding:
    layers = [path.rpartition(".")[0] for path in tie.paths]
    owner = tie.single.rpartition(".")[0]
    one_side, many_side = ("torch", "Keras") if tie.side == "keras" else ("Keras", "torch")
    text = (
        f"one layer in {one_side} ({owner}) is {len(layers)} in {many_side} ({', '.join(layers)}), equal "
        f"now: the gradient there is the sum of these layers' to {gap:.1g}, and from the first "
        "step on they differ"
    )
    fix = f"call one layer {len(layers)} times in {many_side}; with the copies' gradients summed both sides agree"
    names = (layers[0], owner) if tie.side == "keras" else (owner, layers[0])
    return Finding(*names, Kind.TRAINING, "shared-layer-duplicated", text, fix, True)


def _candidates(bench: Bench) -> list[Tie]:
    """Tensors left over, or paired twice, that hold what a paired tensor of their side holds."""
    slots = [slot for pair in bench.pairing.pairs for slot in pair.slots]
    return [
        *_copies(bench, slots, "keras", bench.pairing.unmatched_keras),
        *_copies(bench, slots, "torch", bench.pairing.unmatched_torch),
    ]


def _copies(bench: Bench, slots: list[Slot], side: Side, unmatched: list[str]) -> list[Tie]:
    trainer = bench.trainers.of(side)
    state, trainable = trainer.state(), trainer.trainable()

    def paths_of(slot: Slot) -> tuple[str, str]:
        """The tensor's path on this side, and on the other side."""
        return (slot.keras, slot.torch) if side == "keras" else (slot.torch, slot.keras)

    def whole(slot: Slot) -> tuple[str, Rows | None]:
        """The tensor of the other side, and which of its rows: the rows of one tensor are tensors of their own."""
        return paths_of(slot)[1], slot.layout.rows("torch" if side == "keras" else "keras")

    ties = []
    for slot in {whole(slot): slot for slot in reversed(slots)}.values():
        path, single = paths_of(slot)
        if path not in trainable or path not in state:
            continue
        value = state[path]
        paired = [paths_of(candidate)[0] for candidate in slots if whole(candidate) == whole(slot)]
        copies = [p for p in unmatched if p in trainable and p in state and np.array_equal(state[p], value)]
        paths = tuple(dict.fromkeys([*paired, *copies]))
        if len(paths) > 1 and value.size > 1:
            ties.append(Tie(side, paths, single, slot))
    return ties
