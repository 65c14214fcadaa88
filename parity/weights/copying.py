"""Writes every paired tensor of one model into the other, once all of them are known to fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from parity.core.adapter import Adapter
from parity.core.errors import UsageError
from parity.core.layout import Rows
from parity.core.types import Array
from parity.pairing.pair import Pairing
from parity.pairing.problems.grouped import pairing_error
from parity.pairing.problems.problem import Problem, ProblemKind
from parity.pairing.slots import Slot


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
                if slot.layout.rows(target.side) is not None:
                    value = slot.layout.put(target.side, target.read(destination), value)
                target.write(destination, value)
            elif refused := target.refuses(destination, np.asarray(value)):
                raise UsageError(refused)
            elif slot.bias is None:
                _check_exact(value, destination, dtypes[destination])
    for constant in [constant for item in pairing.pairs for constant in item.constants]:
        if constant.side == target.side:
            target.write(constant.path, np.full_like(target.read(constant.path), constant.value))
    return len(slots)


def converted(slot: Slot, source: Adapter) -> tuple[Array, str]:
    """The source's tensor in the other side's layout, less the bias that is folded into it, and where it goes."""
    path, target = (slot.keras, slot.torch) if source.side == "keras" else (slot.torch, slot.keras)
    value = folded(source, path, slot).astype(source.peek(path).dtype) if slot.bias else source.peek(path)
    return (slot.layout.to_torch(value) if source.side == "keras" else slot.layout.to_keras(value)), target


def folded(model: Adapter, path: str, slot: Slot) -> Array:
    """A running mean in float64, less the bias in front of it where that is this side's; a bias with the second one."""
    value = model.read(path).astype(np.float64)
    if slot.bias is not None and slot.bias[0] == model.side:
        bias = model.read(slot.bias[1]).astype(np.float64)
        value = (value + bias).reshape(value.shape) if slot.summed else value - bias
    return value


def _check_tied(slots: Sequence[Slot], source: Adapter, target: Adapter) -> None:
    """Two paths of the target may be one tensor; then their sources must agree."""
    groups: dict[tuple[int, Rows | None], list[Slot]] = {}
    for slot in slots:
        path = slot.torch if target.side == "torch" else slot.keras
        groups.setdefault((target.storage(path), slot.layout.rows(target.side)), []).append(slot)
    problems = []
    for group in groups.values():
        if len(group) > 1:
            values = [converted(slot, source) for slot in group]
            if values[0][0].size and any(not np.array_equal(values[0][0], value) for value, _ in values[1:]):
                problems.append(Problem(ProblemKind.TIED, paths=tuple(path for _, path in values)))
    if problems:
        raise pairing_error(problems)


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
