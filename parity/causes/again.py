"""The same two models on another input and with other weights: what is true of them must hold there too.

A few elements may look as if a cause had made them. With every weight and input drawn anew, on both sides alike,
only what the models really do shows again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from parity.core.adapter import Adapter
from parity.core.types import Array
from parity.pairing.pair import Pairing
from parity.pairing.slots import Slot

WIDE = 2.5
"""Biases are spread from minus this to this, so that whole channels become negative, and others positive."""


def fresh_inputs(values: Sequence[Array], seed: int) -> list[Array]:
    """Other inputs of the same shapes and dtypes: floats drawn anew at their scale, whole numbers in another order."""
    rng = np.random.default_rng((seed, 1))
    return [_fresh_input(rng, np.asarray(value)) for value in values]


def _fresh_input(rng: np.random.Generator, value: Array) -> Array:
    if value.dtype.kind != "f" or not np.isfinite(value).all() or value.size == 0:
        return rng.permutation(value.reshape(-1)).reshape(value.shape)
    spread = float(value.std()) or float(np.abs(value).max(initial=0.0)) or 1.0
    drawn = rng.normal(float(value.mean()), spread, value.shape)
    return np.asarray(np.abs(drawn) if value.min() >= 0.0 else drawn, dtype=value.dtype)


@contextmanager
def fresh_weights(keras: Adapter, torch: Adapter, pairing: Pairing, seed: int) -> Iterator[None]:
    """While this is open, both sides hold other floating weights; the old values come back in any case.

    Tensors that are the same on both sides get the same random values. In a layer where some differ, every value
    becomes a function of itself, on both sides: what was a permutation of it, or zero, still is. Tensors without a
    counterpart are drawn on their own.
    """
    kept: dict[tuple[str, str], Array] = {}
    try:
        for side, path, value in _drawn(keras, torch, pairing, np.random.default_rng((seed, 2))):
            model = keras if side == "keras" else torch
            kept.setdefault((side, path), model.read(path))
            model.write(path, value)
        yield
    finally:
        for (side, path), value in reversed(
            kept.items()
        ):  # a tied tensor was kept first under its first path
            (keras if side == "keras" else torch).write(path, value)


def _drawn(
    keras: Adapter, torch: Adapter, pairing: Pairing, rng: np.random.Generator
) -> Iterator[tuple[str, str, Array]]:
    """(side, path, value) of every tensor that changes; tied ones change together."""
    done: dict[tuple[str, int, object], Array] = {}
    fixed = _fixed(pairing)
    every = [slot for pair in pairing.pairs for slot in pair.slots]
    paired = {slot.keras for slot in every} | {slot.torch for slot in every}
    free = [
        [slot for slot in pair.slots
         if _floating(keras, slot.keras) and _floating(torch, slot.torch) and not {slot.keras, slot.torch} & fixed]
        for pair in pairing.pairs
    ]  # fmt: skip
    same = [all(np.array_equal(*_values(keras, torch, slot)) for slot in slots) for slots in free]
    for slots, alike in zip(free, same, strict=True):
        for slot in slots:
            places = (
                ("keras", keras.storage(slot.keras), slot.layout.keras_rows),
                ("torch", torch.storage(slot.torch), slot.layout.torch_rows),
            )
            if not alike:
                both = ((keras, slot.keras, places[0][:2]), (torch, slot.torch, places[1][:2]))
                for model, path, place in both:
                    if (*place, "own") not in done:
                        done[(*place, "own")] = reshuffled(model.read(path))
                        yield model.side, path, done[(*place, "own")]
                continue
            known = next((done[place] for place in places if place in done), None)
            part = _values(keras, torch, slot)[0]
            value = fresh_values(rng, part) if known is None or known.shape != part.shape else known
            done[places[0]] = done[places[1]] = value
            whole = slot.layout.put("torch", torch.read(slot.torch), value)
            of_keras = slot.layout.put("keras", keras.read(slot.keras), slot.layout.to_keras(whole))
            yield "keras", slot.keras, of_keras
            yield "torch", slot.torch, whole
    for model in (keras, torch):
        for layer in model.layers().values():
            for tensor in layer.tensors if layer.family is not None else ():
                if tensor.path not in paired | fixed and _floating(model, tensor.path):
                    yield model.side, tensor.path, fresh_values(rng, model.read(tensor.path))


def _fixed(pairing: Pairing) -> set[str]:
    """Tensors that must keep their value, because the other side does without them."""
    constants = {constant.path for pair in pairing.pairs for constant in pair.constants}
    folded = [slot for pair in pairing.pairs for slot in pair.slots if slot.bias is not None]
    biases = {slot.bias[1] for slot in folded if slot.bias is not None}
    return constants | biases | {path for slot in folded for path in (slot.keras, slot.torch)}


def _floating(model: Adapter, path: str) -> bool:
    return bool(model.peek(path).dtype.kind == "f")


def _values(keras: Adapter, torch: Adapter, slot: Slot) -> tuple[Array, Array]:
    """Both sides' values of one slot, as torch lays them out."""
    part = slot.layout.part("torch", torch.read(slot.torch))
    return slot.layout.to_torch(keras.read(slot.keras)), part


def fresh_values(rng: np.random.Generator, value: Array) -> Array:
    """Random values of a tensor's shape: positive where all are, spread wide where it is a vector, else as great."""
    if value.size == 0:
        return value
    if value.min() >= 0.0 and value.any():
        return np.asarray(value * rng.uniform(0.5, 1.5, value.shape) + 0.1 * (value == 0.0), value.dtype)
    if max(value.shape, default=1) == value.size:
        places = np.linspace(-WIDE, WIDE, value.size) if value.size > 1 else rng.normal(0.0, 1.0, 1)
        return np.asarray(rng.permutation(places).reshape(value.shape), value.dtype)
    size = float(np.sqrt(np.mean(np.square(value)))) or float(value.size / max(value.shape)) ** -0.5
    return np.asarray(rng.normal(0.0, size, value.shape), value.dtype)


def reshuffled(value: Array) -> Array:
    """Each value times a factor between 0.5 and 1.5 that it decides itself; a rounding of it stays one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = 1.0 + 0.5 * np.sin(23.0 * np.log(np.abs(value)))
    return np.asarray(np.where(value == 0.0, 0.0, value * factor), value.dtype)
