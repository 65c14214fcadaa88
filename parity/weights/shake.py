"""The weights of both sides drawn anew, alike: what a zero or a one had switched off speaks then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from parity.adapters.reorder import aligned_empty
from parity.core.adapter import Adapter
from parity.core.tolerance import FILL
from parity.core.types import Array
from parity.pairing.pair import Pairing
from parity.pairing.slots import Slot
from parity.weights.copying import converted
from parity.weights.differences import values_of

VARIANCES = {"moving_variance", "running_var"}
"""Names of tensors that must stay positive."""
PERIOD = 8191
"""Random factors that a tensor's elements share in turn: drawing one for each would cost more than a pass."""
ROWS = 8
"""Repetitions of the factors that are worked on at a time."""
WEIGHT_OF_ZEROS = 0.3
"""Scale of what replaces the zeros of a tensor that holds nothing else."""


@contextmanager
def shaken_alike(keras: Adapter, torch: Adapter, pairing: Pairing, seed: int = 0) -> Iterator[bool]:
    """While this is open, every paired floating tensor has other values, the same on both sides.

    Each Keras tensor is drawn around its own values and scale; zeros become random, signs stay, variances stay
    positive. torch gets the same through the layouts of the pairing, as a transfer copies, folds and splits.
    The old values come back in any case. Both sides must be held in float64 (`Adapter.precision`).

    Args:
        keras: the Keras side.
        torch: the torch side.
        pairing: which tensor is which.
        seed: of the values.

    Yields:
        Whether both sides hold the same values now; tied tensors can make that impossible.
    """
    slots = [slot for item in pairing.pairs for slot in item.slots if _floating(keras, slot.keras)]
    back = [keras.held(path) for path in dict.fromkeys(slot.keras for slot in slots)]
    back += [torch.held(path) for path in dict.fromkeys(slot.torch for slot in slots)]
    try:
        _draw(keras, [slot.keras for slot in slots], np.random.default_rng(seed))
        tied = _tied(keras, torch, slots)
        ways = ((keras, torch), (torch, keras), (keras, torch)) if tied else ((keras, torch),)
        for source, target in ways:  # tied tensors settle on one value
            for slot in slots:
                _carry(slot, source, target)
        yield all(
            np.array_equal(*values_of(slot, keras, torch), equal_nan=True) for slot in tied if not slot.bias
        )
    finally:
        for put_back in back:
            put_back()


def _floating(model: Adapter, path: str) -> bool:
    return bool(model.peek(path).dtype.kind == "f")


def _tied(keras: Adapter, torch: Adapter, slots: list[Slot]) -> list[Slot]:
    """Slots whose tensors are a side's own more than once; rows of one tensor apart."""
    keys = [
        (
            (keras.storage(slot.keras), slot.layout.keras_rows),
            (torch.storage(slot.torch), slot.layout.torch_rows),
        )
        for slot in slots
    ]
    counts = Counter(key[0] for key in keys), Counter(key[1] for key in keys)
    return [
        slot for slot, key in zip(slots, keys, strict=True) if counts[0][key[0]] > 1 or counts[1][key[1]] > 1
    ]


def _draw(keras: Adapter, paths: Sequence[str], rng: np.random.Generator) -> None:
    """Other values for every Keras tensor, tied ones once."""
    done: set[int] = set()
    for path in dict.fromkeys(paths):
        if keras.storage(path) not in done:
            done.add(keras.storage(path))
            value = drawn_around(rng, path.rpartition(".")[2], keras.peek(path))
            keras.write(path, value, fresh=True)


def _carry(slot: Slot, source: Adapter, target: Adapter) -> None:
    """One tensor from side to side; a mean takes in the bias that the target has and the source has not."""
    value, path = converted(slot, source)
    if slot.bias is not None and slot.bias[0] == target.side:
        bias = target.read(slot.bias[1])
        value = value - bias if slot.summed else value + bias
    if slot.layout.rows(target.side) is not None:
        value = slot.layout.put(target.side, target.read(path), value)
    target.write(path, value)


def drawn_around(rng: np.random.Generator, name: str, value: Array) -> Array:
    """Values around those of a tensor: each multiplied by 0.5 to 1.5, and zeros drawn at the scale of the others."""
    few = rng.uniform(0.5, 1.5, PERIOD)  # a prime period: no axis repeats it
    usual = _repeated_times(few, value)
    if usual is not None:
        return usual
    factors = np.resize(few, value.shape)
    plain = np.abs(value) < FILL  # false for what is not a number
    zeros = value == 0.0
    sizes = np.abs(value[plain & ~zeros])
    fan_in = value.size // value.shape[-1] if value.ndim > 1 and value.size else 1
    scale = float(np.sqrt(np.mean(sizes**2))) if sizes.size else WEIGHT_OF_ZEROS / np.sqrt(fan_in)
    moved = np.where(plain, value, 0.0) * factors
    count = int(np.count_nonzero(zeros))
    moved[zeros] = rng.uniform(0.5, 2.0, count) if name in VARIANCES else rng.normal(0.0, scale, count)
    return np.where(plain, moved, value)


def _repeated_times(factors: Array, value: Array) -> Array | None:
    """Each element times one of the factors, which repeat, in one pass over memory; None where one is zero or no number."""
    flat = np.ascontiguousarray(value).reshape(-1)
    out = aligned_empty(flat.shape, np.result_type(factors, flat))
    for begun in range(0, flat.size, ROWS * len(factors)):  # a part that the cache holds
        part, place = (array[begun : begun + ROWS * len(factors)] for array in (flat, out))
        if np.count_nonzero(part) < part.size or not (part.min() > -FILL and part.max() < FILL):
            return None
        whole = part.size - part.size % len(factors)
        rows = (-1, len(factors))
        np.multiply(part[:whole].reshape(rows), factors, out=place[:whole].reshape(rows))
        np.multiply(part[whole:], factors[: part.size - whole], out=place[whole:])
    return out.reshape(value.shape) if flat.size else None
