"""Copies weights between a Keras model and a torch module, either way, one tensor at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.adapters import plain_weights
from parity.core.adapter import Adapter
from parity.pairing.pair import MappingLike, Pairing
from parity.pairing.problems.grouped import pairing_error
from parity.pairing.problems.problem import Problem, ProblemKind, held
from parity.pairing.slots import tensor_at
from parity.weights.copying import copy
from parity.weights.models import adapters_of, given, layer_pairs, pair_models, sorted_sides


@dataclass(frozen=True)
class TransferResult:
    """What was copied, and what was not.

    Attributes:
        pairs: (Keras layer path, torch layer path or tuple of them), in the Keras model's order.
        copied: number of tensors copied.
        unmatched_source: paths of the source's tensors without a counterpart (strict=False only).
        unmatched_target: paths of the target's tensors that kept their values (strict=False only).
        notes: what is worth knowing of how the layers were paired.
        rewritten: paths of the source's tensors that come back in another form that computes the same: a bias in
            front of a BatchNorm, and the running mean that takes it in.
        ignored: paths of the source's and the target's tensors that `ignore` left out.
        constants: likewise of tensors that training never changes and that one side alone has.
    """

    pairs: list[tuple[str, str | tuple[str, ...]]]
    copied: int
    unmatched_source: list[str]
    unmatched_target: list[str]
    notes: list[str] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)
    ignored: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    constants: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))


def transfer(
    source: Any,
    target: Any,
    mapping: MappingLike | None = None,
    inputs: Any = None,
    strict: bool = True,
    pairing: Pairing | None = None,
    layout: Any = None,
    ignore: Any = (),
) -> TransferResult:
    """Copy every weight and statistic of one model into the other, in place.

    Layers are paired by `mapping`, by mirrored paths (`block.conv1` on both sides), and by the dataflow of one
    traced pass of each model where names do not settle every tensor. Everything is checked before anything is
    written.

    Args:
        source: a Keras model and `target` a torch module, or the other way round.
        target: the model that is written to.
        mapping: {Keras path: torch path, or tuple of torch paths}, of layers, containers or tensors.
        inputs: a sample input in the Keras layout, as `parity.compare` takes it.
        strict: raise on anything unmatched; False copies what has a counterpart and lists the rest.
        pairing: of these two models, made before (`parity.pair`); None pairs them here.
        layout: the order of axes in which torch takes the inputs, as for `parity.compare`; None finds it.
        ignore: patterns of paths of layers or tensors of either side ("aux.*") that are neither copied nor missed.

    Returns:
        The pairs, the number of tensors copied, and what was left out.

    Raises:
        PairingError: missing, extra or misshapen tensors, all in one error; nothing was written.
        UsageError: the two models are not one of each framework, a dtype would lose digits, or the pairing is of
            other models.
    """
    with plain_weights(source, target, written=target):
        sides = adapters_of(source, target, inputs)
        keras, torch = sorted_sides(*sides)
        pairing = (
            pair_models(keras, torch, mapping, inputs, layout, ignore)
            if pairing is None
            else given(pairing, keras, torch, mapping, ignore)
        )
        return _transferred(pairing, *sides, strict)


def _transferred(
    pairing: Pairing, source_adapter: Adapter, target_adapter: Adapter, strict: bool
) -> TransferResult:
    """Copy what is paired, once everything is known to fit; and what is said of it."""
    lost = _lost_values(pairing, source_adapter)
    if (pairing.problems or lost) and strict:
        raise pairing_error([*pairing.problems, *lost.values()], pairing.unrun)
    copied = copy(pairing, source_adapter, target_adapter)
    to_torch = source_adapter.side == "keras"
    both = [source_adapter.side, target_adapter.side]
    ignored = dict(zip(("keras", "torch"), map(list, pairing.ignored), strict=True))
    misfits = [problem.misfit for problem in pairing.problems if problem.misfit is not None]
    unmatched = (
        [*pairing.unmatched_keras, *(path for path, _ in misfits)],
        [*pairing.unmatched_torch, *(path for _, path in misfits)],
    )
    return TransferResult(
        pairs=layer_pairs(pairing),
        copied=copied,
        unmatched_source=[*(unmatched[0] if to_torch else unmatched[1]), *lost],
        unmatched_target=unmatched[1] if to_torch else unmatched[0],
        notes=[*_computed(source_adapter, target_adapter), *pairing.notes],
        ignored=(ignored[both[0]], ignored[both[1]]),
        constants=(
            [path for side, path in pairing.constants if side == both[0]],
            [path for side, path in pairing.constants if side == both[1]],
        ),
        rewritten=[
            path
            for item in pairing.pairs
            for slot in item.slots
            if slot.bias is not None and slot.bias[0] == source_adapter.side
            for path in (slot.bias[1], slot.torch if source_adapter.side == "torch" else slot.keras)
        ],
    )


def _computed(*sides: Adapter) -> list[str]:
    """What the sides say of weights that are computed."""
    return [
        text
        for side in sides
        for text in side.said
        if any(text.split(" ")[1] == path for path in side.computed())
    ]


def _lost_values(pairing: Pairing, source: Adapter) -> dict[str, Problem]:
    """Tensors of the source that the target has no place for, and that make a difference."""
    found = {}
    layers = source.layers()
    for constant in [constant for item in pairing.pairs for constant in item.constants]:
        counts = constant.side == source.side and not constant.folded
        if counts and not np.all(source.read(constant.path) == constant.value):
            layer, tensor = tensor_at(layers, constant.path)
            if layer is not None and tensor is not None:
                found[constant.path] = Problem(
                    ProblemKind.VALUES,
                    held=(held(source.side, layer, tensor),),
                    partner=constant.lacking,
                    value=constant.value,
                )
    return found
