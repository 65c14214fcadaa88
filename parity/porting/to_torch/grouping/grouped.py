"""A flat graph with its repeated blocks as scopes of their own."""

from __future__ import annotations

import re
from typing import Any

from parity.porting.to_torch.grouping.by_name import candidates
from parity.porting.to_torch.grouping.by_structure import chains, segments
from parity.porting.to_torch.grouping.group import StepGroup, automatic, collapsed
from parity.porting.to_torch.naming import snake
from parity.porting.to_torch.use import flat
from parity.porting.to_torch.values import is_layer, is_tensor, kinds


def grouped(scope: Any, inner: bool = False) -> None:
    """Put the repeated blocks of a scope into scopes of their own, in place.

    Args:
        scope: its steps are those of one flat graph.
        inner: whether it is a block itself; what repeats in one must be longer to count.
    """
    outputs = [value for value in flat(scope.outputs) if is_tensor(value)]
    found: list[StepGroup] = []
    while True:
        best = _best(candidates(scope.steps, outputs), inner)
        if not best:
            break
        scope.steps = collapsed(scope.steps, best)
        found += best
    if not inner:
        runs = chains(scope.steps, outputs)
        if len(runs) >= 4:
            scope.steps = collapsed(scope.steps, runs)
            _shorten(runs)
        parts = segments(scope.steps, outputs) if not found else []
        if _worth(parts):
            scope.steps = collapsed(scope.steps, parts)
            _shorten(parts)
    _shorten(found)
    for group in found:
        grouped(group, inner=True)


def _shorten(groups: list[StepGroup]) -> None:
    for group in groups:
        numbers: dict[str, int] = {}
        for step in group.steps:
            step.short = short_name(step, group)
            if step.scope is not None:
                stem = snake(step.scope.title())
                numbers[stem] = numbers.get(stem, 0) + 1
                step.short = f"{stem}{numbers[stem]}"


def short_name(step: Any, group: StepGroup) -> str:
    """A step's name without the group's own; 1_conv is conv1."""
    name = str(step.name)
    if automatic(step):
        return re.sub(r"_\d+$", "", name)
    tokens = [token for token in group.key.split("_") if token]
    text = name.removeprefix(group.key).strip("_./")
    if text == name.strip("_./") and tokens[-1].isdigit():
        text = re.sub(rf"_{re.escape(tokens[-1])}(?=_|$)", "", name)
    match = re.fullmatch(r"(\d+)_(\w+)", text)
    return (f"{match[2]}{match[1]}" if match else text) or name


def _signature(group: StepGroup) -> tuple[tuple[str, str], ...]:
    names = []
    for step in group.steps:
        short = short_name(step, group)
        names.append(
            (short if is_layer(step.operation) else re.sub(r"\d+$", "", short), kinds(step.operation)[0])
        )
    return tuple(names)


def _best(by_kind: dict[str, list[StepGroup]], inner: bool) -> list[StepGroup]:
    """The groups that save the most lines; none where nothing repeats."""
    best: list[StepGroup] = []
    most = 0
    for groups in by_kind.values():
        kept = [group for group in groups if len(group.steps) >= (4 if inner else 3)]
        kept = [
            group
            for group in kept
            if any(is_layer(step.operation) and step.operation.weights for step in group.steps)
        ]
        if len(kept) < (3 if inner else 2):
            continue
        covered = sum(len(group.steps) for group in kept)
        kinds_ = {signature for group in kept for signature in set(_signature(group))}
        saved = covered - len(kinds_)
        if saved > most and saved >= covered * 0.3:
            best, most = kept, saved
    return best


def _worth(parts: list[StepGroup]) -> bool:
    shapes = {tuple(kinds(step.operation)[0] for step in part.steps) for part in parts}
    return len(parts) >= 2 and len(shapes) < len(parts)
