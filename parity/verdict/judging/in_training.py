"""The comparison in training within a comparison: another batch for it, and the branches that ran in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from parity.adapters.inputs.padding import masks_zero
from parity.core.adapter import Adapter
from parity.core.errors import in_a_line
from parity.core.types import Array
from parity.pairing.pair import Pairing
from parity.probes.change import changed_inputs, further, is_mask
from parity.probes.change import named as in_words
from parity.probes.draw import smallest_table
from parity.probes.memory.look import changed, held_by, named
from parity.probes.memory.walk import Contents
from parity.report.proof import Unproven, UnprovenKind
from parity.report.result import Report
from parity.training.findings import add_training
from parity.training.further.batch import Further
from parity.verdict.judging.comparison import PairComparison


def add_compared_training(
    report: Report,
    comparison: PairComparison,
    pairing: Pairing,
    values: Sequence[Array],
    quick: bool,
    **arguments: Any,
) -> None:
    """Compare in training and take what is found into the report: parity.training.findings.

    Args:
        report: of the outputs; it is changed.
        comparison: the one that gave it.
        pairing: which layer is which.
        values: inputs in the Keras layout.
        quick: on this batch alone.
        arguments: of `parity.training.findings.training_findings`.
    """
    gathered = comparison.gathered
    before = {*gathered.of_code(not quick)}

    held: list[list[Contents]] = []

    def keep() -> None:
        held.extend([] if quick else [[held_by(side, gathered.own) for side in comparison.sides]])

    @contextmanager
    def look() -> Iterator[None]:
        keep()
        with gathered.looked_at():
            yield
        keep()

    another = None if quick else _another(comparison.sides, values)
    add_training(
        report, *comparison.sides, pairing, values, comparison.noisy, further=another, look=look, **arguments
    )
    if report.proof is None:
        return
    if held and report:
        for side, *contents in zip(comparison.sides, held[1], *held[-2:], strict=True):
            report.unproven += named(side.side, _left_behind(side, pairing, *contents), "in training")
    asks = any(entry.kind is UnprovenKind.TRAINING for entry in before)
    if asks and report and another is not None:
        report.unproven += _limits(comparison, another, {*report.unproven})
    own = [entry for entry in gathered.of_code(not quick) if entry.kind is not UnprovenKind.TRAINING]
    report.unproven = [*own, *(entry for entry in report.unproven if entry not in before)]
    report.proof = replace(report.proof, branches=gathered.branches.share())


def _limits(comparison: PairComparison, further: Further, said: Collection[str]) -> list[Unproven]:
    """Limits that only training has and that another batch does not reach: for models whose own code asks for the mode."""
    for side, values in zip(comparison.sides, further.of(comparison.sides[0]), strict=True):
        with side.precision("float64"):
            try:
                comparison.gathered.limits_in_training(side, values)
            except Exception as error:  # any model, any error: it cannot be traced in training
                text = f"limits in training: not looked at on the {side.side} side: {in_a_line(error)}"
                return [Unproven(UnprovenKind.PROBES, text)]
    return [entry for entry in comparison.gathered.limits_left() if entry not in said]


def _left_behind(
    side: Adapter, pairing: Pairing, first: Contents, before: Contents, after: Contents
) -> list[str]:
    """Places of a side that a pass in training changes, which are neither paired nor count a normalisation's batches.

    Args:
        side: one side.
        pairing: which layer is which.
        first: what the side holds behind the first pass in training; a mode that is noted is noted by then.
        before: what it holds in front of the last pass, by when its tensors were put back.
        after: what it holds behind that.
    """
    paired = {getattr(slot, side.side) for pair in pairing.pairs for slot in pair.slots}
    tensors = {tensor.path for layer in side.layers().values() for tensor in layer.tensors}
    places = [*changed(first, after), *(place for place in changed(before, after) if place in tensors)]
    return [
        place
        for place in dict.fromkeys(places)
        if place not in paired and not place.endswith("num_batches_tracked")
    ]


def _another(sides: tuple[Adapter, Adapter], values: Sequence[Array]) -> Further:
    """Values drawn anew, 64 times as great, in a batch of another size: of three, or one more than a small one has.

    A normalisation needs more than one example, and its statistics of two are rounding in part.
    """
    sizes = {value.shape[0] if value.ndim else 0 for value in values}
    given = sizes.pop() if len(sizes) == 1 else 0
    size = 3 if given > 3 else given + 1 if given else 0
    change = replace(further(values)[1], sign="", parity="", batch=size)
    rows, padding = smallest_table(sides), masks_zero(sides[0].layers())
    made = changed_inputs(values, change, {}, [()] * len(values), rows, padding)
    tokens = [
        number
        for number, value in enumerate(values)
        if _are_tokens(value, rows) and not is_mask(values, number)
    ]
    if len(tokens) == 1 and rows is not None:
        made[tokens[0]] = _with_ends(made[tokens[0]], rows)
    return Further(in_words(change, values, made), made)


def _are_tokens(value: Array, rows: int | None) -> bool:
    """Whether an input holds rows of the smallest table."""
    whole = value.dtype.kind in "iu" and value.ndim == 2 and value.size > 0
    return whole and rows is not None and 0 <= int(value.min()) <= int(value.max()) < rows


def _with_ends(tokens: Array, rows: int) -> Array:
    """Tokens whose last example ends with the table's ends and a row that is met twice.

    A row of padding gets no gradient, nor does a row get the same for being met twice where gradients go by frequency.
    """
    ends = [row for row in (rows - 1, 2, 2, 1, 0) if row < rows][-tokens.shape[1] :]
    made = tokens.copy()
    made[-1, tokens.shape[1] - len(ends) :] = ends
    return made
