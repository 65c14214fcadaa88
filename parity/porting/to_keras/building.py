"""The function `build()` of a port: it makes the model, and its weights by a first call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from parity.adapters.recording.records import MadeModule, Recording
from parity.porting.to_keras.layout.axes import HeldOrder
from parity.porting.to_keras.layout.operands import tensors


def build_function(
    recording: Recording, orders: Sequence[HeldOrder], root: str, *, called: bool = True
) -> str:
    """The text of `build()`.

    Args:
        recording: of the model, whose inputs have the shapes of the first call.
        orders: the order of axes in which the port takes each input.
        root: the expression that makes the model.
        called: whether the model can be called; else its weights are made later.
    """
    if not called:
        return f'def build():\n    """Make the model; steps that are not written keep it from running."""\n    return {root}'
    return "\n".join(
        [
            "def build():",
            '    """Make the model, and its weights by a first call; their values are to be loaded."""',
            f"    model = {root}",
            f"    model({_first_call(recording, orders)})",
            "    return model",
        ]
    )


def _first_call(recording: Recording, orders: Sequence[HeldOrder]) -> str:
    """The arguments of a call that makes all weights."""
    zeros = []
    for tensor, order in zip(tensors(recording.inputs["first"]), orders, strict=True):
        shape = (1, *(tensor.shape[axis] for axis in order[1:]))
        dtype = "" if "float" in tensor.dtype else f', dtype="{tensor.dtype}"'
        zeros.append(f"ops.zeros({shape}{dtype})")
    return ", ".join([*zeros, *(["training=True"] if _needs_training(recording) else [])])


def building_of_inputs(recording: Recording, orders: Sequence[HeldOrder]) -> list[str]:
    """What a model with several inputs needs to be loaded: Keras builds one from its configuration for one input alone."""
    if len(orders) < 2:
        return []
    head = "def build_from_config(self, config):"
    return [f"{head}\n    self({_first_call(recording, orders)})"]


def _needs_training(recording: Recording) -> bool:
    """Whether some module with weights ran in training alone."""
    ran: dict[bool, set[int]] = {True: set(), False: set()}
    for call in recording.module_calls:
        if next(call.module.parameters(recurse=False), None) is not None:
            ran[call.phase == "training"].add(id(call.module))
    return bool(ran[True] - ran[False])


_READ = re.compile(r"self\.(\w+)\.(kernel|bias)\b")


def building_of_unrun(instances: Iterable[MadeModule], methods: Mapping[str, str]) -> list[str]:
    """A `build` for dense layers whose weights a class' methods read and which these never call.

    Keras makes a layer's weights when it is called; these layers are given the size of their input instead.
    """
    text = "\n".join(methods.values())
    names = [name for name, _ in dict.fromkeys(_READ.findall(text)) if f"self.{name}(" not in text]
    modules: list[Any] = [made.module for made in instances]
    dense = [
        name
        for name in dict.fromkeys(names)
        if all(hasattr(getattr(module, name, None), "in_features") for module in modules)
    ]
    if not dense:
        return []
    lines = ["def build(self, input_shape):", "    if isinstance(input_shape, dict):"]
    lines += ["        input_shape = next(iter(input_shape.values()))"]
    lines += [f"    self.{name}.build((None, input_shape[-1]))" for name in dense]
    return ["\n".join([*lines, "    super().build(input_shape)"])]


def building_by_run(instances: Iterable[MadeModule], recording: Recording) -> list[str]:
    """A `build` that runs the layer, for a class that holds a layer which never runs.

    Keras' own `build` does the same, and warns of each layer that is then not built.
    """
    modules = {id(made.module): made.module for made in instances}
    calls = [call for call in recording.module_calls if id(call.module) in modules]
    ran = {id(call.module) for call in recording.module_calls}
    alone = all(len([*tensors((call.positional, dict(call.named)))]) == 1 for call in calls)
    idle = any(id(part) not in ran for module in modules.values() for part in _held(module))
    if not (calls and alone and idle):
        return []
    return [
        "def build(self, input_shape):\n"
        '    """Run once; a layer that this does not call has no weights."""\n'
        "    self.compute_output_spec(keras.KerasTensor(input_shape, self.compute_dtype))"
    ]


def _held(module: Any) -> Iterator[Any]:
    """The modules directly in a module, or in a list or dictionary there."""
    for child in module._modules.values():
        if type(child).__name__ in ("ModuleList", "ModuleDict"):
            yield from _held(child)
        elif child is not None:
            yield child
