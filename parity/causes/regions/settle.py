"""The cause of a difference that one change of one torch step settles, on both inputs and with both sets of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parity.adapters.sites.running import site_of_spot
from parity.causes.case import Explanation
from parity.causes.confirm import PLENTY, differing_elements, enough, unverified
from parity.causes.regions.edited import Goal, Settled, changes
from parity.core.finding import Fix
from parity.core.trace import CodePlace

ORDERS = {"depth-to-space-order": 0, "flatten-order": 1, "axis-order": 2}
"""Causes that are all an order of axes, the most exact name first."""


@dataclass(frozen=True)
class _Tried:
    """A change that settles a goal, and whether it does so on the second input too; None where that shows nothing."""

    change: Settled
    again: bool | None


def settled_by(first: Sequence[Goal], second: Sequence[Goal] | None, place: str) -> list[Explanation]:
    """What explains every tensor that differs at one place; nothing where some change is not found or not the only one.

    Args:
        first: a goal for each tensor that differs.
        second: the same on another input and with other weights; None where these cannot be had.
        place: what to call the torch place where no line is known.
    """
    if second is not None and len(second) != len(first):
        second = None
    found: dict[tuple[str, str], Explanation] = {}
    for number, goal in enumerate(first):
        known = _of_goal(goal, None if second is None else second[number], place)
        if known is None:
            return []
        found.setdefault((known.cause, known.fix), known)
    return list(found.values())


def _of_goal(goal: Goal, again: Goal | None, place: str) -> Explanation | None:
    tried = [_Tried(change, _holds(change, goal, again)) for change in changes(goal)]
    held = [item for item in tried if item.again] or [
        item for item in tried if item.again is None and differing_elements(goal.wanted, goal.given) >= PLENTY
    ]
    causes = {item.change.edit.cause for item in held}
    if causes <= ORDERS.keys():  # one change of the order of axes, which may stand at several steps
        held.sort(key=lambda item: ORDERS[item.change.edit.cause])
    elif len(causes) > 1:
        return None
    if not held:
        return None
    known = _explained(goal, held[0].change, place)
    return known if held[0].again else unverified(known)


def _holds(change: Settled, goal: Goal, again: Goal | None) -> bool | None:
    """Whether a change settles the second goal too; None where that one does not differ."""
    if again is None or again.agrees(again.given):
        return None
    return change.settles(again) and enough((goal.wanted, goal.given), (again.wanted, again.given))


def _explained(goal: Goal, change: Settled, place: str) -> Explanation:
    edit, at = change.edit, _site(goal, change)
    shown = f"torch {place}" if at is None else f"torch {at}"
    written = f" (`{at.text}`)" if at is not None and at.text else ""
    evidence = f"torch: {edit.torch}, Keras: {edit.keras}; so changed in {shown}{written}, torch gives the Keras result"
    in_torch = f"{shown}: {edit.keras} in place of {edit.torch}"
    return Explanation(
        edit.cause, evidence, Fix(f"Keras: {edit.torch} in place of {edit.keras}", in_torch, in_torch), True
    )


def _site(goal: Goal, change: Settled) -> CodePlace | None:
    """Where the changed call is written; of a step more, the call that gives the tensor in front."""
    calls = goal.tape.calls
    number = next(iter(change.edits))
    if change.slot is not None:
        number = next((i for i, call in enumerate(calls) if change.slot in call.gives), -1)
    spot = calls[number].spot if number >= 0 else None
    return None if spot is None else site_of_spot(spot)
