"""Where the sides differ: one call of a layer, what differed at it, and the finding with its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parity.core.finding import Finding, Kind
from parity.core.types import Array


@dataclass
class Call:
    """One call of one layer.

    `linear` is its result before its built-in activation, where it has one; `idle` says that it gave what it took.
    """

    path: str
    index: int
    inputs: Sequence[Array]
    outputs: Sequence[Array] = ()
    linear: Sequence[Array] | None = None
    idle: bool = False


@dataclass
class Apart:
    """One place at which the sides differ.

    Attributes:
        order: place in the Keras model's execution order; what arrives comes before what the layer makes of it.
        call: the Keras call.
        kind: LAYER, WIRING, SHAPE or OUTPUT.
        text: what was measured.
        inputs: what the torch layer took (WIRING: what arrived at it).
        outputs: what it gave.
        keras_result: the Keras result that it was held against.
        index: number of this call of the torch layer, counted from 0.
        greatest: greatest difference, relative to the scale; infinite where shapes do not correspond.
        within: the activation that the torch layer applies within, and Keras as a step behind ("relu"); else None.
    """

    order: float
    call: Call
    kind: Kind
    text: str
    inputs: Sequence[Array]
    outputs: Sequence[Array]
    keras_result: Sequence[Array]
    index: int = 0
    greatest: float = float("inf")
    within: str | None = None


@dataclass
class Compared:
    """Two lists of tensors, held against each other.

    Attributes:
        differs: whether anything differs beyond the bound.
        text: what differs, for readers.
        replacement: the Keras arrays as torch lays them out; None where the lists are not of one length.
        greatest: greatest relative difference.
        misshapen: whether the shapes of two tensors do not correspond.
    """

    differs: bool
    text: str
    replacement: list[Array] | None
    greatest: float | None = None
    misshapen: bool = False


@dataclass(frozen=True)
class Located:
    """A finding with its place in the Keras model's execution order, and what it was read from.

    `strides` are those of the Keras and the torch layer, where they are what differs.
    """

    order: float
    finding: Finding
    apart: Apart | None = None
    strides: tuple[tuple[int, ...], tuple[int, ...]] | None = None
