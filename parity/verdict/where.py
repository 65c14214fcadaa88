"""Where the sides differ on one input; where a side is not repeatable that is said, and no layer is blamed for noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parity.adapters.patching import layers_anew
from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind
from parity.core.types import Array, Side
from parity.pairing.pair import Pairing
from parity.verdict.evaluate import forgotten, not_repeatable
from parity.verdict.localise import localise
from parity.verdict.outputs import Outputs


@dataclass
class Where:
    """Where the sides differ.

    Attributes:
        findings: in execution order.
        noisy: sides that are not repeatable.
        layers: the layer table.
        graphs: nodes and edges of each side.
    """

    findings: list[Finding] = field(default_factory=list)
    noisy: set[Side] = field(default_factory=set)
    layers: list[dict[str, Any]] = field(default_factory=list)
    graphs: dict[str, Any] = field(default_factory=dict)


def where(
    sides: tuple[Adapter, Adapter],
    inputs: Mapping[Side, Sequence[Array]],
    pairing: Pairing,
    raised: bool,
    outputs: Mapping[Side, Outputs] | None = None,
) -> Where:
    """Say where the sides differ.

    Args:
        sides: both sides, Keras first, in float64 already.
        inputs: the inputs of each side, in its own layout.
        pairing: which layer is which.
        raised: whether a finding says already that a side raised an error.
        outputs: what each side gave for them, not traced: a side that gives something else now is not blamed.
    """
    noise = not_repeatable(sides, inputs, pairing, forgotten(sides, inputs, outputs or {}))
    if noise:
        return Where(list(noise.values()), set(noise))
    with layers_anew(*sides):  # what is tried there changes settings of layers
        found = localise(*sides, pairing, inputs["keras"], inputs["torch"], pairing.flattened)
    kept = [finding for finding in found.findings if not (raised and finding.kind is Kind.ERROR)]
    located = Where(kept, set(), found.layers)
    for model in sides:
        try:
            located.graphs[model.side] = model.trace(inputs[model.side])[1].graph()
        except Exception:  # any model, any error: the finding says it already
            continue
    return located
