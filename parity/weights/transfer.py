"""Copies weights between a Keras model and a torch module, either way, one tensor at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from parity.adapters import adapt
from parity.adapters.probe import as_list, build, flattened_images, random_inputs, to_torch_inputs
from parity.core.adapter import Adapter
from parity.core.errors import UsageError
from parity.core.layout import identity
from parity.core.trace import Trace
from parity.core.types import Array
from parity.pairing.pair import MappingLike, Pairing
from parity.pairing.pair import pair as paired
from parity.pairing.problems.grouped import pairing_error
from parity.pairing.problems.problem import Problem, ProblemKind, held
from parity.pairing.slots import Slot, tensor_at


@dataclass(frozen=True)
class TransferResult:
    """What was copied, and what was not.

    Attributes:
        pairs: (Keras layer path, torch layer path or tuple of them), in the Keras model's order.
        copied: number of tensors copied.
        unmatched_source: paths of the source's tensors without a counterpart (strict=False only).
        unmatched_target: paths of the target's tensors that kept their values (strict=False only).
        notes: what is worth knowing of how the layers were paired.
        rewritten: paths of the source's tensors that come back in another form that computes the same: a bias in
            front of a BatchNorm, and the running mean that takes it in.
    """

    pairs: list[tuple[str, str | tuple[str, ...]]]
    copied: int
    unmatched_source: list[str]
    unmatched_target: list[str]
    notes: list[str] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)


def transfer(
    source: Any,
    target: Any,
    mapping: MappingLike | None = None,
    inputs: Any = None,
    strict: bool = True,
    pairing: Pairing | None = None,
) -> TransferResult:
    """Copy every weight and statistic of one model into the other, in place.

    Layers are paired by `mapping`, by mirrored paths (`block.conv1` on both sides), and by the dataflow of one
    traced pass of each model where names do not settle every tensor. Everything is checked before anything is
    written.

    Args:
        source: a Keras model and `target` a torch module, or the other way round.
        target: the model that is written to.
        mapping: {Keras path: torch path, or tuple of torch paths}, of layers, containers or tensors.
        inputs: a sample input in the Keras layout, for a model that must run once to be built.
        strict: raise on anything unmatched; False copies what has a counterpart and lists the rest.
        pairing: of these two models, made before (`parity.pair`); None pairs them here.

    Returns:
        The pairs, the number of tensors copied, and what was left out.

    Raises:
        PairingError: missing, extra or misshapen tensors, all in one error; nothing was written.
        UsageError: the two models are not one of each framework, a dtype would lose digits, or the pairing is of
            other models.
    """
    source_adapter, target_adapter = adapters_of(source, target, inputs)
    keras, torch = sorted_sides(source_adapter, target_adapter)
    pairing = (
        pair_models(keras, torch, mapping, inputs)
        if pairing is None
        else given(pairing, keras, torch, mapping)
    )
    lost = _lost_values(pairing, source_adapter)
    if (pairing.problems or lost) and strict:
        raise pairing_error([*pairing.problems, *lost.values()], pairing.unrun)
    copied = copy(pairing, source_adapter, target_adapter)
    to_torch = source_adapter.side == "keras"
    misfits = [problem.misfit for problem in pairing.problems if problem.misfit is not None]
    unmatched = (
        [*pairing.unmatched_keras, *(path for path, _ in misfits)],
        [*pairing.unmatched_torch, *(path for _, path in misfits)],
    )
    return TransferResult(
        pairs=layer_pairs(pairing),
        copied=copied,
        unmatched_source=[*(unmatched[0] if to_torch else unmatched[1]), *lost],
        unmatched_target=unmatched[1] if to_torch else unmatched[0],
        notes=list(pairing.notes),
        rewritten=[
            path
            for item in pairing.pairs
            for slot in item.slots
            if slot.bias is not None and slot.bias[0] == source_adapter.side
            for path in (slot.bias[1], slot.torch if source_adapter.side == "torch" else slot.keras)
        ],
    )


def pair(first: Any, second: Any, mapping: MappingLike | None = None, inputs: Any = None) -> Pairing:
    """Pair the layers and tensors of two models, once for every `transfer` and `compare` that follows.

    The result serves as long as neither model gets or loses a layer. Whatever found no counterpart is in its
    `problems`; nothing is raised for it.

    Args:
        first: a Keras model and `second` a torch module, or the other way round.
        second: the model of the other framework.
        mapping: {Keras path: torch path, or tuple of torch paths}, of layers, containers or tensors.
        inputs: a sample input in the Keras layout; None draws one from the Keras model's own specification.

    Raises:
        UsageError: the two models are not one of each framework, or the mapping is not made of paths.
    """
    return pair_models(*sorted_sides(*adapters_of(first, second, inputs)), mapping, inputs)


def given(pairing: Pairing, keras: Adapter, torch: Adapter, mapping: MappingLike | None) -> Pairing:
    """A pairing that the caller made before, once it is known to be of these two models.

    Raises:
        UsageError: it names layers or tensors that a model does not have, or a mapping comes with it.
    """
    if mapping:
        raise UsageError(
            "a pairing holds its mapping already; got pairing= and mapping=. Give the mapping to parity.pair."
        )
    for adapter, named in (
        (keras, {slot.keras for item in pairing.pairs for slot in item.slots}),
        (torch, {slot.torch for item in pairing.pairs for slot in item.slots}),
    ):
        known = {tensor.path for layer in adapter.layers().values() for tensor in layer.tensors}
        if strangers := sorted(named - known):
            raise UsageError(
                f"pairing must be of these two models; got {len(strangers)} tensors that the {adapter.side} model "
                f"does not have, the first {strangers[0]!r}. Pair the models anew with parity.pair."
            )
    return pairing


def pair_models(keras: Adapter, torch: Adapter, mapping: MappingLike | None, inputs: Any) -> Pairing:
    """Pair two models: by name where that settles every tensor, else from one traced forward pass of each."""
    named = paired(keras, torch, mapping)
    if not named.complete or any(not item.evidence.of_names for item in named.pairs):
        traces = traces_of(keras, torch, inputs)
        if isinstance(traces, tuple):
            return paired(keras, torch, mapping, traces[0].flattened, traces)
        named.unrun = traces
    flattened = flattened_images(keras, inputs)
    return replace(paired(keras, torch, mapping, flattened), unrun=named.unrun) if flattened else named


def traces_of(keras: Adapter, torch: Adapter, inputs: Any) -> tuple[Trace, Trace] | str:
    """The graph of one forward pass of each side; where no input is known that both take, what is missing."""
    if inputs is None and not keras.input_specs():
        return "the Keras model does not say what it takes"
    reason = ""
    for values in [as_list(inputs)] if inputs is not None else random_inputs(keras):
        side = keras.side
        try:
            first = keras.trace(values)[1]
            side = torch.side
            return first, torch.trace(to_torch_inputs(values, keras))[1]
        except Exception as error:  # any model, any error: these sizes are not for it
            shapes = ", ".join(str(value.shape) for value in values)
            said = str(error).strip().partition("\n")[0][:200]
            reason = reason or f"on input {shapes} {side} said {type(error).__name__}: {said}"
    return reason or "no input is known that both take"


def _lost_values(pairing: Pairing, source: Adapter) -> dict[str, Problem]:
    """Tensors of the source that the target has no place for, and that make a difference."""
    found = {}
    layers = source.layers()
    for constant in [constant for item in pairing.pairs for constant in item.constants]:
        mine = constant.side == source.side and not constant.folded
        if mine and not np.all(source.read(constant.path) == constant.value):
            layer, tensor = tensor_at(layers, constant.path)
            if layer is not None and tensor is not None:
                found[constant.path] = Problem(
                    ProblemKind.VALUES,
                    held=(held(source.side, layer, tensor),),
                    partner=constant.lacking,
                    value=constant.value,
                )
    return found


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
                if slot.layout.rows is not None and target.side == "torch":
                    value = _among(target.read(destination), value, slot.layout.rows)
                target.write(destination, value)
            elif slot.bias is None:
                _check_exact(value, destination, dtypes[destination])
    for constant in [constant for item in pairing.pairs for constant in item.constants]:
        if constant.side == target.side:
            target.write(constant.path, np.full_like(target.read(constant.path), constant.value))
    return len(slots)


def _among(whole: Array, value: Array, rows: tuple[int, int]) -> Array:
    """The tensor with some of its rows replaced."""
    whole[rows[0] : rows[1]] = value
    return whole


def converted(slot: Slot, source: Adapter) -> tuple[Array, str]:
    """The source's tensor in the other side's layout, less the bias that is folded into it, and where it goes."""
    own, other = (slot.keras, slot.torch) if source.side == "keras" else (slot.torch, slot.keras)
    value = folded(source, own, slot).astype(source.peek(own).dtype) if slot.bias else source.peek(own)
    return (slot.layout.to_torch(value) if source.side == "keras" else slot.layout.to_keras(value)), other


def folded(model: Adapter, path: str, slot: Slot) -> Array:
    """A running mean in float64, less the bias in front of it where that is this side's."""
    value = model.read(path).astype(np.float64)
    if slot.bias is not None and slot.bias[0] == model.side:
        value = value - model.read(slot.bias[1]).astype(np.float64)
    return value


def _check_tied(slots: Sequence[Slot], source: Adapter, target: Adapter) -> None:
    """Two paths of the target may be one tensor; then their sources must agree."""
    groups: dict[tuple[int, tuple[int, int] | None], list[Slot]] = {}
    for slot in slots:
        path = slot.torch if target.side == "torch" else slot.keras
        rows = slot.layout.rows if target.side == "torch" else None
        groups.setdefault((target.storage(path), rows), []).append(slot)
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


def tensor_differences(
    pairing: Pairing, keras: Adapter, torch: Adapter
) -> Mapping[str, tuple[Slot, Array, Array]]:
    """Paired tensors whose values are not the same, by Keras path: (slot, Keras value, torch value as Keras lays it out).

    Where a bias is folded into a running mean, the mean less the bias counts, to the last digit that the
    tensor can hold. A tensor that one side does without is held against the value that it then has.
    """
    found = {}
    for item in pairing.pairs:
        for slot in item.slots:
            if slot.bias is not None:
                ours, theirs = (
                    folded(keras, slot.keras, slot),
                    slot.layout.to_keras(folded(torch, slot.torch, slot)),
                )
                same = np.allclose(ours, theirs, rtol=0.0, atol=_rounding(keras, torch, slot))
            else:
                ours, theirs = keras.read(slot.keras), slot.layout.to_keras(torch.read(slot.torch))
                same = np.array_equal(ours, theirs, equal_nan=True)
            if not same:
                found[slot.keras] = (slot, ours, theirs)
        for constant in item.constants:
            value = (keras if constant.side == "keras" else torch).read(constant.path)
            if not constant.folded and not np.all(value == constant.value):
                neutral = np.full_like(value, constant.value)
                at_keras = constant.side == "keras"
                path = (
                    constant.path if at_keras else f"{item.keras}.{constant.path.rpartition('.')[2]} (absent)"
                )
                slot = Slot(
                    path, f"{item.torch[0]} (absent)" if at_keras else constant.path, identity(value.shape)
                )
                found[path] = (slot, value, neutral) if at_keras else (slot, neutral, value)
    return found


def exact_folds(pairing: Pairing, keras: Adapter, torch: Adapter) -> None:
    """While both sides are held in float64: let folded running means agree beyond what float32 could hold.

    A mean less a bias has no exact place in float32. Where the two agree to one rounding of it, the side
    without the bias gets the exact value, so that this rounding is not taken for a fault.
    """
    for slot in [slot for item in pairing.pairs for slot in item.slots if slot.bias is not None]:
        ours, theirs = folded(keras, slot.keras, slot), slot.layout.to_keras(folded(torch, slot.torch, slot))
        if np.allclose(ours, theirs, rtol=0.0, atol=_rounding(keras, torch, slot)):
            if slot.bias is not None and slot.bias[0] == "torch":
                keras.write(slot.keras, theirs)
            else:
                torch.write(slot.torch, slot.layout.to_torch(ours))


def _rounding(keras: Adapter, torch: Adapter, slot: Slot) -> float:
    """One rounding in float32 of the folded mean, and of the mean and the bias that it is made from."""
    assert slot.bias is not None
    bias = (keras if slot.bias[0] == "keras" else torch).read(slot.bias[1])
    values = [keras.read(slot.keras), torch.read(slot.torch), bias]
    return float(np.finfo(np.float32).eps) * max(float(np.abs(value).max(initial=0.0)) for value in values)
