"""One evaluation of one side: its outputs, or the finding that says why there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from parity.core.adapter import Adapter
from parity.core.errors import UsageError, in_a_line
from parity.core.finding import Finding, Kind
from parity.core.tolerance import difference, limits
from parity.core.types import Array, Side
from parity.pairing.pair import Pairing
from parity.replay.hidden import TracedRun, traced_run
from parity.replay.noise import noise
from parity.replay.spread import OutputSpread, distance
from parity.verdict.outputs import Outputs, same

FITTING_INPUT = (
    "where the input is what it does not take, give one that both models take (inputs=, --input 2x65x96x3)"
)
NO_FLOAT64 = "it runs in float32, so one of its operations takes no float64 here, which parity judges by: "
OF_ONE_MODEL = 64.0
"""How many times nearer a model must be to itself, watched and not, than two models to one another."""
ANOTHER = "gives another result for an input that it was given before"
ELSEWHERE = {
    "keras": "check on another Keras backend (KERAS_BACKEND=jax or torch)",
    "torch": "check on another device (--device cpu)",
}


def evaluated(model: Adapter, inputs: Sequence[Array]) -> tuple[Outputs | None, list[Finding]]:
    """The outputs of one side; where it raises, None and the finding that says so."""
    try:
        return model.forward(inputs), []
    except UsageError as error:
        return None, [Finding(None, None, Kind.ERROR, None, f"{model.side}: {error}")]
    except Exception as error:  # any model, any error: it is a finding, not a crash of the tool
        text = f"{model.side} raised {in_a_line(error)}"
        fix = NO_FLOAT64 + ELSEWHERE[model.side] if _runs_in_float32(model, inputs) else FITTING_INPUT
        return None, [Finding(None, None, Kind.ERROR, None, text, fix)]


def evaluated_traced(model: Adapter, inputs: Sequence[Array]) -> tuple[TracedRun | None, list[Finding]]:
    """The traced run of one side; a plain one where it cannot be traced, and where it raises, the finding that says so."""
    try:
        return traced_run(model, inputs), []
    except Exception:  # any model, any error: a plain pass says it
        found, errors = evaluated(model, inputs)
    return None if found is None else TracedRun(found), errors


def has_short_cuts(model: Adapter) -> bool:
    """Whether the framework may compute a layer in another way when nobody looks on (`Adapter.unfused`)."""
    return model.side == "torch" and any(layer.whole for layer in model.layers().values())


def _runs_in_float32(model: Adapter, inputs: Sequence[Array]) -> bool:
    """Whether a model that raised on these inputs takes them in float32."""
    if not any(value.dtype == np.float64 for value in inputs):
        return False
    single = [value.astype(np.float32) if value.dtype == np.float64 else value for value in inputs]
    try:
        with model.precision("float32"):
            model.forward(single)
    except Exception:  # any model, any error: it was not the precision
        return False
    return True


def unrepeatable(
    sides: tuple[Adapter, Adapter], inputs: Mapping[Side, Sequence[Array]], pairing: Pairing
) -> dict[Side, Finding]:
    """A finding for each side that gives different results for one input, by side.

    Args:
        sides: both sides, Keras first.
        inputs: the inputs of each side, in its own layout.
        pairing: which layer is which.
    """
    found = {model.side: noise(model, inputs[model.side]) for model in sides}
    findings: dict[Side, Finding] = {}
    for side, item in found.items():
        if item is None:
            continue
        keras, torch = (item.path, None) if side == "keras" else (None, item.path)
        for pair in pairing.pairs:
            if keras == pair.keras or torch in pair.torch:
                keras, torch = pair.keras, ", ".join(pair.torch)
        text = f"the {side} model is not repeatable: {item.evidence}"
        if sum(value is not None for value in found.values()) == 1:
            text += f"; the {'torch' if side == 'keras' else 'Keras'} side is"
        cause = "train-mode-left-on" if item.dropped else None
        fix = "module.eval(), and no dropout with training=True" if side == "torch" else "training=False"
        findings[side] = Finding(keras, torch, Kind.NOT_REPEATABLE, cause, text, fix if cause else None)
    return findings


def forgotten(
    sides: tuple[Adapter, Adapter],
    inputs: Mapping[Side, Sequence[Array]],
    outputs: Mapping[Side, Outputs],
    between: Mapping[Side, Sequence[Array]] | None = None,
    again: dict[Side, Outputs] | None = None,
) -> dict[Side, str]:
    """What is wrong with a side that by now gives something else for an input than it gave before.

    Args:
        sides: both sides, Keras first, held in float64.
        inputs: the inputs of each side, in its own layout.
        outputs: what each side gave for them, not traced; a side that raised is left out.
        between: another input, evaluated in front; what that leaves behind counts.
        again: what sides gave for the inputs after other calls, where that is known already; the others' is added.
    """
    stray: dict[Side, str] = {}
    again = {} if again is None else again
    for model in sides:
        if model.side not in outputs:
            continue
        try:
            ahead = [between[model.side]] if between is not None else []
            if model.side not in again:
                again[model.side] = model.in_turn([*ahead, inputs[model.side]])[-1]
        except Exception as error:  # any model, any error: it did not raise the first time
            stray[model.side] = f"raised {in_a_line(error)}"
            continue
        if not same(model, outputs[model.side], again[model.side]):
            stray[model.side] = ANOTHER
    return stray


def unlike_again(model: Adapter, inputs: Sequence[Array], traced: Outputs, plain: Outputs) -> bool:
    """Whether a side gives these different results each time, the one where it is traced and the other where it is not.

    If not, it gives another result for an input that it was given before.

    Args:
        model: one side, held in float64.
        inputs: its inputs, in its own layout.
        traced: what it gave for them when it was traced.
        plain: what it gave for them later, not traced.
    """
    try:
        return same(model, plain, model.forward(inputs)) and same(
            model, traced, traced_run(model, inputs).outputs
        )
    except Exception:  # any model, any error: it did not raise before
        return False


def not_repeatable(
    sides: tuple[Adapter, Adapter],
    inputs: Mapping[Side, Sequence[Array]],
    pairing: Pairing,
    stray: Mapping[Side, str],
) -> dict[Side, Finding]:
    """A finding for each side that does not repeat itself, by side: at a layer where noise shows, else as a whole.

    Args:
        sides: both sides, Keras first.
        inputs: the inputs of each side, in its own layout.
        pairing: which layer is which.
        stray: what is wrong with a side, where something is.
    """
    findings = unrepeatable(sides, inputs, pairing)
    for side, text in stray.items():
        if side not in findings:
            said = f"the {side} model is not repeatable: after other calls it {text}; does it count or keep state?"
            findings[side] = Finding(None, None, Kind.NOT_REPEATABLE, None, said)
    return findings


def unlike_traced(
    model: Adapter,
    inputs: Mapping[Side, Sequence[Array]],
    outputs: Mapping[Side, Outputs],
    runs: Mapping[Side, TracedRun],
) -> list[Finding]:
    """A finding where a side gives something else when it is traced: what traces show does not hold for it then.

    Args:
        model: one side, held in float64.
        inputs: the inputs of each side, in its own layout.
        outputs: what each side gave for them, not traced.
        runs: the traced run of each side.
    """
    plain, again = outputs[model.side], runs[model.side].outputs
    if [value.shape for _, value in plain] == [value.shape for _, value in again]:
        if all(not distance(a, b).any() for (_, a), (_, b) in zip(plain, again, strict=True)):
            return []
        if _fused(model, inputs[model.side], again):
            return []
        spreads = OutputSpread(model, inputs[model.side], again).greatest()
        gaps = [
            difference(a, b, limit=limits(a, spread / OF_ONE_MODEL))
            for (_, a), (_, b), spread in zip(plain, again, spreads, strict=True)
        ]
        if not any(gap.mismatched for gap in gaps):
            return []
    text = f"the {model.side} model gives something else when its steps are watched; does it look at who calls it?"
    return [Finding(None, None, Kind.NOT_REPEATABLE, None, text)]


def _fused(model: Adapter, inputs: Sequence[Array], traced: Outputs) -> bool:
    """Whether a side gives what it gives when it is traced, once the framework takes no short cut of its own."""
    with model.unfused():
        steps = model.forward(inputs)
    return all(not distance(a, b).any() for (_, a), (_, b) in zip(steps, traced, strict=True))
