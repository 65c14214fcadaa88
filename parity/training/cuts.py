"""Gradients that one side stops and the other does not: opened one by one, until the gradients are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from parity.core.finding import Finding, Fix
from parity.core.types import Both, Side
from parity.training.bench import Bench

MOST = 16
"""Places of one side that are opened, each alone."""
CAUSE = "gradient-stopped"

Agree = Callable[[int, bool], bool]
"""Whether the gradients of a draw of the targets agree, at the weights as they are or at moved ones."""


def stopped(bench: Bench, located: Sequence[Finding], agree: Agree) -> list[Finding]:
    """The findings of a backward pass; one alone where a stopped gradient explains them all.

    Args:
        bench: both sides, of which a pass was just made.
        located: what differs in the backward pass.
        agree: compares the gradients again.
    """
    for side, numbers, places in _opened(bench):
        with bench.trainers.of(side).cuts.let_through(numbers):
            if not (agree(0, False) and agree(1, True)):
                continue
        name, reference = ("Keras", "torch") if side == "keras" else ("torch", "Keras")
        how = "stop_gradient" if side == "keras" else "detach, .data or no_grad"
        where = ", ".join(dict.fromkeys(places))
        text = f"{name} stops the gradient at {where} ({how}), {reference} does not: with it let through all gradients agree"
        leave, add = f"leave it out at {where}", f"stop the gradient at the same place in {reference}"
        both = leave, add, f"{leave}, or {add}"
        fix = Fix(*both) if side == "keras" else Fix(add, leave, both[2])
        found = replace(
            located[0], cause=CAUSE, evidence=f"{text}; {located[0].evidence}", fix=fix, fix_verified=True
        )
        return [replace(found, keras_at=places[0]) if side == "keras" else replace(found, torch_at=places[0])]
    return list(located)


def _opened(bench: Bench) -> Iterator[tuple[Side, tuple[int, ...], list[str]]]:
    """What is opened: each place alone, then all of one side."""
    sides: tuple[Side, ...] = ("torch", "keras")
    known = Both(*(list(trainer.cuts.places) for trainer in bench.trainers))
    for side in sides:
        for i, place in enumerate(known.of(side)[:MOST]):
            yield side, (i,), [place]
    for side in sides:
        places = known.of(side)
        if len(places) > 1:
            yield side, tuple(range(len(places))), places
