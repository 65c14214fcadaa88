"""Training on another batch: other and greater values, another batch size, and gradients that are greater by far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from parity.adapters.probe import to_torch_inputs
from parity.core.adapter import Adapter
from parity.core.errors import in_a_line
from parity.core.types import Array, Both
from parity.report.proof import Unproven, UnprovenKind
from parity.training.bench import Bench
from parity.training.gradients import compare_gradients
from parity.training.train_mode import first_output

ENLARGED = 2.0**30
"""By what the targets are multiplied: a squared error's gradient grows with them, so that limits on the way back act."""


@dataclass(frozen=True)
class Further:
    """Another batch.

    Attributes:
        name: what it changes, in words.
        inputs: its values, in the Keras layout.
    """

    name: str
    inputs: Sequence[Array]

    def of(self, keras: Adapter) -> Both[list[Array]]:
        """The values in float64, for each side in its own layout."""
        values = [v.astype("float64") if v.dtype.kind == "f" else v for v in self.inputs]
        return Both(values, to_torch_inputs(values, keras))


def compare_further(bench: Bench, further: Further) -> None:
    """Outputs and gradients in training mode once more, on another batch; what differs goes into the bench's result."""
    result = bench.result
    before = len(result.findings)
    with _on(bench, further):
        try:
            said = _compared(bench)
        except Exception as error:  # any model, any error: it does not take this batch
            del result.findings[before:]
            said = f"was not possible: {in_a_line(error)}"
    if said:
        text = f"training with {further.name}: {said}"
        result.unproven.append(Unproven(UnprovenKind.PROBES, text))
    result.findings[before:] = [
        replace(finding, evidence=f"with {further.name}, targets times {ENLARGED:.3g}: {finding.evidence}")
        for finding in result.findings[before:]
    ]


def _compared(bench: Bench) -> str:
    """Compare on the batch that the bench has; why that was not possible, or nothing."""
    with bench.unchanged(), bench.look():
        passes = bench.evaluate(True, None, watch=True)
    if not all(np.isfinite(value).all() for side in passes for _, value in side.outputs):
        return "outputs are NaN or infinite"
    agree, _ = bench.agree(passes, training=True)
    if not agree:
        bench.result.findings.append(first_output(bench, passes))
        return ""
    compare_gradients(bench, True)
    return ""


@contextmanager
def _on(bench: Bench, further: Further) -> Iterator[None]:
    """While this is open the bench has these inputs, the squared error, and great targets; notes and figures stay."""
    kept, losses = bench.batch(), [trainer.loss for trainer in bench.trainers]
    extras = [(trainer.with_extras, trainer.with_penalties) for trainer in bench.trainers]
    own, given = bench.own_loss, bench.given
    notes, figures = list(bench.result.notes), dict(bench.result.figures)
    bench.inputs = further.of(bench.adapters.keras)
    bench.own_loss, bench.given, bench.target_scale = False, (), ENLARGED
    for trainer in bench.trainers:
        trainer.loss, trainer.with_extras, trainer.with_penalties = None, False, False
    try:
        yield
    finally:
        bench.take(kept)
        bench.own_loss, bench.given, bench.target_scale = own, given, 1.0
        bench.result.notes, bench.result.figures = notes, figures
        for trainer, loss, (with_extras, with_penalties) in zip(bench.trainers, losses, extras, strict=True):
            trainer.loss, trainer.with_extras, trainer.with_penalties = loss, with_extras, with_penalties
