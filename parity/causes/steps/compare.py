"""Two steps that were identified on the two sides of one place, and the cause that tells them apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from parity.causes.case import Explanation
from parity.causes.steps.identify import IDENTITY, Step
from parity.core.finding import Fix
from parity.core.types import Array

TWO_FORMS: dict[str | None, str] = {
    "gelu": "gelu-approximation",
    "hard sigmoid": "hard-sigmoid-form",
    "hard swish": "hard-sigmoid-form",
}
"""Activations of two forms, and the cause where each side has its own."""
SIDES = ("Keras", "torch")
SAME_TENSOR = "one and the same tensor"


@dataclass(frozen=True)
class StepPair:
    """What each side made of one tensor.

    Attributes:
        x: the tensor, channels first.
        keras: what Keras did with it.
        torch: what torch did.
        place: what to call the place on either side.
        start: what to call the tensor.
        at_input: whether it is an input of the model.
    """

    x: Array
    keras: Step
    torch: Step
    place: tuple[str, str]
    start: str = SAME_TENSOR
    at_input: bool = False

    @property
    def text(self) -> str:
        """What was found, in words."""
        return f"from {self.start} Keras makes {self.keras}, torch {self.torch}"


def explain_steps(steps: StepPair) -> Iterator[Explanation]:
    """The causes that two identified steps on one tensor show; each was held against both results."""
    keras, torch, text, place = steps.keras, steps.torch, steps.text, steps.place
    kinds = {keras.kind, torch.kind}
    if kinds == {"pool"}:
        yield from _pools(steps)
    elif kinds == {"resize"}:
        yield _resizes(steps)
    elif kinds == {"softmax"}:
        axes = [step.settings["axis"] for step in (keras, torch)]
        in_torch = f"softmax over axis {axes[0]} (channels first) on the torch side, as Keras does"
        fix = Fix(f"softmax over axis {axes[1]} (channels first) in Keras, as torch does", in_torch, in_torch)
        yield _shown("softmax-axis", text, fix)
    elif kinds == {"flatten"}:
        rows = "or reorder the dense kernel's rows"
        in_torch = f"permute before flattening at torch {place[1]}, {rows}"
        fix = Fix(f"permute before flattening at Keras {place[0]}, {rows}", in_torch, in_torch)
        yield _shown("flatten-order", text, fix)
    elif kinds == {"activation"}:
        yield _activations(steps)
    elif "identity" in kinds or kinds == {"channels"}:
        yield from _one_sided(steps)
    elif kinds <= {"scale", "affine", "identity"} and steps.at_input:
        yield _input_scaling(steps)
    elif kinds == {"activation", "softmax"}:
        yield _shown("activation-kind", text, "use one activation on both sides")


def _shown(cause: str, evidence: str, fix: str, lone: str | None = None) -> Explanation:
    return Explanation(cause, evidence, fix, verified=True, lone=lone)


def _pools(steps: StepPair) -> Iterator[Explanation]:
    a, b = steps.keras.settings, steps.torch.settings
    if (a["pool"], a["kernel"], a["stride"]) != (b["pool"], b["kernel"], b["stride"]):
        return
    at = f"torch {steps.place[1]}"
    begins = [[begin for begin, _ in side["pads"]] for side in (a, b)]
    if a["size"] != b["size"]:
        if begins[0] == begins[1]:
            either = f"the same ceil_mode on both sides ({at})"
            fix = Fix(
                f"pad Keras {steps.place[0]} so that it rounds as torch does",
                f"another ceil_mode at {at}",
                either,
            )
            yield _shown("pool-ceil-mode", steps.text, fix)
    elif begins[0] != begins[1]:
        explicit = "pad explicitly, alike on both sides, in front of an unpadded pooling"
        yield _shown("same-padding-asymmetry", steps.text, explicit)
    elif a["count"] != b["count"] and a["pool"] == "max":
        zeros, path = ("Keras", steps.place[0]) if a["count"] else ("torch", steps.place[1])
        lowest = f"pad with minus infinity in front of the maximum at {zeros} {path}, or by the pooling's own padding"
        yield _shown("padding-size", steps.text, lowest)
    elif a["count"] != b["count"]:
        in_torch = f"count_include_pad={a['count']} at {at}, as Keras does"
        in_keras = f"average over {'the padding too' if b['count'] else 'what is no padding'} at Keras {steps.place[0]}"
        fix = Fix(in_keras, in_torch, in_torch)
        yield _shown("pool-count-include-pad", steps.text, fix)


def _resizes(steps: StepPair) -> Explanation:
    a, b = steps.keras.settings, steps.torch.settings
    for option, cause in (("align_corners", "resize-align-corners"), ("antialias", "resize-antialias")):
        having = [side["option"] == option for side in (a, b)]
        if having[0] != having[1] and a["method"] == b["method"]:
            in_torch = f"{option}={having[0]} on the torch side, as Keras does"
            in_keras = f"{option}={having[1]} on the Keras side, as torch does"
            return _shown(cause, steps.text, Fix(in_keras, in_torch, in_torch))
    modes = Fix(f"use {b['mode']} in Keras", f"use {a['mode']} in torch", f"use {a['mode']} on both sides")
    return _shown("resize-mode", steps.text, modes)


def _activations(steps: StepPair) -> Explanation:
    a, b = steps.keras, steps.torch
    at_keras, at_torch = f"Keras {steps.place[0]}", f"torch {steps.place[1]}"
    if "slope" in a.settings and "slope" in b.settings:
        in_keras, in_torch = (f"negative_slope={side.settings['slope']:g} at" for side in (b, a))
        return _shown("leaky-relu-slope", steps.text, Fix(f"{in_keras} {at_keras}", f"{in_torch} {at_torch}"))
    forms = a.settings.get("form of"), b.settings.get("form of")
    cause = TWO_FORMS.get(forms[0], "activation-kind") if forms[0] == forms[1] else "activation-kind"
    return _shown(cause, steps.text, Fix(f"use {b.name} at {at_keras}", f"use {a.name} at {at_torch}"))


def _one_sided(steps: StepPair) -> Iterator[Explanation]:
    """One side does something, the other nothing (or both reorder channels)."""
    at_torch = steps.keras.kind != "identity"  # it is torch that lacks the step
    step, lacking, having, path = (
        (steps.keras, "torch", "Keras", steps.place[1])
        if at_torch
        else (steps.torch, "Keras", "torch", steps.place[0])
    )
    text = steps.text
    if step.kind == "activation":
        fix = _applied(str(step), lacking, having, path)
        yield _shown("activation-missing", text, fix, step.kind)
    elif step.kind == "softmax" and _is_distribution(steps.x, int(step.settings["axis"])):
        leave, add = f"leave the second softmax out on the {having} side", f"apply it twice in {lacking} too"
        fix = Fix(leave, add, leave) if having == "Keras" else Fix(add, leave, leave)
        yield _shown("double-softmax", f"{text}; what goes in sums to 1 already", fix)
    elif step.kind == "softmax":
        fix = _applied("the softmax", lacking, having, path)
        yield _shown("activation-missing", text, fix, step.kind)
    elif step.kind == "channels":
        order = step.settings["order"]
        if steps.at_input and len(order) in (3, 4) and order[:3] == [2, 1, 0]:
            one = f"use one channel order: reverse the input's channels on the {lacking} side"
            sides = [
                f"use one channel order: reverse the input's channels on the {side} side" for side in SIDES
            ]
            fix = Fix(sides[0], sides[1], one)
            yield _shown("channel-order", text, fix)
        elif (moved := blocks(order)) is not None:
            shown = " and ".join(f"{first}..{last}" for first, last in moved)
            in_torch = f"concatenate in Keras' order at torch {steps.place[1]}"
            fix = Fix(f"concatenate in torch's order at Keras {steps.place[0]}", in_torch, in_torch)
            yield _shown("concat-order", f"{text}: blocks {shown} change places", fix)
    elif step.kind in {"scale", "affine"} and steps.at_input:
        yield _input_scaling(steps)


def _applied(step: str, lacking: str, having: str, path: str) -> Fix:
    """What to do about a step that one side alone applies."""
    add, leave = f"apply {step} on the {lacking} side at {path}", f"leave {step} out in {having}"
    both = f"{add}, or leave it out in {having}"
    return Fix(leave, add, both) if having == "Keras" else Fix(add, leave, both)


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
    return runs if 2 <= len(runs) <= max(4, len(order) // 3) else None


def _input_scaling(steps: StepPair) -> Explanation:
    """Scalings of the model's input; the same ones in reversed channel order are a matter of channel order."""
    keras, torch = _lines(steps.keras), _lines(steps.torch)
    if keras is not None and torch is not None:
        (a, b), (c, d) = keras, torch
        # Constants may have been rounded to float32 on one side.
        same_size = a.shape == c.shape and a.size > 1
        if same_size and np.allclose([a[::-1], b[::-1]], [c, d], rtol=1e-6, atol=1e-9):
            fix = "give mean and standard deviation in one order"
            return _shown("channel-order", f"{steps.text}, in reversed channel order", fix)
    fix = Fix(
        f"scale the input as torch {steps.place[1]} does, once", f"scale the input as Keras {steps.place[0]} does, once",
        f"scale the input alike: as Keras {steps.place[0]} does, or torch {steps.place[1]}, once",
    )  # fmt: skip
    return _shown("input-scaling", steps.text, fix)


def _lines(step: Step) -> tuple[Array, Array] | None:
    if step is IDENTITY or step.kind == "identity":
        return np.ones(1), np.zeros(1)
    if step.kind == "scale":
        return np.array([step.settings["factor"]]), np.array([step.settings["offset"]])
    return (step.settings["factors"], step.settings["offsets"]) if step.kind == "affine" else None
