"""What the pairing and the weights add to the findings: tensors without a counterpart, values that differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from parity.adapters.inputs.outputs import in_keras_order
from parity.adapters.probe import to_torch_inputs
from parity.causes.sizes.key_dim import key_dims, within
from parity.causes.sizes.per_position import PerPosition, per_position
from parity.core.adapter import Adapter
from parity.core.finding import ROOT, Finding, Fix, Kind
from parity.core.layout import aligned
from parity.core.tolerance import FLUSHED, difference
from parity.core.types import Array, Side
from parity.pairing.leftover.listing import listed
from parity.pairing.leftover.unread import unread
from parity.pairing.pair import Pairing
from parity.pairing.problems.problem import Problem
from parity.pairing.problems.sentences import sentence
from parity.replay.settings import differing_settings
from parity.report.proof import Unproven, UnprovenKind
from parity.verdict.outputs import Outputs
from parity.weights.differences import tensor_differences

SHOWN = 5
"""Layers with a finding of their own before the rest is counted."""

FOLLOWING = {Kind.LAYER, Kind.WIRING, Kind.OUTPUT}
"""Findings that follow from a layer in front that has other values."""
SECOND_DRAW = 1
"""Seed of the other input."""
UNSEEN = "this input does not show it"
NEAR = (
    "the two were paired by their neighbours alone, and other tensors have no counterpart: this proves no difference, "
    "for several layers of one side may compute what one layer of the other does"
)
MAP = "pass a mapping from Keras paths to torch paths where they are not each other's"
COPY = "copy the weights (parity.transfer), or take the same weight file on both sides"


def with_unmatched(
    findings: list[Finding],
    sides: tuple[Adapter, Adapter],
    pairing: Pairing,
    inputs: Mapping[Side, Sequence[Array]],
    outputs: Mapping[Side, Outputs],
) -> list[Finding]:
    """The findings, with every tensor that has no counterpart: at the layer that differs for want of it, or alone.

    Args:
        findings: what was located.
        sides: both sides.
        pairing: which layer is which.
        inputs: of each side.
        outputs: of each side, in the Keras order; empty where a side gave none.
    """
    findings, shared = _with_shared_axes(findings, sides, pairing, inputs, outputs)
    meant = [*_key_dims(sides, pairing), *shared]
    found = [*meant, *findings, *([] if meant else _unlike(sides, pairing))]
    follow = _shifted_tables(findings, pairing)
    for problem in pairing.open:
        if any(within(problem.keras, str(f.keras)) or within(problem.torch, str(f.torch)) for f in meant):
            continue  # that follows from it
        if problem in follow:
            continue
        for i, finding in enumerate(found):
            at_keras = problem.keras is not None and problem.keras == finding.keras
            at_torch = problem.torch is not None and problem.torch == finding.torch
            if finding.kind is Kind.LAYER and (at_keras or at_torch):
                found[i] = replace(finding, evidence=f"{finding.evidence}; {sentence(problem)}")
                break
        else:
            found.append(_unmatched(problem, pairing))
    return found


def _shifted_tables(findings: Sequence[Finding], pairing: Pairing) -> list[Problem]:
    """Tables of one size that correspond to nothing because each side reads its own rows, where a finding says so."""
    if not any(finding.cause == "position-offset" and finding.fix_verified for finding in findings):
        return []
    lone = [problem for problem in pairing.open if problem.lacks is not None]
    sizes = [
        Counter(_size(problem) for problem in lone if problem.held[0].side == side)
        for side in ("keras", "torch")
    ]
    return [problem for problem in lone if sizes[0][_size(problem)] == sizes[1][_size(problem)] == 1]


def _size(problem: Problem) -> tuple[int, ...]:
    return tuple(length for length in problem.held[0].shape if length != 1)


def _key_dims(sides: tuple[Adapter, Adapter], pairing: Pairing) -> list[Finding]:
    """One finding for all tensors of an attention layer whose key_dim is the size of all heads."""
    open_ = {path for problem in pairing.open for path in (problem.keras, problem.torch) if path is not None}
    return [
        Finding(one.keras, one.torch, Kind.UNMATCHED, "key-dim", one.evidence, one.fix, one.verified)
        for one in (key_dims(sides[0].layers(), sides[1].layers(), open_) if open_ else ())
    ]


def _with_shared_axes(
    findings: list[Finding],
    sides: tuple[Adapter, Adapter],
    pairing: Pairing,
    inputs: Mapping[Side, Sequence[Array]],
    outputs: Mapping[Side, Outputs],
) -> tuple[list[Finding], list[Finding]]:
    """What is left of the findings, and one for each layer that has a value for each position in Keras alone.

    The fix is tried on this input and on another: with torch's values at every position both outputs must agree. Then
    no step is blamed for it. Weights that differ stay findings, whatever these inputs show.
    """
    open_ = {path for problem in pairing.open for path in (problem.keras, problem.torch) if path is not None}
    layers = sides[0].layers(), sides[1].layers()
    places = list(per_position(*layers, open_)) if open_ else []
    if not places:
        return findings, []
    proven = any(finding.kind.proves for finding in findings)
    agree = len(outputs) == 2 and _agree_with(places, sides, inputs["keras"])
    left = [f for f in findings if not (agree and f.kind in FOLLOWING)]
    kind = Kind.LAYER if proven and agree else Kind.UNMATCHED
    return left, [
        Finding(
            one.keras, one.torch, kind, "shared-axes",
            f"{one.evidence}{'; with torch values at every position the outputs agree' if agree else ''}",
            one.fix, agree,
        )
        for one in places
    ]  # fmt: skip


def _agree_with(
    places: Sequence[PerPosition], sides: tuple[Adapter, Adapter], inputs: Sequence[Array]
) -> bool:
    """Whether both sides agree on the inputs and on others, once torch's values stand at every position in Keras."""
    from parity.causes.again import fresh_inputs  # on demand, like all causes

    keras, torch = sides
    exact = [value.astype("float64") if value.dtype.kind == "f" else value for value in inputs]
    before = {place.tensors[0]: keras.read(place.tensors[0]) for place in places}
    with keras.precision("float64"), torch.precision("float64"):
        try:
            for place in places:
                keras.write(place.tensors[0], place.spread(torch.read(place.tensors[1])))
            return all(_same_outputs(sides, values) for values in (exact, fresh_inputs(exact, SECOND_DRAW)))
        finally:
            for path, value in before.items():
                keras.write(path, value)


def _same_outputs(sides: tuple[Adapter, Adapter], values: Sequence[Array]) -> bool:
    keras, torch = sides
    found = keras.forward(values)
    wanted = in_keras_order(torch, found, torch.forward(to_torch_inputs(values, keras)))
    if not found or len(found) != len(wanted):
        return False
    fits = [
        (value, aligned(value, torch_value))
        for (_, value), (_, torch_value) in zip(found, wanted, strict=True)
    ]
    return all(fit is not None and difference(value, fit[0]).within() for value, fit in fits)


def left_out(pairing: Pairing) -> list[Unproven]:
    """What the verdict does not rest on: what the caller ignores, and layers and rows that nothing runs or reads."""
    found = []
    for side, paths in zip(("Keras", "torch"), pairing.ignored, strict=True):
        if paths:
            text = f"ignored as asked: {side} {listed(paths)}"
            found.append(Unproven(UnprovenKind.IGNORED, text, paths))
    for problem in pairing.problems:
        if problem.unrun:
            places = tuple(tensor.path for tensor in problem.held)
            found.append(Unproven(UnprovenKind.NEVER_RUNS, sentence(problem), places))
    for _, path, text in unread(pairing):
        found.append(Unproven(UnprovenKind.NEVER_RUNS, text, (path,)))
    return found


def _unlike(sides: tuple[Adapter, Adapter], pairing: Pairing) -> list[Finding]:
    """What to do where most layers of one side have no counterpart: these are hardly two of one network."""
    counts = [sum(bool(layer.tensors) for layer in side.layers().values()) for side in sides]
    misfit = {problem.keras for problem in pairing.open}
    whole = sum(1 for item in pairing.pairs if item.slots and item.keras not in misfit)
    if not pairing.open or whole >= min(counts) / 2:
        return []
    text = (
        f"{whole} of {counts[0]} Keras and {counts[1]} torch layers with weights correspond: are these two versions "
        "of one network?"
    )
    fix = "check what --keras and --torch name, or pass a mapping from Keras paths to torch paths"
    if pairing.unrun:
        text = (
            f"the names pair {whole} of {counts[0]} Keras and {counts[1]} torch layers with weights, and what the "
            f"models compute could not be looked at: {pairing.unrun}"
        )
        fix = "give inputs that both models take (inputs=, --input), or a mapping from Keras paths to torch paths"
    return [Finding(None, None, Kind.UNMATCHED, None, text, fix)]


def _unmatched(problem: Problem, pairing: Pairing) -> Finding:
    """A tensor without a counterpart; a bias that one of two paired layers alone has is a missing one."""
    for pair in pairing.pairs if problem.lacks == "bias" else ():
        if problem.keras == pair.keras or problem.torch in pair.torch:
            keras, torch = pair.keras or ROOT, ", ".join(pair.torch) or ROOT
            in_keras, in_torch = f"give Keras layer {keras} a bias", f"give torch layer {torch} a bias"
            fix = (
                Fix(f"use_bias=False on Keras layer {keras}", in_torch, in_torch)
                if problem.keras == pair.keras
                else Fix(in_keras, f"bias=False on torch layer {torch}", in_keras)
            )
            return Finding(keras, torch, Kind.UNMATCHED, "missing-bias", sentence(problem), fix)
    return Finding(problem.keras, problem.torch, Kind.UNMATCHED, None, sentence(problem), problem=problem)


def with_differing_values(
    findings: list[Finding], sides: tuple[Adapter, Adapter], pairing: Pairing, evaluated: bool
) -> list[Finding]:
    """The findings, each differing layer with its weights and settings that are not the same.

    Weights that differ are a difference, whatever this input shows: a dead channel, the rows of an embedding that no
    token met. Where no finding is at their layer already, they are findings themselves, the first few each and the
    rest as one. Where a side could not be evaluated they are none: the input was not what the pairing was made for.
    Where neighbours alone made a pair while tensors are left over, it may be the wrong one, and proves nothing.
    """
    texts: dict[str, list[str]] = {}
    torch_paths: dict[str, str] = {}
    for path, (slot, keras, torch) in tensor_differences(pairing, *sides).items():
        layer, _, name = path.rpartition(".")
        gap = difference(keras, torch)
        if gap.max_abs <= FLUSHED:  # one framework reads its own denormals as zero
            continue
        text = f"{name} is not torch's {slot.torch} ({gap.mismatched} of {gap.size} values, by up to {gap.max_abs:.3g})"
        texts.setdefault(layer, []).append(text)
        torch_paths.setdefault(layer, slot.torch.rpartition(".")[0])
    layers = sides[0].layers(), sides[1].layers()
    found = list(findings)
    for i, finding in enumerate(found):
        known = finding.keras in layers[0] and finding.torch in layers[1]
        if known and finding.kind in {Kind.LAYER, Kind.SHAPE}:
            settings = differing_settings(
                layers[0][str(finding.keras)].settings, layers[1][str(finding.torch)].settings
            )
            more = texts.pop(str(finding.keras), []) + settings
            found[i] = replace(finding, evidence="; ".join([finding.evidence, *more]))
    rest = list(texts) if evaluated else []
    for layer in [layer for layer in rest if layer in _near(pairing)]:
        rest.remove(layer)
        evidence = "; ".join([*texts[layer], NEAR])
        found.append(Finding(layer or ROOT, torch_paths[layer] or ROOT, Kind.UNMATCHED, None, evidence, MAP))
    for layer in rest[:SHOWN]:
        evidence = "; ".join([*texts[layer], UNSEEN])
        found.append(Finding(layer or ROOT, torch_paths[layer] or ROOT, Kind.WEIGHT, None, evidence, COPY))
    if len(rest) > SHOWN:
        named = ", ".join(rest[SHOWN : 2 * SHOWN]) + (" ..." if len(rest) > 2 * SHOWN else "")
        text = f"the weights of {len(rest) - SHOWN} layers more differ ({named}); {UNSEEN}"
        found.append(Finding(None, None, Kind.WEIGHT, None, text, COPY))
    return found


def _near(pairing: Pairing) -> set[str]:
    """The Keras layers that neighbours alone paired, where tensors are left that have no counterpart."""
    if not pairing.open:
        return set()
    return {str(pair.keras) for pair in pairing.pairs if pair.evidence.of_neighbours}
