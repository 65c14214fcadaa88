"""Two losses of one formula that treat shapes otherwise: operands that broadcast, and sums over other axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.layout import aligned
from parity.core.types import Array, Both
from parity.training.bench import Bench

SAME = 1e-10
"""How far two losses that are to be the same may be from one another, relatively."""
MOST = 64
"""Parts into which a batch, or its channels, is taken to hold the loss of every part against the whole."""

OutputAndTargets = tuple[Array, Array]
"""One output and its targets."""
LossOf = Callable[[OutputAndTargets], float]


@dataclass(frozen=True)
class Loss:
    """One side's loss of one output, on two draws of the targets.

    Attributes:
        name: of the side, for readers.
        of: gives the loss.
        draws: outputs and targets, in the side's own layout.
        channels: axis of the channels in the output.
    """

    name: str
    of: LossOf
    draws: tuple[OutputAndTargets, OutputAndTargets]
    channels: int

    def values(self, change: Callable[[OutputAndTargets], OutputAndTargets] | None = None) -> list[float]:
        """The loss of each draw, of what a change makes of it."""
        return [self.of(draw if change is None else change(draw)) for draw in self.draws]


def explain_shapes(
    bench: Bench, outputs: Both[list[Array]], targets: Both[list[Array]], gap: str
) -> Finding | None:
    """One finding where a shape is the cause; both losses of two draws of targets must bear it out.

    Args:
        bench: both sides.
        outputs: what both losses got, in each side's layout.
        targets: the same.
        gap: the two losses, in words.
    """
    if len(outputs.keras) != 1 or len(targets.keras) != 1:
        return None
    if any(value.ndim == 0 or len(value) < 2 for value in (targets.keras[0], targets.torch[0])):
        return None
    losses = Both(*(_loss(bench, side, outputs, targets) for side in ("keras", "torch")))
    ways = (losses.torch, losses.keras), (losses.keras, losses.torch)
    try:
        found = [_broadcast(*way, gap) for way in ways]
        found += [_axes(*way, gap) for way in ways] if not any(found) else []
    except Exception:  # any loss, any error: what needs the model's last pass cannot be asked again
        return None
    return next(filter(None, found), None)


def _loss(bench: Bench, side: str, outputs: Both[list[Array]], targets: Both[list[Array]]) -> Loss:
    keras = side == "keras"
    trainer = bench.trainers.keras if keras else bench.trainers.torch
    output, target = (outputs.keras[0], targets.keras[0]) if keras else (outputs.torch[0], targets.torch[0])
    fit = aligned(outputs.keras[0], outputs.torch[0])
    first = not keras and fit is not None and fit[1] != "as it is"
    return Loss(
        "Keras" if keras else "torch",
        lambda values: trainer.loss_of([values[0]], [values[1]]),
        ((output, target), (output, np.roll(target, 1, axis=0))),
        1 if first else output.ndim - 1,
    )


# --- operands that broadcast ------------------------------------------------------------------------


def _broadcast(one: Loss, reference: Loss, gap: str) -> Finding | None:
    """A loss that holds every target against every output: exchanging the targets among the examples changes nothing.

    With outputs and targets in one shape it must then be the reference's, which does change.
    """
    plain, wanted = one.values(), reference.values()
    if not _same(plain[:1], plain[1:]) or _same(wanted[:1], wanted[1:]):
        return None
    for how, change in _one_shape():
        if _same(_tried(one, change), wanted):
            text = (
                f"{gap}; {one.name}'s loss stays when the targets are exchanged among the examples: outputs and "
                "targets broadcast there, as (N, 1) and (N,) do to (N, N), and every output is held against every target"
            )
            fix = (
                f"outputs and targets in one shape ({how}) inside {one.name}'s loss: "
                f"it is {wanted[0]:.10g} then, as in {reference.name}"
            )
            return Finding(None, None, Kind.TRAINING, "loss-broadcast", text, fix, True)
    return None


def _one_shape() -> Iterator[tuple[str, Callable[[OutputAndTargets], OutputAndTargets]]]:
    yield "both flattened", lambda v: (v[0].reshape(-1), v[1].reshape(-1))
    yield "outputs as the targets", lambda v: (v[0].reshape(v[1].shape), v[1])
    yield "targets as the outputs", lambda v: (v[0], v[1].reshape(v[0].shape))
    yield "both without axes of length one", lambda v: (np.squeeze(v[0]), np.squeeze(v[1]))
    yield "targets without axes of length one", lambda v: (v[0], np.squeeze(v[1]))
    yield "outputs without axes of length one", lambda v: (np.squeeze(v[0]), v[1])
    yield "targets with an axis of length one behind", lambda v: (v[0], v[1][..., None])
    yield "outputs with an axis of length one behind", lambda v: (v[0][..., None], v[1])


# --- sums over other axes ---------------------------------------------------------------------------


def _axes(one: Loss, reference: Loss, gap: str) -> Finding | None:
    """A loss that is the mean, or the sum, of the reference's loss of each example or channel alone."""
    wanted, plain = one.values(), reference.values()
    if _same(wanted[:1], wanted[1:]) or _same(plain[:1], plain[1:]):  # the targets hardly matter
        return None
    for what, parts in _parts(reference.channels):
        try:
            values = [[reference.of(part) for part in parts(draw)] for draw in reference.draws]
        except Exception:  # any loss, any error: it does not take such a part
            continue
        if any(len(known) < 2 for known in values):
            continue
        for how, total in (("mean", np.mean), ("sum", np.sum)):
            if _same([float(total(known)) for known in values], wanted):
                text = (
                    f"{gap}; {one.name}'s is the {how} of what {reference.name}'s loss gives for each {what} alone: "
                    f"{reference.name} sums over the {what.replace(' ', 's ', 1)}s too before it divides"
                )
                fix = (
                    f"sum over the same axes on both sides: with {reference.name}'s loss taken for each {what}, and "
                    f"the {how} of these, both are {wanted[0]:.10g}"
                )
                return Finding(None, None, Kind.TRAINING, "loss-axes", text, fix, True)
    return None


def _parts(channels: int) -> Iterator[tuple[str, Callable[[OutputAndTargets], list[OutputAndTargets]]]]:
    """Ways to take an output and its targets to pieces."""
    yield "example", lambda values: _pieces(values, 0, 0)
    yield "channel", lambda values: _pieces(values, channels, channels)

    def both(values: OutputAndTargets) -> list[OutputAndTargets]:
        return [part for example in _pieces(values, 0, 0) for part in _pieces(example, channels, channels)]

    yield "example and channel", both


def _pieces(values: OutputAndTargets, output_axis: int, target_axis: int) -> list[OutputAndTargets]:
    """The parts of length one along an axis of both; none where they have not the same length there, or too many."""
    output, target = values
    if target.ndim <= target_axis or output.shape[output_axis] != target.shape[target_axis]:
        return []
    count = output.shape[output_axis]
    if count > MOST:
        return []
    return list(zip(np.split(output, count, output_axis), np.split(target, count, target_axis), strict=True))


def _tried(loss: Loss, change: Callable[[OutputAndTargets], OutputAndTargets]) -> list[float]:
    try:
        return loss.values(change)
    except Exception:  # any loss, any error: it does not take this shape
        return []


def _same(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two lists of losses are the same, one by one; an empty list is like nothing."""
    return len(a) == len(b) > 0 and all(
        abs(x - y) <= SAME * max(abs(x), abs(y)) for x, y in zip(a, b, strict=True)
    )
