"""One layer that is used twice on one side and became two on the other: equal until the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.core.finding import Finding, Kind
from parity.training.ties import Tie

if TYPE_CHECKING:
    from parity.training.bench import Bench

EXACT = 1e-9


def find_ties(bench: Bench) -> tuple[list[Tie], list[Finding]]:
    """Copies by their values, each proven by the gradients: the one's is the sum of the copies'."""
    candidates = _candidates(bench)
    if not candidates:
        return [], []
    targets = bench.targets(0)
    with bench.unchanged():
        ours, theirs = bench.evaluate(False, targets)
    ties: list[Tie] = []
    findings: dict[tuple[str, str], Finding] = {}
    for tie in candidates:
        many, one = (ours, theirs) if tie.side == "keras" else (theirs, ours)
        parts = [many.parameters.get(path) for path in tie.paths]
        whole = one.parameters.get(tie.other)
        if whole is None or any(part is None for part in parts):
            continue
        convert = tie.slot.layout.to_torch if tie.side == "keras" else tie.slot.layout.to_keras
        arrays = [convert(part) for part in parts if part is not None]
        scale = float(np.abs(whole).max(initial=0.0))
        gap, alone = (float(np.abs(value - whole).max(initial=0.0)) for value in (sum(arrays), arrays[0]))
        if not gap <= EXACT * scale < alone:
            continue
        ties.append(tie)
        layers = [path.rpartition(".")[0] for path in tie.paths]
        owner = tie.other.rpartition(".")[0]
        one_side, many_side = ("torch", "Keras") if tie.side == "keras" else ("Keras", "torch")
        text = (
            f"one layer in {one_side} ({owner}) is {len(layers)} in {many_side} ({', '.join(layers)}), equal "
            f"now: the gradient there is the sum of these layers' to {gap / scale:.1g}, so that they drift "
            "apart with the first step"
        )
        fix = f"call one layer {len(layers)} times in {many_side}; with the copies' gradients summed both sides agree"
        names = (layers[0], owner) if tie.side == "keras" else (owner, layers[0])
        findings.setdefault(names, Finding(*names, Kind.TRAINING, "shared-layer-duplicated", text, fix, True))
    return ties, list(findings.values())


def _candidates(bench: Bench) -> list[Tie]:
    """Tensors left over, or paired twice, that hold what a paired tensor of their side holds."""
    slots = [slot for pair in bench.pairing.pairs for slot in pair.slots]
    states = bench.keras.state(), bench.torch.state()
    trainable = bench.keras.trainable(), bench.torch.trainable()
    ties = []
    for side, name, mate, left in (
        (0, "keras", "torch", bench.pairing.unmatched_keras),
        (1, "torch", "keras", bench.pairing.unmatched_torch),
    ):
        for slot in {getattr(s, mate): s for s in reversed(slots)}.values():
            path = getattr(slot, name)
            if path not in trainable[side] or path not in states[side]:
                continue
            own = states[side][path]
            paired = [getattr(s, name) for s in slots if getattr(s, mate) == getattr(slot, mate)]
            copies = [
                p
                for p in left
                if p in trainable[side] and p in states[side] and np.array_equal(states[side][p], own)
            ]
            paths = tuple(dict.fromkeys([*paired, *copies]))
            if len(paths) > 1 and own.size > 1:
                ties.append(Tie(name, paths, getattr(slot, mate), slot))
    return ties
