"""Inputs that the command line asks for: given as arrays, or drawn once the Keras model is there and says its dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from parity.adapters import adapt
from parity.adapters.inputs.names import both_names, keras_form
from parity.adapters.inputs.padding import masks_zero, padded_like
from parity.adapters.inputs.truths import truths
from parity.core.adapter import Adapter
from parity.core.errors import UsageError
from parity.core.types import Array

TOKENS = 2
"""Whole numbers without a range are 0 and 1 where no embedding says how many there are."""


@dataclass(frozen=True)
class Wanted:
    """One input.

    Attributes:
        name: on both sides, or (Keras name, torch name); None goes by position.
        sizes: of a random one; empty where `array` is given.
        dtype: of a random one; "" is the Keras input's own.
        least: the smallest value drawn; None leaves the law to the dtype.
        below: what all values drawn are smaller than.
        array: the values.
    """

    name: str | tuple[str, str] | None
    sizes: tuple[int, ...] = ()
    dtype: str = ""
    least: float | None = None
    below: float | None = None
    array: Array | None = None


def arrays_of(wanted: Sequence[Wanted], keras_model: Any, seed: int = 0) -> Any:
    """The inputs as `parity.compare` takes them: an array, a list, or a dictionary by name.

    Args:
        wanted: at least one; all with names, or none.
        keras_model: the Keras model, built or not; None where there is none yet.
        seed: of the random ones.

    Raises:
        UsageError: some have names and others have none, or a name that the model does not take.
    """
    named = [one.name is not None for one in wanted]
    if any(named) != all(named):
        raise UsageError(
            "inputs must all have names or none; got some of each. Name each, as in ids=2x16:int32."
        )
    keras = adapt(keras_model) if keras_model is not None and keras_model.built else None
    rng = np.random.default_rng(seed)
    dtypes, rows = _own(wanted, keras)
    values = [_values(one, dtype, rows, rng) for one, dtype in zip(wanted, dtypes, strict=True)]
    if keras is not None and masks_zero(keras.layers()):
        values = [
            padded_like(value) if one.array is None else value
            for one, value in zip(wanted, values, strict=True)
        ]
    if all(named):
        return {one.name: value for one, value in zip(wanted, values, strict=True)}
    return values if len(values) > 1 else values[0]


def _own(wanted: Sequence[Wanted], keras: Adapter | None) -> tuple[list[str], int]:
    """The dtypes that the model declares for these inputs, "" where it does not; and rows of its smallest table."""
    if keras is None:
        return [""] * len(wanted), TOKENS
    tables = [layer.tensors[0].shape[0] for layer in keras.layers().values() if layer.family == "embedding"]
    specs = next((specs for specs in keras.input_specs() if len(specs) == len(wanted)), None)
    if specs is None:
        return [""] * len(wanted), min(tables, default=TOKENS)
    order = list(range(len(wanted)))
    if wanted[0].name is not None:
        order = keras_form([both_names(one.name)[0] for one in wanted], keras.takes())[1]
    places = {number: place for place, number in enumerate(order)}
    return [specs[places[number]][1] for number in range(len(wanted))], min(tables, default=TOKENS)


def _values(one: Wanted, own: str, rows: int, rng: np.random.Generator) -> Array:
    if one.array is not None:
        return one.array
    dtype = one.dtype or own or "float32"
    kind = dtype if dtype in KINDS else "float32"  # bfloat16 and such: NumPy has none, the model casts
    mask = any("mask" in part for part in (one.name if isinstance(one.name, tuple) else (one.name or "",)))
    if kind == "bool" or (mask and one.least is None and not kind.startswith("float")):
        return truths(rng, one.sizes).astype(kind)
    if not kind.startswith("float"):
        least, below = (0, rows) if one.least is None or one.below is None else (one.least, one.below)
        return rng.integers(int(least), int(below), one.sizes).astype(kind)
    if one.least is not None and one.below is not None:
        return rng.uniform(one.least, one.below, one.sizes).astype(kind)
    return rng.standard_normal(one.sizes).astype(kind)


KINDS = (
    "float64", "float32", "float16", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
)  # fmt: skip
"""Dtypes that an input may be drawn in."""
