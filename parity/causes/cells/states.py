"""Why another state arrives at a recurrent cell: left at zero on one side, or hidden state and cell state exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parity.causes.case import Explanation
from parity.causes.steps.identify import same
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
    for side, number, path in (("Keras", 0, place[0]), ("torch", 1, place[1])):
        if not any(pair[number].any() for pair in differing):
            full = "torch" if side == "Keras" else "Keras"
            text = f"{side} starts from zeros, {full} from a state that was given"
            how = (
                f"initial_state=... to the Keras layer of {path}"
                if side == "Keras"
                else f"the state to {path} (hx)"
            )
            yield Explanation("initial-state", text, f"hand {how}, as {full} does", True)
            return
    if len(differing) == len(pairs) == 2 and same(keras[1], torch[2]) and same(keras[2], torch[1]):
        text = "the hidden state and the cell state arrive in each other's place"
        fix = f"hand the states to {place[1]} as (h, c), as the Keras layer of {place[0]} gets them"
        yield Explanation("initial-state", text, fix, True)
