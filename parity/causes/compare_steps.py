"""Two steps that were identified on the two sides of one place, and the cause that tells them apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from parity.causes.steps import IDENTITY, Step
from parity.core.types import Array

NamedCause = tuple[str, str, str]
"""Identifier, evidence, fix."""


def explain_steps(
    x: Array,
    ours: Array,
    theirs: Array,
    mine: Step | None,
    other: Step | None,
    place: tuple[str, str],
    at_input: bool = False,
) -> Iterator[NamedCause]:
    """The causes that two identified steps on one tensor show.

    Args:
        x: the tensor that both sides started from.
        ours: the Keras result, channels first; theirs: torch's.
        mine: what Keras did; other: what torch did.
        place: what to call the place on either side.
        at_input: whether `x` is an input of the model.
    """
    if mine is None or other is None:
        return
    text = f"from one and the same tensor Keras makes {mine}, torch {other}"
    kinds = {mine.kind, other.kind}
    if kinds == {"pool"}:
        yield from _pools(mine, other, text, place)
    elif kinds == {"resize"}:
        yield _resizes(mine, other, text)
    elif kinds == {"softmax"}:
        yield (
            "softmax-axis",
            text,
            f"softmax over axis {mine.settings['axis']} (channels first) on the torch side, as Keras does",
        )
    elif kinds == {"flatten"}:
        yield (
            "flatten-order",
            text,
            f"permute before flattening at torch {place[1]}, or reorder the dense kernel's rows",
        )
    elif kinds == {"activation"}:
        yield _activations(mine, other, text, place)
    elif "identity" in kinds or kinds == {"channels"}:
        yield from _one_sided(x, ours, theirs, mine, other, text, place, at_input)
    elif kinds <= {"scale", "affine", "identity"} and at_input:
        yield from _input_scaling(mine, other, text, place)
    elif kinds == {"activation", "softmax"}:
        yield "activation-kind", text, "use one activation on both sides"


def _pools(mine: Step, other: Step, text: str, place: tuple[str, str]) -> Iterator[NamedCause]:
    a, b = mine.settings, other.settings
    if (a["pool"], a["kernel"], a["stride"]) != (b["pool"], b["kernel"], b["stride"]):
        return
    begins = [[begin for begin, _ in side["pads"]] for side in (a, b)]
    if a["size"] != b["size"]:
        if begins[0] == begins[1]:
            yield "pool-ceil-mode", text, f"the same ceil_mode on both sides (torch {place[1]})"
    elif begins[0] != begins[1]:
        yield (
            "same-padding-asymmetry",
            text,
            "pad explicitly, alike on both sides, in front of an unpadded pooling",
        )
    elif a["count"] != b["count"]:
        yield ("pool-count-include-pad", text,
               f"count_include_pad={a['count']} at torch {place[1]}, as Keras does")  # fmt: skip


def _resizes(mine: Step, other: Step, text: str) -> NamedCause:
    a, b = mine.settings["mode"], other.settings["mode"]
    for option, cause in (("align_corners", "resize-align-corners"), ("antialias", "resize-antialias")):
        if (option in a) != (option in b) and a.split()[0] == b.split()[0]:
            return cause, text, f"{option}={option in a} on the torch side, as Keras does"
    return "resize-mode", text, f"use {a} on both sides"


def _activations(mine: Step, other: Step, text: str, place: tuple[str, str]) -> NamedCause:
    a, b = mine.name, other.name
    if "slope" in mine.settings and "slope" in other.settings:
        return ("leaky-relu-slope", text, f"negative_slope={mine.settings['slope']:g} at torch {place[1]}, or "
                f"{other.settings['slope']:g} at Keras {place[0]}")  # fmt: skip
    for family, cause in (("gelu", "gelu-approximation"), ("hard s", "hard-sigmoid-form")):
        if a.startswith(family) and a.split()[:2] == b.split()[:2]:
            return cause, text, f"use {a} at torch {place[1]}, or {b} at Keras {place[0]}"
    return "activation-kind", text, f"use {a} at torch {place[1]}, or {b} at Keras {place[0]}"


def _one_sided(
    x: Array,
    ours: Array,
    theirs: Array,
    mine: Step,
    other: Step,
    text: str,
    place: tuple[str, str],
    at_input: bool,
) -> Iterator[NamedCause]:
    """One side does something, the other nothing (or both reorder channels)."""
    step, side, path = (mine, "torch", place[1]) if mine.kind != "identity" else (other, "Keras", place[0])
    lacking, having = (side, "Keras" if side == "torch" else "torch")
    if step.kind == "activation":
        yield (
            "activation-missing",
            text,
            f"apply {step} on the {lacking} side at {path}, or leave it out in {having}",
        )
    elif step.kind == "softmax":
        twice = _is_distribution(x, int(step.settings["axis"]))
        if twice:
            yield (
                "double-softmax",
                f"{text}; what goes in sums to 1 already",
                f"leave the second softmax out on the {having} side",
            )
        else:
            yield (
                "activation-missing",
                text,
                f"apply the softmax on the {lacking} side, or leave it out in {having}",
            )
    elif step.kind == "channels":
        order = step.settings["order"]
        if at_input and len(order) in (3, 4) and order[:3] == [2, 1, 0]:
            yield (
                "channel-order",
                text,
                f"use one channel order: reverse the input's channels on the {lacking} side",
            )
        elif blocks(order) is not None:
            shown = " and ".join(f"{first}..{last}" for first, last in blocks(order) or [])
            yield (
                "concat-order",
                f"{text}: blocks {shown} change places",
                f"concatenate in Keras' order at torch {place[1]}",
            )
    elif step.kind in {"scale", "affine"} and at_input:
        yield from _input_scaling(mine, other, text, place)


def _is_distribution(x: Array, axis: int) -> bool:
    return bool(x.min() >= 0.0 and np.allclose(x.sum(axis=axis), 1.0, rtol=0, atol=1e-9))


def blocks(order: list[int]) -> list[tuple[int, int]] | None:
    """[first, last] of the runs of consecutive channels in an order; None where there are too many to be operands."""
    runs: list[tuple[int, int]] = []
    for channel in order:
        if runs and channel == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], channel)
        else:
            runs.append((channel, channel))
    moved = len(runs)
    return runs if 2 <= moved <= max(4, len(order) // 3) else None


def _input_scaling(mine: Step, other: Step, text: str, place: tuple[str, str]) -> Iterator[NamedCause]:
    """Scalings of the model's input; the same ones in reversed channel order are a matter of channel order."""
    lines = [_lines(step) for step in (mine, other)]
    if all(line is not None for line in lines):
        (a, b), (c, d) = lines  # type: ignore[misc]
        # Constants may have been rounded to float32 on one side.
        if (
            a.shape == c.shape
            and a.size > 1
            and np.allclose([a[::-1], b[::-1]], [c, d], rtol=1e-6, atol=1e-9)
        ):
            yield (
                "channel-order",
                f"{text}, in reversed channel order",
                "give mean and standard deviation in one order",
            )
            return
    yield "input-scaling", text, f"scale the input alike: as Keras {place[0]} does, or torch {place[1]}, once"


def _lines(step: Step) -> tuple[Array, Array] | None:
    if step is IDENTITY or step.kind == "identity":
        return np.ones(1), np.zeros(1)
    if step.kind == "scale":
        return np.array([step.settings["factor"]]), np.array([step.settings["offset"]])
    return (step.settings["factors"], step.settings["offsets"]) if step.kind == "affine" else None
