"""The one change of one torch step that makes both sides give the same: tried on the steps alone, in every element."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parity.adapters.torch.edits.edit import Called, Edit
from parity.adapters.torch.edits.every import alternatives
from parity.adapters.torch.edits.functions import CASTS, factor, further, in_place_of, made_of
from parity.adapters.torch.edits.numbers import Setting, changed_places, numbers, tied
from parity.adapters.torch.edits.tape import Tape
from parity.causes.regions.solved import solved
from parity.causes.steps.budget import spend
from parity.causes.steps.identify import plain_number
from parity.core.types import Array

MOST = 120
"""Calls of one region: with more, nothing is tried."""

PER_TRIAL = 2
"""What one trial costs, in comparisons."""


@dataclass(frozen=True)
class Goal:
    """Torch calls that give a tensor, and what it should be.

    Attributes:
        tape: the calls.
        end: slot of the tensor.
        wanted: the Keras tensor, in its own layout.
        agrees: whether a torch tensor is the Keras tensor, in every element.
    """

    tape: Tape
    end: int
    wanted: Array
    agrees: Callable[[Array], bool]

    @property
    def given(self) -> Array:
        """What torch gives as it is."""
        return self.tape.result(self.end)


@dataclass(frozen=True)
class Settled:
    """A change that settles a goal.

    Attributes:
        edits: the change of each call, by its number; they are one change of one line.
        slot: the tensor behind which a step more stands; None where calls are changed.
        source: what that step takes, where it stands for all the calls between the two.
    """

    edits: Mapping[int, Edit]
    slot: int | None = None
    source: int | None = None

    @property
    def edit(self) -> Edit:
        """The change, in words."""
        return next(iter(self.edits.values()))

    def result(self, goal: Goal) -> Array | None:
        """What torch gives once it is made; None where that cannot run."""
        spend(goal.wanted.size, PER_TRIAL)
        try:
            with np.errstate(all="ignore"):
                if self.slot is not None:
                    inserted = self.edit.change
                    return goal.tape.inserted(
                        self.slot, lambda x: inserted(_nothing, (x,), {}), goal.end, self.source
                    )
                changes = {number: edit.change for number, edit in self.edits.items()}
                return goal.tape.changed(changes, goal.end)
        except Exception:  # any step, any error: so changed, it cannot run
            return None

    def settles(self, goal: Goal) -> bool:
        """Whether torch then gives what Keras gives."""
        value = self.result(goal)
        return value is not None and goal.agrees(value)


def _nothing(*_: object) -> None:
    """Stands for the function of a step that was not there."""


def changes(goal: Goal) -> list[Settled]:
    """The changes that settle a goal, of the first kind of which there are any: the least change."""
    tape = goal.tape
    if len(tape.calls) > MOST:
        return []
    calls = [Called.of(tape, number) for number in tape.leading_to(goal.end)]
    for tier in (_changed_steps, _changed_numbers, _written_out, _further_steps):
        found = list(_distinct(tier(goal, calls)))
        if found:
            return found
    return []


def _distinct(found: Iterator[Settled]) -> Iterator[Settled]:
    """Each cause at each call once."""
    seen = set()
    for item in found:
        key = (item.edit.cause, tuple(item.edits), item.slot)
        if key not in seen:
            seen.add(key)
            yield item


def _changed_steps(goal: Goal, calls: Sequence[Called]) -> Iterator[Settled]:
    """One call made otherwise, or all the calls of one line alike."""
    for step in calls:
        for edit in alternatives(step):
            item = Settled({step.number: edit})
            if item.settles(goal):
                yield item
    for line in _lines(calls):
        every = {step.number: list(alternatives(step)) for step in line}
        made = {number: edits for number, edits in every.items() if edits}
        for together in zip(*made.values(), strict=False) if len(made) > 1 else ():
            item = Settled(dict(zip(made, together, strict=True)))
            if len({edit.cause for edit in together}) == 1 and item.settles(goal):
                yield item


def _lines(calls: Sequence[Called]) -> list[list[Called]]:
    """Calls that one line of the user's runs, where it runs several alike, and all casts."""
    found: dict[object, list[Called]] = {}
    for step in calls:
        if step.name in CASTS:
            found.setdefault("casts", []).append(step)
        elif step.call.spot is not None:
            found.setdefault((step.call.spot, step.name), []).append(step)
    return [line for line in found.values() if 1 < len(line) <= 8]


def _changed_numbers(goal: Goal, calls: Sequence[Called]) -> Iterator[Settled]:
    """Another number in one call, or another place of its epsilon."""
    for step in calls:
        for number in (*numbers(step), *changed_places(step)):
            item = _with_number(goal, {step.number: number})
            if item is not None:
                yield item
    for together in tied(calls):
        item = _with_number(goal, together)
        if item is not None:
            yield item
    for line in _lines(calls):
        for held in zip(*(numbers(step) for step in line), strict=False):
            item = _with_number(goal, {step.number: n for step, n in zip(line, held, strict=True)})
            if item is not None:
                yield item


def _with_number(goal: Goal, held: Mapping[int, Setting]) -> Settled | None:
    def made(value: float) -> Settled:
        return Settled({place: number.edit(value) for place, number in held.items()})

    first = next(iter(held.values()))
    for value in dict.fromkeys(first.trials):
        if (value != first.value or first.own) and (item := made(value)).settles(goal):
            return item
    if first.own:
        return None
    found = solved(first.value, lambda trial: made(trial).result(goal), goal.wanted)
    return None if found is None else _plainest(goal, made, found)


def _plainest(goal: Goal, made: Callable[[float], Settled], value: float) -> Settled | None:
    """A change with the short decimal that a solved number stands for, else with the number itself."""
    tried = (made(number) for number in dict.fromkeys((plain_number(value), value)))
    return next((item for item in tried if item.settles(goal)), None)


def _written_out(goal: Goal, calls: Sequence[Called]) -> Iterator[Settled]:
    """Another function in place of one that several calls make up: an activation or a softmax that is written out."""
    base, data = goal.tape.base, goal.tape.data
    for start in dict.fromkeys(slot for step in calls for slot in step.call.takes):
        if start in goal.tape.first and start not in data:
            continue
        for slot in dict.fromkeys(slot for step in calls for slot in step.call.gives if slot != start):
            known = made_of(base[start], base[slot])
            for edit in () if known is None else in_place_of(known, base[start].shape):
                item = Settled({-1: edit}, slot, start)
                if item.settles(goal):
                    yield item


def _further_steps(goal: Goal, calls: Sequence[Called]) -> Iterator[Settled]:
    """One step more, behind what the calls give or take."""
    slots = [goal.end, *(slot for step in reversed(calls) for slot in (*step.call.gives, *step.call.takes))]
    held = {slot for slot in goal.tape.first if slot not in goal.tape.data}
    for slot in dict.fromkeys(slots):
        if slot in held or not goal.tape.base[slot].is_floating_point():
            continue
        for edit in further(goal.tape.base[slot]):
            item = Settled({-1: edit}, slot)
            if item.settles(goal):
                yield item
        scaled = _with_factor(goal, slot)
        if scaled is not None:
            yield scaled


def _with_factor(goal: Goal, slot: int) -> Settled | None:
    """A factor behind a tensor that settles a goal; not where it may be a mean in place of a sum."""
    value = solved(1.0, lambda trial: Settled({-1: factor(trial)}, slot).result(goal), goal.wanted)
    if value is None or _counts_terms(goal, value):
        return None
    return _plainest(goal, lambda number: Settled({-1: factor(number)}, slot), value)


def _counts_terms(goal: Goal, value: float) -> bool:
    """Whether a factor is the length of an axis that a call sums, or one part of it: another size has another one."""
    tape = goal.tape
    for call in (tape.calls[number] for number in tape.leading_to(goal.end)):
        taken = [tape.base[slot] for slot in call.takes if slot in tape.data]
        given = tape.base[call.gives[0]] if call.gives else None
        if given is None or (len(taken) == 1 and taken[0].numel() == given.numel()):
            continue  # it only moves what it takes
        lengths = {size for one in taken for size in one.shape if size > 1} - set(given.shape)
        if any(abs(value - ratio) < 1e-9 * ratio for size in lengths for ratio in (size, 1 / size)):
            return True
    return False
