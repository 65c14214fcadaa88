"""Why a normalisation differs: epsilon, the places of its vectors, and whose statistics it uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from parity.causes.case import Case, Explanation
from parity.causes.norms.describe import (
    Normalisation,
    Order,
    before_activation,
    describe_batchnorm,
    describe_grouped,
)
from parity.causes.steps.identify import plain_number
from parity.core.finding import Fix
from parity.core.layout import aligned

NORMALISING = {"batchnorm", "layernorm", "groupnorm"}
"""Kinds of layers whose epsilon has a name of its own."""


def named_after(item: Explanation, families: tuple[str | None, str | None]) -> Explanation:
    """An epsilon that was found in steps written out, by the kind of the layer that is known on one side."""
    known = {family for family in families if family in NORMALISING}
    if len(known) != 1 or not item.cause.endswith(("-epsilon", "epsilon-value")):
        return item
    return replace(item, cause=f"{known.pop()}-epsilon")


def explain_batchnorm(case: Case) -> Iterator[Explanation]:
    """The causes at a batch normalisation."""
    x, y = (
        case.channels_first
        if case.settings[0].get("axis") in (None, -1, x_axis(case))
        else (case.keras_in[0], case.keras_out)
    )
    keras = describe_batchnorm(x, y, [("keras", case.weights[0])])
    of_torch = case.torch_in[0], case.torch_out, [("keras", case.weights[0]), ("torch", case.weights[1])]
    torch = describe_batchnorm(*(of_torch if case.within is None else before_activation(*of_torch)))
    if keras is None or torch is None or _of_an_instance(case, keras, torch):
        yield from _epsilon_as_set(case, "batchnorm-epsilon")
        return
    yield from _normalisations(case, keras, torch, "batchnorm-epsilon")


def _of_an_instance(case: Case, keras: Normalisation, torch: Normalisation) -> bool:
    """Whether a layer of another kind normalises one example: by its own statistics, which are the batch's too."""
    kinds = zip(case.families, (keras.statistics, torch.statistics), strict=True)
    return len(case.torch_out) == 1 and any(
        family != "batchnorm" and statistics == "batch" for family, statistics in kinds
    )


def _epsilon_as_set(case: Case, cause: str) -> Iterator[Explanation]:
    """For results from which epsilon cannot be solved (single pixels): with the other's setting the layer agrees."""
    a, b = case.settings[0].get("epsilon"), case.settings[1].get("eps")
    agreed = case.agrees({}, {"eps": a}) if a is not None and b is not None and a != b else None
    if agreed is not None:
        text = f"epsilon is {a:g} in Keras and {b:g} in torch; with eps={a:g} the torch layer agrees to {agreed:.1g}"
        fix = Fix(f"epsilon={b:g} on Keras layer {case.keras}", f"eps={a:g} on torch layer {case.torch}")
        yield Explanation(cause, text, fix, True)


def x_axis(case: Case) -> int:
    """The last axis of the Keras input, which holds the channels."""
    return case.keras_in[0].ndim - 1


def explain_grouped(case: Case) -> Iterator[Explanation]:
    """The causes at a layer or group normalisation."""
    sources = [("keras", case.weights[0])], [("keras", case.weights[0]), ("torch", case.weights[1])]
    groups = case.settings[1].get("num_groups", case.settings[0].get("groups"))
    if "groupnorm" in case.families:
        x, y = case.channels_first
        pair = ((x, y, sources[0]), (case.torch_in[0], case.torch_out, sources[1]))
        found = [describe_grouped(*item, int(groups or 1)) for item in pair]
        cause = "groupnorm-epsilon"
    else:
        fit = aligned(case.keras_out, case.torch_out)
        if fit is None:
            return
        inside = aligned(case.keras_in[0], case.torch_in[0])
        pair = ((case.keras_in[0], case.keras_out, sources[0]),
                (inside[0] if inside else case.torch_in[0], fit[0], sources[1]))  # fmt: skip
        found = [describe_grouped(*item, None) for item in pair]
        cause = "layernorm-epsilon"
    if found[0] is not None and found[1] is not None:
        yield from _normalisations(case, found[0], found[1], cause)
    else:
        yield from _epsilon_as_set(case, cause)


def _normalisations(
    case: Case, keras: Normalisation, torch: Normalisation, epsilon_cause: str
) -> Iterator[Explanation]:
    found: list[tuple[str, str, str]] = []
    settings: dict[str, Any] = {}
    if abs(keras.epsilon - torch.epsilon) > 1e-6 * max(keras.epsilon, torch.epsilon) + 1e-12:
        a, b = _short(keras.epsilon), _short(torch.epsilon)
        settings["eps"] = a
        found.append((epsilon_cause, f"epsilon is {a:g} in Keras and {b:g} in torch, as solved from the results",
                      Fix(f"epsilon={b:g} on Keras layer {case.keras}",
                          f"eps={a:g} on torch layer {case.torch}")))  # fmt: skip
    if keras.statistics != torch.statistics:
        side, path = ("torch", case.torch) if torch.statistics == "batch" else ("Keras", case.keras)
        found.append(("train-mode-left-on", f"the {side} layer {path} normalises by the statistics of the batch",
                      f"run {side} layer {path} in inference mode"))  # fmt: skip
    weights = dict(case.weights[0]) if torch.source == "torch" or keras.order != torch.order else {}
    found += _vectors(case, keras, torch)
    agreed = case.agrees(weights, settings) if found else None
    shown = "with that changed on the torch layer it agrees" + ("" if agreed is None else f" to {agreed:.1g}")
    if agreed is None:  # the module does not read its own attributes: the formula was held against the result
        shown = "with that changed the layer's formula gives the Keras result"
    for cause, evidence, fix in found:
        yield Explanation(cause, f"{evidence}; {shown}", fix, True)


def _short(value: float) -> float:
    return plain_number(float(f"{value:.7g}"))


def _vectors(case: Case, keras: Normalisation, torch: Normalisation) -> Iterator[tuple[str, str, str]]:
    """Differences in which vector has which role."""
    if torch.source == "keras" and keras.order != torch.order:
        dropped = torch.left_out ^ keras.left_out
        if dropped:
            side, path = ("torch", case.torch) if torch.left_out & dropped else ("Keras", case.keras)
            names = ", ".join(sorted(dropped))
            cause = "missing-bias" if dropped == {"bias"} else "weight-not-copied"
            yield cause, f"the {side} layer {path} has no {names}", f"copy {names} to {side} layer {path}"
            return
        text = f"the vectors stand as {_shown(keras.order)} in Keras and as {_shown(torch.order)} in torch"
        yield "batchnorm-slots-swapped", text, _own_slots(case)
    elif torch.source == "torch":
        yield from _values(case)


def _values(case: Case) -> Iterator[tuple[str, str, str]]:
    """Differences in the vectors' values."""
    keras, torch = case.weights
    differing = [name for name in torch if name in keras and not np.array_equal(keras[name], torch[name])]
    swapped = [(name, twin) for name in differing for twin in keras
               if twin != name and np.array_equal(torch[name], keras[twin])]  # fmt: skip
    names = ", ".join(differing)
    if swapped:
        text = "; ".join(f"torch's {name} holds what Keras has as {twin}" for name, twin in swapped)
        yield "batchnorm-slots-swapped", text, _own_slots(case)
    elif differing == ["bias"] and (not torch["bias"].any() or not keras["bias"].any()):
        side = "torch" if not torch["bias"].any() else "Keras"
        yield "missing-bias", f"the {side} layer's bias is zero", f"copy the bias to the {side} layer"
    elif differing:
        yield (
            "weight-not-copied",
            f"{names} are not the same",
            Fix(
                f"copy {names} from {case.torch} to {case.keras}",
                f"copy {names} from {case.keras} to {case.torch}",
                f"copy {names} from {case.keras} to {case.torch}",
            ),
        )


def _own_slots(case: Case) -> Fix:
    text = f"copy each vector to its own slot of torch layer {case.torch}"
    return Fix(f"copy each vector to its own slot of Keras layer {case.keras}", text, text)


def _shown(order: Order) -> str:
    return ", ".join(name or "none" for name in order)
