"""Loss and gradients of both sides, in inference or in training mode, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.tolerance import STRUCTURE
from parity.core.trainer import Evaluation, WatchedCall
from parity.core.types import Array, Both, Side
from parity.training.backward import Backward, Key
from parity.training.bench import Bench
from parity.training.cuts import stopped
from parity.training.gaps import Gap
from parity.training.loss.explain import explain_loss
from parity.training.loss.held import SAME
from parity.training.rounding import DRAWS, MORE_DRAWS, UNIT, Spread, not_repeated, repeated, widen
from parity.training.ties import add_up
from parity.weights.shake import shaken_alike

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
    backward = _backward(bench, passes, training, targets)
    stray = _measure(bench, backward, training, targets)
    if stray:
        result.findings.append(not_repeated(stray, "two backward passes from the same state"))
        result.noisy.add(stray)
        return False
    found, inputs = backward.gaps(), backward.input_gaps()
    if (
        bench.target_scale != 1.0
    ):  # great targets: a saturated softmax leaves the rounding of what it subtracts
        inputs = backward.input_gaps(STRUCTURE)
    mode = "training" if training else "inference"
    result.figures[f"gradients_{mode}"] = max(
        (gap.greatest / max(gap.scale, gap.allowed / STRUCTURE) for gap in found if gap.scale > 0.0),
        default=0.0,
    )
    result.figures[f"loss_{mode}"] = losses._asdict()
    result.notes += _blurred(found, mode)
    if not inputs and not any(gap.beyond for gap in found):
        return True
    located = _located(bench, training, targets, backward.spreads)
    if not located:
        text = "; ".join(inputs) or "; ".join(str(gap) for gap in found if gap.beyond)
        located = [Finding(None, None, Kind.GRADIENT, None, f"the loss's gradient: {text}")]
    located = stopped(bench, located, lambda draw, moved: _agree(bench, training, draw, moved))
    known = {(f.keras, f.torch) for f in result.findings}
    new = [f for f in located if (f.keras, f.torch) not in known]
    result.findings += [replace(f, evidence=f"in {mode} mode {f.evidence}") for f in new]
    return False


def _agree(bench: Bench, training: bool, draw: int, moved: bool) -> bool:
    """Whether all gradients agree for other targets, and with both sides' weights moved alike where asked."""
    targets = bench.targets(draw)
    drawn_anew = shaken_alike(*bench.adapters, bench.pairing) if moved else nullcontext(True)
    with bench.unchanged(), drawn_anew as alike:
        if not alike:
            return False
        backward = _backward(bench, bench.evaluate(training, targets), training, targets)
        if _measure(bench, backward, training, targets):
            return False
    return not backward.input_gaps() and not any(gap.beyond for gap in backward.gaps())


def _judge_with_squared_error(bench: Bench) -> None:
    """Forget the loss that was given, since it differs: everything else can still be compared."""
    for trainer in bench.trainers:
        trainer.loss = None
        trainer.with_extras = trainer.with_penalties = False
    bench.own_loss, bench.given = False, ()
    bench.result.notes.append("the losses differ: the rest is judged with the squared error")


def _measure(bench: Bench, backward: Backward, training: bool, targets: Targets) -> Side | None:
    """Measure spreads until they explain every difference, or all runs are made: torch's side first, then Keras'.

    Returns:
        The side that does not repeat itself, of which nothing can be measured; None where both do.
    """
    sides: tuple[Side, ...] = ("torch", "keras")
    for draws in (range(DRAWS), range(DRAWS, MORE_DRAWS)):
        for side in sides:
            for draw in draws:
                beyond = [gap for gap in backward.gaps() if gap.beyond]
                if not beyond and not backward.input_gaps():
                    return None
                few = all(gap.by_chance for gap in beyond)
                if draw >= DRAWS and not few and not _blurred(backward.gaps(), ""):
                    return None
                if draw == 0 and not _repeats(bench, backward, side, training, targets):
                    return side
                with bench.unchanged():
                    moved = bench.nudged(side, training, targets, draw=draw)
                plain = backward.keras if side == "keras" else backward.torch
                widen(backward.spreads.of(side), plain.parameters, moved.parameters)
                widen(backward.spreads.of(side), _numbered(plain.inputs), _numbered(moved.inputs))
        if training and draws.start == 0:
            beyond = [gap for gap in backward.gaps() if gap.beyond]
            _widen_sums(backward, bench.summed([gap.pair.keras for gap in beyond]) if beyond else {})
    return None


def _repeats(bench: Bench, backward: Backward, side: Side, training: bool, targets: Targets) -> bool:
    """Whether one side gives the same gradients once more."""
    with bench.unchanged():
        again = bench.trainers.of(side).evaluate(bench.inputs.of(side), targets.of(side), training=training)
    add_up(bench.ties, side, again.parameters)
    plain = backward.keras if side == "keras" else backward.torch
    return repeated(plain.parameters, again.parameters) and repeated(
        _numbered(plain.inputs), _numbered(again.inputs)
    )


def _widen_sums(backward: Backward, summed: Mapping[str, Array]) -> None:
    """A bias' gradient is a sum over the pixels, whose rounding is that of its absolute terms."""
    for path, total in summed.items():
        known = backward.spreads.keras.get(path, np.zeros_like(total))
        backward.spreads.keras[path] = np.maximum(known, UNIT * total)


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


def _located(bench: Bench, training: bool, targets: Targets, spreads: Both[Spread]) -> list[Finding]:
    """The places at which the backward passes differ, found with every call watched."""
    with bench.unchanged():
        passes = bench.evaluate(training, targets, watch=True)
    backward = _backward(bench, passes, training, targets)
    backward.spreads = spreads
    arrived: dict[str, Array | None] = {_name(call): call.gradient for call in passes.torch.calls}
    moved_calls: Spread = {}
    for draw in range(DRAWS):
        with bench.unchanged():
            moved = bench.nudged("torch", training, targets, bench.watched_paths().torch, draw)
        widen(moved_calls, arrived, {_name(call): call.gradient for call in moved.calls})
    backward.call_spreads = {
        (call.path, call.index): moved_calls[_name(call)]
        for call in passes.torch.calls
        if _name(call) in moved_calls
    }
    return backward.locate()


def _name(call: WatchedCall) -> str:
    return f"{call.path} {call.index}"


def _backward(bench: Bench, passes: Both[Evaluation], training: bool, targets: Targets) -> Backward:
    """The two passes, with nothing measured of their rounding yet."""

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

    return Backward(bench.slots(), bench.watched, *passes, Both({}, {}), {}, again)


def _numbered(inputs: Sequence[Array | None]) -> dict[str, Array | None]:
    return {f"input {i}": value for i, value in enumerate(inputs)}
