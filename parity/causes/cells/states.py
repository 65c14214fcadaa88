"""Why another state arrives at a recurrent cell: left at zero on one side, or hidden state and cell state exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parity.causes.case import Explanation
from parity.causes.steps.equality import same
from parity.core.finding import Fix
from parity.core.types import Array


def explain_states(
    keras: Sequence[Array], torch: Sequence[Array], place: tuple[str, str]
) -> Iterator[Explanation]:
    """What the states show that two passes of a cell start from.

    Args:
        keras: what arrives on the Keras side: the sequence, then the states, (N, U) each.
        torch: what arrives on the torch side.
        place: what to call the cell on either side.
    """
    pairs = list(zip(keras[1:], torch[1:], strict=False))
    differing = [pair for pair in pairs if pair[0].shape != pair[1].shape or not same(*pair)]
    if not differing or any(a.shape != b.shape for a, b in differing):
        return
    for side, number in (("Keras", 0), ("torch", 1)):
        if not any(pair[number].any() for pair in differing):
            full = "torch" if side == "Keras" else "Keras"
            text = f"{side} starts from zeros, {full} from a state that was given"
            fix = _handed(side, full, place)
            yield Explanation("initial-state", text, fix, True)
            return
    if len(differing) == len(pairs) == 2 and same(keras[1], torch[2]) and same(keras[2], torch[1]):
        text = "the hidden state and the cell state arrive in each other's place"
        in_torch = f"hand the states to {place[1]} as (h, c), as the Keras layer of {place[0]} gets them"
        fix = Fix(
            f"initial_state=[h, c] to the Keras layer of {place[0]}, as {place[1]} gets them",
            in_torch,
            in_torch,
        )
        yield Explanation("initial-state", text, fix, True)


def _handed(lacking: str, full: str, place: tuple[str, str]) -> Fix:
    """What to do where one side starts from zeros."""
    if lacking == "Keras":
        add = f"hand initial_state=... to the Keras layer of {place[0]}, as {full} does"
        return Fix(add, f"hand no state to {place[1]}", add)
    add = f"hand the state to {place[1]} (hx), as {full} does"
    return Fix(f"leave initial_state out in the Keras layer of {place[0]}", add, add)
