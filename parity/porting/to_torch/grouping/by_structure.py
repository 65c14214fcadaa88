"""Blocks by structure, where names say nothing: a convolution with what follows it, and what lies between two cuts."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from parity.porting.to_torch.grouping.group import StepGroup, automatic, bounds, tensors_in, tensors_out
from parity.porting.to_torch.naming import camel
from parity.porting.to_torch.values import is_layer, kinds

FIRST = ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose")
SECOND = ("BatchNormalization", "LayerNormalization", "GroupNormalization")
THIRD = ("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Relu", "Silu", "Gelu")


def _is(step: Any, names: tuple[str, ...]) -> bool:
    return any(name in names for name in kinds(step.operation))


def chains(steps: list[Any], outputs: list[Any]) -> list[StepGroup]:
    """Convolution, normalisation and activation behind one another, where the three have made-up names."""
    users: dict[int, list[Any]] = defaultdict(list)
    for step in steps:
        for tensor in tensors_in(step):
            users[id(tensor)].append(step)

    def follower(step: Any, names: tuple[str, ...]) -> Any:
        next_ = users[id(step.outputs)]
        fits = (
            len(next_) == 1
            and automatic(next_[0])
            and _is(next_[0], names)
            and len(tensors_in(next_[0])) == 1
        )
        return next_[0] if fits and all(step.outputs is not tensor for tensor in outputs) else None

    found = []
    for step in steps:
        if not (is_layer(step.operation) and automatic(step) and _is(step, FIRST)):
            continue
        second = follower(step, SECOND)
        third = follower(second, THIRD) if second is not None else None
        if second is None:
            continue
        members = [step, second, *([third] if third is not None else [])]
        limits = bounds(members, steps, outputs)
        if limits is not None and len(limits[0]) == len(limits[1]) == 1:
            found.append(StepGroup("ConvBlock", step.name, members, *limits))
    return found


def segments(steps: list[Any], outputs: list[Any]) -> list[StepGroup]:
    """What lies between two tensors over which everything goes, where it branches within."""
    last: dict[int, int] = {}
    for n, step in enumerate(steps):
        for tensor in tensors_in(step):
            last[id(tensor)] = n
    for tensor in outputs:
        last[id(tensor)] = len(steps)
    live: set[int] = set()
    start, found = 0, []
    for n, step in enumerate(steps):
        live |= {id(tensor) for tensor in tensors_out(step)}
        live = {key for key in live if last.get(key, -1) > n}
        if len(live) == 1:
            members = steps[start : n + 1]
            start = n + 1
            limits = bounds(members, steps, outputs)
            if len(members) >= 4 and limits is not None and len(limits[0]) == len(limits[1]) == 1:
                name = members[-1].name
                stem = re.sub(r"[_\d]+$", "", name) or "block"
                title = "Block" if automatic(members[-1]) else camel(re.sub(r"\d", "", stem))
                found.append(StepGroup(title, name, members, *limits))
    return found
