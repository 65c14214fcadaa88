"""Carries an optimizer's state over: momentum, second moments and step counts go on where they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from parity.adapters import optimizer_access, side_of
from parity.core.adapter import Adapter
from parity.core.errors import UsageError
from parity.core.rules import State
from parity.core.types import Array
from parity.pairing.pair import MappingLike
from parity.pairing.slots import Slot
from parity.weights.models import adapters_of, pair_models, sorted_sides


def transfer_optimizer(
    source: Any, target: Any, source_model: Any, target_model: Any, mapping: MappingLike | None = None
) -> int:
    """Write the state of one model's optimizer into that of the other, so that training goes on the same.

    A Keras velocity holds the learning rate, torch's does not: it is scaled by the Keras optimizer's present
    learning rate. Hyperparameters stay as they are. torch's SGD and RMSprop count no steps that matter: a Keras
    schedule of learning rates starts anew there unless `iterations` is set.

    Args:
        source: a Keras or torch optimizer of SGD, Adam, AdamW or RMSprop (tf_impl.optimizers too).
        target: an optimizer of the same kind in the other framework; a Keras one is built if it is not.
        source_model: the model that `source` trains.
        target_model: the model that `target` trains.
        mapping: {Keras path: torch path} for names that differ, as in `transfer`.

    Returns:
        How many parameters' state was written.

    Raises:
        UsageError: the optimizers' states cannot correspond, or a parameter with a state has no counterpart.
    """
    first, second = adapters_of(source_model, target_model)
    keras, torch = sorted_sides(first, second)
    to_torch = side_of(source_model) == "keras"
    keras_optimizer, torch_optimizer = (source, target) if to_torch else (target, source)
    pairing = pair_models(keras, torch, mapping, None)
    slots = [slot for item in pairing.pairs for slot in item.slots]
    keras_state = optimizer_access(keras, keras_optimizer)
    torch_state = optimizer_access(torch, torch_optimizer)
    factor = keras_state.velocity_factor()
    states = (keras_state if to_torch else torch_state).read()
    _check(states, keras_state.names(), torch_state.names(), slots, to_torch)
    written: dict[str, State] = {}
    for slot in slots:
        state = states.get(slot.keras if to_torch else slot.torch)
        if state is not None:
            path = slot.torch if to_torch else slot.keras
            fresh = _converted(state, slot, to_torch, factor)
            written[path] = _put(slot, second, path, fresh, written.get(path, {}))
            if to_torch and (also := _second_bias(slot, torch)):  # torch's two biases have the same gradients
                written[also] = fresh
    (torch_state if to_torch else keras_state).write(written)
    return sum(bool(state) for state in written.values())


def _second_bias(slot: Slot, torch: Adapter) -> str | None:
    """The second bias of a cell in torch; None where the slot is of anything else."""
    if not slot.summed or slot.bias is None or slot.bias[0] != "torch":
        return None
    path = slot.bias[1]
    return path if torch.peek(slot.torch).shape == torch.peek(path).shape else None


def _put(slot: Slot, target: Adapter, path: str, fresh: State, whole: State) -> State:
    """The state of a whole tensor of the target, with that of the part which a slot is about."""
    if slot.layout.rows(target.side) is None:
        return fresh
    empty = np.zeros_like(target.peek(path))
    return {
        name: value if name == "step" else slot.layout.put(target.side, whole.get(name, empty), value)
        for name, value in fresh.items()
    }


def _second_biases(states: Mapping[str, State], slots: list[Slot]) -> set[str]:
    """Paths of torch's second biases whose state is that of the first ones: Keras' one bias has it too."""
    return {
        slot.bias[1]
        for slot in slots
        if slot.summed and slot.bias is not None
        for first, second in [(states.get(slot.torch, {}), states.get(slot.bias[1], {}))]
        if first.keys() == second.keys()
        and all(np.allclose(first[name], second[name], rtol=1e-5, atol=1e-12) for name in first)
    }


def _check(
    states: Mapping[str, State], keras: set[str], torch: set[str] | None, slots: list[Slot], to_torch: bool
) -> None:
    held = {name for state in states.values() for name in state}
    wanted = torch if to_torch else keras
    if wanted is not None and held and held - {"step"} != wanted - {"step"}:
        raise UsageError(
            f"two optimizers must keep the same kinds of state; got {sorted(held)} and {sorted(wanted)}. "
            "Make both of one kind, with the same momentum, amsgrad and centered."
        )
    known = {slot.keras if to_torch else slot.torch for slot in slots}
    known |= set() if to_torch else _second_biases(states, slots)
    lost = sorted(
        path for path, state in states.items() if any(np.any(v) for v in state.values()) and path not in known
    )
    if lost:
        raise UsageError(
            f"every parameter with a state must have a counterpart; got {', '.join(lost[:5])} without one. Pass mapping=."
        )
    steps = {float(state["step"]) for state in states.values() if "step" in state}
    if len(steps) > 1 and not to_torch:
        raise UsageError(
            f"a Keras optimizer counts its steps once for all; got parameters with {sorted(steps)} steps in torch. "
            "Train all parameters alike, or start the optimizer anew."
        )


def _converted(state: State, slot: Slot, to_torch: bool, factor: float) -> State:
    """One parameter's state in the other side's layout and meaning; a state of zeros is none in torch."""
    convert = slot.layout.to_torch if to_torch else slot.layout.to_keras
    result: dict[str, Array] = {
        name: value if name == "step" else convert(value) for name, value in state.items()
    }
    if "velocity" in result:
        result["velocity"] = result["velocity"] / factor if to_torch else result["velocity"] * factor
    if to_torch and not any(np.any(value) for value in result.values()):
        return {}
    return result
