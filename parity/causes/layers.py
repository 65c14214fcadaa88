"""Why one layer differs on identical inputs: both sides' results are identified, and the descriptions compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice, product
from typing import Any

import numpy as np

from parity.causes.case import Case, Explanation, Hypothesis
from parity.causes.cells.explain import explain_cell
from parity.causes.kernels.explain import explain_kernel
from parity.causes.norms.explain import explain_batchnorm, explain_grouped
from parity.causes.steps.compare import StepPair, explain_steps
from parity.causes.steps.equality import same
from parity.causes.steps.identify import IDENTITY, Step, candidates, permutation
from parity.core.finding import Fix
from parity.core.layout import aligned
from parity.core.types import RECURRENT, Array

EXPLAINERS: dict[str | None, Callable[[Case], Iterator[Explanation]]] = {
    "conv": explain_kernel, "depthwise": explain_kernel, "conv_transpose": explain_kernel, "dense": explain_kernel,
    "batchnorm": explain_batchnorm, "layernorm": explain_grouped, "groupnorm": explain_grouped,
}  # fmt: skip
"""Who explains a difference at a layer, by its family."""

STEPS_TRIED = 3
"""Steps between the same two tensors that are considered (ReLU and ReLU6 agree on small values)."""


def explain_layer(case: Case) -> list[Hypothesis]:
    """What the tensors show, the likeliest first; empty where they show no known cause."""
    if set(case.families) <= RECURRENT:
        return _together(explain_cell(case)) or _together(_other_weights(case))
    if len(case.keras_in) != 1 or len(case.torch_in) != 1:
        return _together(_other_weights(case))
    family = case.families[0] or case.families[1]
    found = _together(EXPLAINERS[family](case)) if family in EXPLAINERS else []
    if not found and not (case.weights[0] or case.weights[1]):
        found = _each(_weightless(case))
    return found or _together(_other_weights(case)) or _each(_steps_behind(case))


def _together(found: Iterator[Explanation]) -> list[Hypothesis]:
    """One hypothesis of all of these causes."""
    explanations = tuple(found)
    return [Hypothesis(explanations)] if explanations else []


def _each(found: Iterator[Explanation]) -> list[Hypothesis]:
    """One hypothesis for each cause."""
    return [Hypothesis((item,)) for item in found]


def _steps_behind(case: Case) -> Iterator[Explanation]:
    """A step that only one side's layer does to its result."""
    _, y = case.channels_first
    fit = aligned(case.keras_out, case.torch_out)
    if fit is not None and fit[1] == "as it is":
        y = case.keras_out
    pairs = [
        *((y, IDENTITY, step) for step in _few(y, case.torch_out)),
        *((case.torch_out, step, IDENTITY) for step in _few(case.torch_out, y)),
    ]
    for x, keras, torch in pairs:
        if not {"affine", "scale"} & {keras.kind, torch.kind}:
            for found in explain_steps(StepPair(x, keras, torch, (case.keras, case.torch))):
                yield replace(found, evidence=f"behind the layer's own work, {found.evidence}")


def _few(x: Array, y: Array, hints: tuple[dict[str, Any], ...] = ()) -> list[Step]:
    """Steps that turn x into y, the simplest first."""
    return list(islice(candidates(x, y, hints), STEPS_TRIED))


# --- layers without weights -----------------------------------------------------------------------


def _weightless(case: Case) -> Iterator[Explanation]:
    x, y = case.channels_first
    hints = (dict(case.settings[0]), dict(case.settings[1]))
    keras_steps = _few(x, y, hints)
    torch_steps = _few(case.torch_in[0], case.torch_out, hints) if keras_steps else []
    for keras, torch in product(keras_steps, torch_steps):
        if keras.kind == torch.kind == "pool":
            keras, torch = _from_one_corner(keras, x, torch, case.torch_in[0])
        yield from explain_steps(StepPair(x, keras, torch, (case.keras, case.torch)))


def _from_one_corner(keras: Step, keras_in: Array, torch: Step, torch_in: Array) -> tuple[Step, Step]:
    """Two poolings of which one has its padding in front as a step of its own: that padding counts."""
    ahead = [(a - b) // 2 for a, b in zip(keras_in.shape[2:], torch_in.shape[2:], strict=True)]
    if not any(ahead):
        return keras, torch
    step, sign = (keras, 1) if max(ahead) > 0 else (torch, -1)
    pads = [
        (begin + sign * extra, end) for (begin, end), extra in zip(step.settings["pads"], ahead, strict=True)
    ]
    moved = replace(step, settings={**step.settings, "pads": pads, "count": True},
                    name=f"{step.name} behind a padding of {[abs(extra) for extra in ahead]}")  # fmt: skip
    return (moved, torch) if step is keras else (keras, moved)


# --- any layer ------------------------------------------------------------------------------------


def _other_weights(case: Case) -> Iterator[Explanation]:
    """For layers of any kind: with the Keras weights, the torch layer itself agrees."""
    keras, torch = case.weights
    differing = {
        name: keras[name] for name in torch if name in keras and not np.array_equal(keras[name], torch[name])
    }
    agreed = case.agrees(differing, {}) if differing else None
    if agreed is None:
        yield from _permuted(case)
        return
    names = ", ".join(differing)
    zero = any(not torch[name].any() or not keras[name].any() for name in differing)
    only_bias = set(differing) == {"bias"} and (zero or not np.isclose(keras["bias"], torch["bias"]).any())
    cause = "missing-bias" if only_bias else "weight-not-copied"
    yield Explanation(cause, f"{names} differ; with the Keras values the torch layer agrees to {agreed:.1g}",
                      Fix(f"copy {names} from {case.torch} to {case.keras}",
                          f"copy {names} from {case.keras} to {case.torch}",
                          f"copy {names} from {case.keras} to {case.torch}"), True)  # fmt: skip


def _permuted(case: Case) -> Iterator[Explanation]:
    """The same result with its channels in another order: no cause is named without a reason, but one is shown."""
    _, y = case.channels_first
    order = permutation(case.torch_out, y) if y.shape == case.torch_out.shape else None
    if order is not None and "depthwise" in case.families and same(y, np.take(case.torch_out, order, 1)):
        yield Explanation("depthwise-multiplier-order", f"the torch result's channels in the order {order} agree",
                          "order the output channels as channel * multiplier + m", True)  # fmt: skip
