"""Loss and gradients of both sides, in inference or in training mode, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.tolerance import STRUCTURE
from parity.core.trainer import Evaluation
from parity.core.types import Array, Both
from parity.training.backward import Backward, Key
from parity.training.bench import Bench
from parity.training.gaps import Gap
from parity.training.losses import SAME, explain_loss
from parity.training.rounding import greater, moved
from parity.training.ties import add_up

BLURRED = 1e-6
"""Share of a gradient that rounding may excuse before the report says so."""

Targets = Both[list[Array]]


def compare_gradients(bench: Bench, training: bool) -> bool:
    """Loss and gradients of every parameter and input; whether they agree."""
    targets, result = bench.targets(0), bench.result
    with bench.unchanged():
        passes = bench.evaluate(training, targets)
    losses = Both(passes.keras.loss, passes.torch.loss)
    if bench.own_loss and not abs(losses.keras - losses.torch) <= SAME * abs(losses.keras):
        result.findings += explain_loss(bench, passes, targets)
        _judge_with_squared_error(bench)
        return compare_gradients(bench, training)
    with bench.unchanged():
        nudged = bench.nudged("torch", training, targets)
    backward = _backward(bench, passes, nudged, training, targets)
    extra = _keras_rounding(bench, backward, training, targets)
    backward.rounding = greater(backward.rounding, extra)
    found, inputs = backward.gaps(), backward.input_gaps()
    mode = "training" if training else "inference"
    result.figures[f"gradients_{mode}"] = max(
        (gap.greatest / max(gap.scale, gap.allowed / STRUCTURE) for gap in found if gap.scale > 0.0),
        default=0.0,
    )
    result.figures[f"loss_{mode}"] = losses._asdict()
    result.notes += _blurred(found, mode)
    if not inputs and not any(gap.beyond for gap in found):
        return True
    located = _located(bench, training, targets, extra)
    if not located:
        text = "; ".join(inputs) or "; ".join(str(gap) for gap in found if gap.beyond)
        located = [Finding(None, None, Kind.GRADIENT, None, f"the loss's gradient: {text}")]
    known = {(f.keras, f.torch) for f in result.findings}
    new = [f for f in located if (f.keras, f.torch) not in known]
    result.findings += [replace(f, evidence=f"in {mode} mode {f.evidence}") for f in new]
    return False


def _judge_with_squared_error(bench: Bench) -> None:
    """Forget the loss that was given, since it differs: everything else can still be compared."""
    for trainer in bench.trainers:
        trainer.loss = None
        trainer.with_extras = trainer.with_penalties = False
    bench.own_loss, bench.given = False, ()
    bench.result.notes.append("the losses differ: the rest is judged with the squared error")


def _keras_rounding(bench: Bench, backward: Backward, training: bool, targets: Targets) -> dict[str, float]:
    """What rounding does on the Keras side, by torch path: asked only where torch's explains too little."""
    beyond = [gap.pair.keras for gap in backward.gaps() if gap.beyond]
    if not beyond and not backward.input_gaps():
        return {}
    with bench.unchanged():
        nudged = bench.nudged("keras", training, targets)
    found = bench.in_torch_names(moved(backward.keras.parameters, nudged.parameters))
    found |= moved(_numbered(backward.keras.inputs), _numbered(nudged.inputs))
    return greater(found, bench.summed(beyond)) if training else found


def _blurred(found: Sequence[Gap], mode: str) -> list[str]:
    """A note where rounding alone moves a gradient noticeably, so that it is judged less sharply."""
    largest = max((gap.scale for gap in found), default=0.0)
    blurred = [gap for gap in found if gap.allowed > BLURRED * gap.scale > BLURRED * 1e-9 * largest]
    if not blurred:
        return []
    names = ", ".join(gap.slot.keras for gap in blurred[:3])
    return [
        f"in {mode} mode one roundoff moves the gradient of {names} by more than {BLURRED:g} of it "
        f"({len(blurred)} tensors: ties in a pooling, or an ill-conditioned network): judged that much less sharply"
    ]


def _located(bench: Bench, training: bool, targets: Targets, extra: dict[str, float]) -> list[Finding]:
    """The places at which the backward passes differ, found with every call watched."""
    with bench.unchanged():
        passes = bench.evaluate(training, targets, watch=True)
    with bench.unchanged():
        nudged = bench.nudged("torch", training, targets, bench.watched_paths().torch)
    backward = _backward(bench, passes, nudged, training, targets)
    backward.rounding = greater(backward.rounding, extra)
    return backward.locate()


def _backward(
    bench: Bench, passes: Both[Evaluation], nudged: Evaluation, training: bool, targets: Targets
) -> Backward:
    """The two passes; `nudged` is torch's from weights and inputs moved by one roundoff."""
    rounding = moved(passes.torch.parameters, nudged.parameters)
    rounding |= moved(_numbered(passes.torch.inputs), _numbered(nudged.inputs))
    arrived = {(call.path, call.index): call.gradient for call in nudged.calls}
    call_rounding = {
        (call.path, call.index): float(np.abs(call.gradient - gradient).max(initial=0.0))
        for call in passes.torch.calls
        if call.gradient is not None and (gradient := arrived.get((call.path, call.index))) is not None
    }

    def again(forced: Mapping[Key, Array]) -> Evaluation:
        with bench.unchanged():
            found = bench.trainers.torch.evaluate(
                bench.inputs.torch,
                targets.torch,
                training=training,
                watch=bench.watched_paths().torch,
                forced=forced,
            )
        add_up(bench.ties, "torch", found.parameters)
        return found

    return Backward(bench.slots(), bench.watched, *passes, rounding, call_rounding, again)


def _numbered(inputs: Sequence[Array | None]) -> dict[str, Array | None]:
    return {f"input {i}": value for i, value in enumerate(inputs)}
