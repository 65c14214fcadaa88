"""Copies weights between a Keras model and a torch module, either way, one tensor at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from parity.adapters import adapt
from parity.adapters.base import Adapter, Array
from parity.errors import PairingError, UsageError
from parity.pairing import MappingLike, Pairing, pair
from parity.probe import build, flattened_images
from parity.slots import Slot


@dataclass(frozen=True)
class TransferResult:
    """What was copied, and what was not.

    Attributes:
        pairs: (Keras layer path, torch layer path or tuple of them), in the Keras model's order.
        copied: number of tensors copied.
        unmatched_source: paths of the source's tensors without a counterpart (strict=False only).
        unmatched_target: paths of the target's tensors that kept their values (strict=False only).
    """

    pairs: list[tuple[str, str | tuple[str, ...]]]
    copied: int
    unmatched_source: list[str]
    unmatched_target: list[str]


def transfer(
    source: Any,
    target: Any,
    mapping: MappingLike | None = None,
    inputs: Any = None,
    strict: bool = True,
) -> TransferResult:
    """Copy every weight and statistic of one model into the other, in place.

    Layers are paired by mirrored paths (`block.conv1` on both sides), then by `mapping`, then where
    kind and shapes leave one choice. Everything is checked before anything is written.

    Args:
        source: a Keras model and `target` a torch module, or the other way round.
        target: the model that is written to.
        mapping: {Keras path: torch path, or tuple of torch paths}, of layers, containers or tensors.
        inputs: a sample input in the Keras layout, for a model that must run once to be built.
        strict: raise on anything unmatched; False copies what has a counterpart and lists the rest.

    Returns:
        The pairs, the number of tensors copied, and what was left out.

    Raises:
        PairingError: missing, extra or misshapen tensors, all in one error; nothing was written.
        UsageError: the two models are not one of each framework, or a dtype would lose digits.
    """
    source_adapter, target_adapter = adapters_of(source, target, inputs)
    keras, torch = sorted_sides(source_adapter, target_adapter)
    pairing = pair(keras, torch, mapping, flattened_images(keras, inputs))
    if pairing.problems and strict:
        raise PairingError([problem.text for problem in pairing.problems])
    copied = copy(pairing, source_adapter, target_adapter)
    to_torch = source_adapter.side == "keras"
    unmatched = (pairing.unmatched_keras, pairing.unmatched_torch)
    return TransferResult(
        pairs=layer_pairs(pairing),
        copied=copied,
        unmatched_source=unmatched[0] if to_torch else unmatched[1],
        unmatched_target=unmatched[1] if to_torch else unmatched[0],
    )


def layer_pairs(pairing: Pairing) -> list[tuple[str, str | tuple[str, ...]]]:
    """The pairs by path, a single torch path as a string."""
    return [(item.keras, item.torch[0] if len(item.torch) == 1 else item.torch) for item in pairing.pairs]


def adapters_of(first: Any, second: Any, inputs: Any = None, device: str = "cpu") -> tuple[Adapter, Adapter]:
    """Adapters in the order given; the models must be one of each framework.

    Raises:
        UsageError: both models are of the same framework.
    """
    for model in (first, second):
        build(model, inputs)
    adapters = adapt(first, device), adapt(second, device)
    if adapters[0].side == adapters[1].side:
        raise UsageError(
            f"one model must be Keras and the other torch; got two {adapters[0].side} models. "
            "Use the framework's own state copy between models of the same framework."
        )
    return adapters


def sorted_sides(first: Adapter, second: Adapter) -> tuple[Adapter, Adapter]:
    """(keras, torch), in whichever order they came."""
    return (first, second) if first.side == "keras" else (second, first)


def copy(pairing: Pairing, source: Adapter, target: Adapter) -> int:
    """Write every paired tensor of the source into the target; returns how many.

    Raises:
        PairingError: tied tensors of the target would get two different values.
        UsageError: a dtype of the target cannot hold the source's values.
    """
    slots = [slot for item in pairing.pairs for slot in item.slots]
    dtypes = {tensor.path: tensor.dtype for layer in target.layers().values() for tensor in layer.tensors}
    _check_tied(slots, source, target)
    for write in (False, True):  # everything is checked before anything is written
        for slot in slots:
            value, destination = converted(slot, source)
            if write:
                target.write(destination, value)
            else:
                _check_exact(value, destination, dtypes[destination])
    return len(slots)


def converted(slot: Slot, source: Adapter) -> tuple[Array, str]:
    """The source's tensor in the other side's layout, and the path it goes to."""
    if source.side == "keras":
        return slot.layout.to_torch(source.read(slot.keras)), slot.torch
    return slot.layout.to_keras(source.read(slot.torch)), slot.keras


def _check_tied(slots: Sequence[Slot], source: Adapter, target: Adapter) -> None:
    """Two paths of the target may be one tensor; then their sources must agree."""
    groups: dict[int, list[Slot]] = {}
    for slot in slots:
        path = slot.torch if target.side == "torch" else slot.keras
        groups.setdefault(target.storage(path), []).append(slot)
    problems = []
    for group in groups.values():
        if len(group) > 1:
            values = [converted(slot, source) for slot in group]
            if values[0][0].size and any(not np.array_equal(values[0][0], value) for value, _ in values[1:]):
                names = ", ".join(path for _, path in values)
                problems.append(
                    f"tied tensors of the target must receive one value; {names} would get several"
                )
    if problems:
        raise PairingError(problems)


def _check_exact(value: Array, path: str, dtype: str) -> None:
    """Values may change their type only where no digit is lost."""
    if str(value.dtype) == dtype or value.size == 0:
        return
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(value, dtype=np.float32).view(np.uint32)
        exact = bool(np.all(bits & 0xFFFF == 0)) and np.array_equal(value.astype(np.float32), value)
    else:
        with np.errstate(over="ignore"):
            exact = np.array_equal(value.astype(dtype).astype(value.dtype), value, equal_nan=True)
    if not exact:
        raise UsageError(
            f"a transfer must not lose digits; got {value.dtype} values for {path} of dtype {dtype}. "
            "Build both models in the same dtype."
        )


def tensor_differences(
    pairing: Pairing, keras: Adapter, torch: Adapter
) -> Mapping[str, tuple[Slot, Array, Array]]:
    """Paired tensors whose values are not the same, by Keras path: (slot, Keras value, torch value as Keras lays it out)."""
    found = {}
    for item in pairing.pairs:
        for slot in item.slots:
            ours, theirs = keras.read(slot.keras), slot.layout.to_keras(torch.read(slot.torch))
            if not np.array_equal(ours, theirs, equal_nan=True):
                found[slot.keras] = (slot, ours, theirs)
    return found
