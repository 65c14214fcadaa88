"""Inference mode on both sides: what is left in training mode, and whether the outputs agree at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.trainer import Dropped
from parity.core.types import Array, Side
from parity.training.bench import Bench
from parity.training.shared_layers import find_ties

LEFT_ON = "train-mode-left-on"


def infer(bench: Bench) -> bool:
    """Look for layers that train in inference mode, and for ties; whether the outputs agree at all."""
    result, before = bench.result, bench.states()
    passes = bench.evaluate(False, None)
    sides: tuple[Side, ...] = ("keras", "torch")
    for side in sides:
        _left_on(bench, side, before.of(side), passes.of(side).dropped)
        bench.trainers.of(side).load(before.of(side))
    found = any(finding.cause == LEFT_ON for finding in result.findings)
    if found:
        passes = bench.evaluate(False, None)
    bench.extras = passes.keras.extras
    agree, gap = bench.agree(passes, training=False)
    if found and agree:
        result.findings = [_verified(f, gap) if f.cause == LEFT_ON else f for f in result.findings]
    if not agree:
        result.notes.append("gradients and training were not compared: the outputs differ already")
        return False
    bench.ties, findings = find_ties(bench)
    result.findings += findings
    return True


def _verified(finding: Finding, gap: float) -> Finding:
    """The finding, its fix verified: without what it names the outputs agree."""
    evidence = f"{finding.evidence}; without it the outputs agree to {gap:.1g}"
    return replace(finding, fix_verified=True, evidence=evidence)


def _left_on(bench: Bench, side: Side, before: Mapping[str, Array], dropped: Sequence[Dropped]) -> None:
    """Statistics that move, and random layers that act, although the model infers."""
    trainer, name = bench.trainers.of(side), {"keras": "Keras", "torch": "torch"}[side]
    after = trainer.state()
    changed = {
        path.rpartition(".")[0]: path
        for path, value in after.items()
        if not np.array_equal(value, before[path], equal_nan=True)
    }
    for layer, path in changed.items():
        gap = float(np.abs(after[path] - before[path]).max())
        text = f"in inference mode {name} changes {path} (by up to {gap:.3g}): it normalises by the batch"
        fix = f"training=False at {name} {layer}: pass the mode on, and call eval() in torch"
        places = _both_paths(bench, side, layer)
        bench.result.findings.append(Finding(*places, Kind.TRAINING, LEFT_ON, text, fix))
        bench.inference.enter_context(trainer.batchnorm(layer, frozen=True))
    for item in dict.fromkeys(dropped):
        text = f"in inference mode {name} still drops at a rate of {item.rate:g}"
        fix = f"no dropout in inference: training=self.training in torch, training=False in Keras ({name} {item.path})"
        places = _both_paths(bench, side, item.path) if item.path else (None, None)
        bench.result.findings.append(Finding(*places, Kind.TRAINING, LEFT_ON, text, fix))


def _both_paths(bench: Bench, side: Side, path: str) -> tuple[str | None, str | None]:
    """Keras and torch path of a layer of one side."""
    pairs = bench.pairing.pairs
    if side == "keras":
        pair = next((pair for pair in pairs if pair.keras == path), None)
        return path, ", ".join(pair.torch) if pair else None
    pair = next((pair for pair in pairs if path in pair.torch), None)
    return pair.keras if pair else None, path
