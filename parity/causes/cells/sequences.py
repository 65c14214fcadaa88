"""Why another sequence, or another step of it, arrives at a layer: turned round, padded, or another step taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from parity.causes.case import Explanation
from parity.causes.steps.equality import same
from parity.core.finding import Fix
from parity.core.types import Array

Earlier = tuple[str, Array]
"""What an earlier tensor is called, and the tensor, (N, C, T)."""


def lengths_of(result: Array) -> tuple[int, ...] | None:
    """Where each sequence of (N, T, C) ends, behind which there are zeros alone; None where all fill it."""
    return _ends(np.moveaxis(result, 1, -1))


def _ends(sequence: Array) -> tuple[int, ...] | None:
    """The same of (N, C, T)."""
    if sequence.ndim != 3 or not sequence.size:
        return None
    last = sequence.shape[2] - np.argmax(np.any(sequence != 0.0, axis=1)[:, ::-1], axis=1)
    found = tuple(int(end) if row.any() else 0 for end, row in zip(last, sequence, strict=True))
    return found if min(found) < sequence.shape[2] and max(found) else None


def explain_sequence(
    keras: Array, torch: Array, earlier: Sequence[Earlier], place: tuple[str, str], shown: bool = True
) -> Iterator[Explanation]:
    """What two tensors show that should be the same: sequences, or steps of one.

    Args:
        keras: what arrived on the Keras side, (N, C, T) or (N, C).
        torch: what arrived on the torch side.
        earlier: what was there before on both sides.
        place: what to call the place on either side.
        shown: whether the steps that count come first in both, as they are shown of recurrent layers.
    """
    if keras.shape != torch.shape or same(keras, torch):
        return
    if keras.ndim == 3:
        if same(keras, torch[..., ::-1]):
            yield _turned(place)
        elif shown:
            yield from _padded(keras, torch, place)
    elif keras.ndim == 2:
        yield from _other_step(keras, torch, earlier, place)


def _turned(place: tuple[str, str]) -> Explanation:
    text = "what arrives is the same sequence with its last step first"
    fix = Fix(
        f"turn it in front of Keras {place[0]}, or leave go_backwards or a flip out there",
        f"turn it in front of {place[1]} (torch.flip along the steps)",
        f"turn it in front of {place[1]} (torch.flip along the steps), or leave go_backwards or a flip out in Keras",
    )
    return Explanation("sequence-direction", text, fix, True)


def _padded(keras: Array, torch: Array, place: tuple[str, str]) -> Iterator[Explanation]:
    """The steps that count are the same, and those behind the ends are not."""
    for side, short, whole in (("Keras", keras, torch), ("torch", torch, keras)):
        ends = _ends(short)
        if ends is None:
            continue
        rows = list(zip(short, whole, ends, strict=True))
        if all(same(a[:, :end], b[:, :end]) for a, b, end in rows if end):
            where = "behind the ends the other side goes on"
        elif all(same(a[:, :end], b[:, b.shape[1] - end :]) for a, b, end in rows if end):
            where = "the other side begins with the padding"
        else:
            continue
        counts = ", ".join(map(str, ends[:4]))
        pack = f"pack what goes into torch module {place[1]} (pack_padded_sequence with the lengths)"
        mask = f"give the Keras layer of {place[0]} the mask (mask_zero=True, or a Masking layer)"
        if side == "Keras":
            fix = Fix(f"leave the mask out in front of the Keras layer of {place[0]}", pack, pack)
        else:
            fix = Fix(mask, f"do not pack what goes into torch module {place[1]}", mask)
        text = f"{side} stops at the end of each sequence ({counts} steps): these steps are the same, and {where}"
        yield Explanation("sequence-mask", text, fix, True)
        return


def _other_step(
    keras: Array, torch: Array, earlier: Sequence[Earlier], place: tuple[str, str]
) -> Iterator[Explanation]:
    """Both sides take one step of the same sequence, and not the same one."""
    for name, sequence in earlier:
        size = sequence.shape[1] if sequence.ndim == 3 and len(sequence) == len(keras) else 0
        if not size or keras.shape[1] % size:
            continue
        pairs = []
        for start in range(0, keras.shape[1], size):
            a, b = keras[:, start : start + size], torch[:, start : start + size]
            if not same(a, b):
                pairs.append((_step(a, sequence), _step(b, sequence)))
        known = [pair for pair in pairs if None not in pair]
        if known and len(known) == len(pairs):
            first, second = known[0]
            text = f"of {name}, in the order in which its cell ran, Keras takes {first}, torch {second}"
            fix = Fix(
                f"take {second} in Keras in front of {place[0]}",
                f"take {first} in torch in front of {place[1]}",
                f"take {first} on the torch side in front of {place[1]}: the cell's last state, not a place in the output",
            )
            yield Explanation("sequence-step", text, fix, True)
            return


def _step(value: Array, sequence: Array) -> str | None:
    """Which step of a sequence a value is; None where it is none."""
    count = sequence.shape[2]
    ends = _ends(sequence)
    if (
        ends is not None
        and min(ends)
        and same(value, np.stack([row[:, end - 1] for row, end in zip(sequence, ends, strict=True)]))
    ):
        return "the last valid step"
    for place in (count - 1, *range(count - 1)):
        if same(value, sequence[:, :, place]):
            return "the last step" if place == count - 1 else f"step {place}"
    return None
