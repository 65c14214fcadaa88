"""The laws of both sides' first values, compared tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, prod
from typing import Any

import numpy as np

from parity.adapters import first_values_of
from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind
from parity.core.types import Array
from parity.core.verdict import verdict_of
from parity.pairing.pair import LayerPair, Pairing
from parity.pairing.slots import Slot
from parity.report.result import Report
from parity.training.initial.laws import Law, differ, fans_of, law_of

VALUES = 8192
"""Numbers that are drawn of every tensor, of each side."""
MOST_DRAWS = 256
FEW = 3
"""Draws after which a constant is believed."""

Draw = Callable[[int], Array | None]


def add_initialisers(report: Report, keras: Adapter, torch: Adapter, pairing: Pairing, asked: Any) -> None:
    """Compare the laws of first values, and take what differs into the report: as notes, or as findings.

    Args:
        report: of the outputs.
        keras: the Keras side.
        torch: the torch side.
        pairing: which layer is which.
        asked: "strict" makes findings, which prove a difference; anything else that is true makes notes.
    """
    groups: dict[tuple[str, str, str, str], list[tuple[LayerPair, Slot, Law, Law]]] = {}
    unknown: list[str] = []
    notes: list[str] = []
    measured = 0
    for pair, slot, laws in _laws(keras, torch, pairing):
        if laws is None:
            unknown.append(slot.keras)
            continue
        measured += 1
        first, second, unlike = laws
        if unlike:
            key = (first.kind, first.name, second.kind, second.name)
            groups.setdefault(key, []).append((pair, slot, first, second))
    for found in groups.values():
        pair, slot, first, second = found[0]
        more = f" and {len(found) - 1} more tensors" if len(found) > 1 else ""
        text = (
            f"the law of the first values differs at {slot.keras}{more}: {first} in Keras; {second} in torch"
        )
        if asked == "strict":
            fix = "the same initialiser on both sides"
            report.findings.append(Finding(pair.keras, ", ".join(pair.torch), Kind.TRAINING, None, text, fix))
        else:
            notes.append(text)
    if not groups and measured:
        notes.append(f"the laws of the first values agree in {measured} tensors")
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        text = f"the law of the first values is not known of {', '.join(unknown[:3])}{more}"
        if asked == "strict":
            report.findings.append(Finding(None, None, Kind.NOT_COMPARED, None, f"not compared: {text}"))
        else:
            notes.append(text)
    report.notes += notes
    report.training["initialisers"] = notes
    report.verdict = verdict_of(report.findings, evaluated=True, parts=[report.verdict])


def _laws(
    keras: Adapter, torch: Adapter, pairing: Pairing
) -> Iterator[tuple[LayerPair, Slot, tuple[Law, Law, bool] | None]]:
    """Every paired tensor with both laws, and whether they differ; None where a side's is not known."""
    draw = first_values_of(keras), first_values_of(torch)
    for pair in pairing.pairs:
        kernel = next((s for s in pair.slots if len(s.layout.keras_shape) > 1), None)
        for slot in pair.slots:

            def of_torch(number: int, slot: Slot = slot) -> Array | None:
                value = draw[1](slot.torch, number)
                return None if value is None else slot.layout.to_keras(value)

            def of_keras(number: int, slot: Slot = slot) -> Array | None:
                return draw[0](slot.keras, number)

            samples = _sample(of_keras, slot), _sample(of_torch, slot)
            if samples[0] is None or samples[1] is None:
                yield pair, slot, None
                continue
            fans = [fans_of(slot.layout.keras_shape), _torch_fans(slot)]
            if kernel is not None and len(slot.layout.keras_shape) == 1:
                fans = [fans_of(kernel.layout.keras_shape), _torch_fans(kernel)]
            first, second = law_of(samples[0], fans), law_of(samples[1], fans)
            yield pair, slot, (first, second, differ(samples[0], samples[1], first, second))


def _torch_fans(slot: Slot) -> tuple[float, float]:
    """Inputs and outputs as torch counts them: by its own layout, of the whole tensor."""
    rows = slot.layout.torch_rows
    shape = slot.layout.torch_shape if rows is None else rows.shape
    if len(shape) < 2:
        return fans_of(shape)
    field = prod(shape[2:])
    return float(shape[1] * field), float(shape[0] * field)


def _sample(draw: Draw, slot: Slot) -> Array | None:
    """Draws of one tensor: a few of a constant, else as many as give enough numbers."""
    wanted = min(max(ceil(VALUES / max(prod(slot.layout.keras_shape), 1)), FEW), MOST_DRAWS)
    found: list[Array] = []
    for number in range(wanted):
        value = draw(number)
        if value is None or not value.size:
            return None
        found.append(value)
        if number == FEW - 1 and all(np.all(known == found[0].flat[0]) for known in found):
            break
    return np.stack(found)
