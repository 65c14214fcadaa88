"""Records one symbolic call of a Keras model: nothing is computed, and the model stays as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import keras
from keras.src.layers import layer as layer_module

from parity.adapters.keras.layers import is_functional
from parity.adapters.keras.recording.dropping import own_dropout
from parity.adapters.keras.recording.inlined import inlined, is_inlined, known_spec
from parity.adapters.keras.recording.scope import CallPlace, CallScope, RecordedCall
from parity.adapters.keras.recording.tensorflow_calls import tensorflow_as_ops
from parity.adapters.keras.recording.variables import recorded_weights
from parity.adapters.patching import restored

KERAS = str(Path(keras.__file__).parent)
APPLICATIONS = str(Path(KERAS, "src", "applications"))


PLAIN = {
    "__init__", "build", "get_config", "from_config", "get_build_config", "build_from_config", "compute_output_shape",
    "compute_output_spec", "save_own_variables", "load_own_variables", "add_weight",
}  # fmt: skip
"""Methods that a layer may have of its own while it computes what the class above computes."""


def record(model: Any, shapes: Any, training: bool = False) -> CallScope:
    """What the model does with inputs of these shapes.

    Args:
        model: any Keras model or layer.
        shapes: its first argument as a structure of `keras.KerasTensor`: their shapes have no None.
        training: the mode of the call.

    Returns:
        The scope of the model itself.

    Raises:
        Exception: whatever the model's own code raises where it is called with symbolic tensors.
    """
    recorder = _Recorder()
    root = CallScope(model, (shapes,), {})
    recorder.scopes.append(root)
    takes = getattr(model, "_call_signature", None)
    kwargs = {"training": training} if takes is not None and "training" in takes.parameters else {}
    with recorder.watching():
        root.outputs = model(shapes, **kwargs)
    inner = root.steps[0].scope if len(root.steps) == 1 else None
    return inner if inner is not None else root


def is_scope(operation: Any) -> bool:
    """Whether a layer has a `call` that was written by a user: models, and layers outside keras.layers."""
    if not isinstance(operation, keras.layers.Layer):
        return False
    if is_functional(operation) or isinstance(operation, keras.Sequential):
        return True
    if isinstance(operation, keras.layers.Attention):
        return True  # AdditiveAttention too: steps of keras.ops, with a weight or two
    if isinstance(operation, keras.layers.BatchNormalization):
        return False  # whatever its rule for the statistics: the layer has two modes, which one call does not show
    for cls in type(operation).__mro__:
        own = not cls.__module__.startswith("keras.") or cls.__module__.startswith("keras.src.applications")
        if own and {name for name, value in vars(cls).items() if callable(value)} - PLAIN:
            return True
        if "call" in vars(cls):
            return own
    return False


class _Recorder:
    """The scopes that are open, and whether steps are written down."""

    def __init__(self) -> None:
        self.scopes: list[CallScope] = []
        self.quiet = 0

    def __call__(self) -> bool:
        return not self.quiet

    def record(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> Any:
        """Write a step down, and give its outputs."""
        step = RecordedCall(operation, args, kwargs, outputs, tuple(_places()))
        step.short = "" if step.places else "mask" if _in_mask() else ""
        self.scopes[-1].steps.append(step)
        return outputs

    @contextmanager
    def silent(self) -> Iterator[None]:
        self.quiet += 1
        try:
            yield
        finally:
            self.quiet -= 1

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While this is open, symbolic calls are recorded instead of wired into the model's graph."""
        recorder = self

        def symbolic_call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            if recorder.quiet:
                return operation.compute_output_spec(*args, **kwargs)
            if is_inlined(operation):
                return inlined(operation, args, kwargs)
            with recorder.silent():
                drops = own_dropout(operation, args)
            if is_scope(operation) and drops is None:
                return recorder.enter(operation, args, kwargs)
            with recorder.silent():
                outputs = known_spec(operation, args, kwargs) if drops is None else _like(args[0])
            return recorder.record(operation, args, kwargs, outputs)

        with ExitStack() as stack:
            stack.enter_context(restored(keras.Operation, "symbolic_call", symbolic_call))
            stack.enter_context(restored(keras.layers.Layer, "symbolic_call", symbolic_call))
            stack.enter_context(restored(layer_module, "Node", lambda *_, **__: None))
            stack.enter_context(recorded_weights(self))
            stack.enter_context(tensorflow_as_ops(self))
            yield

    def enter(self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the `call` of a layer in a scope of its own."""
        places = tuple(_places())
        scope = CallScope(layer, args, kwargs)
        self.scopes.append(scope)
        try:
            scope.outputs = layer.call(*args, **kwargs)
        finally:
            self.scopes.pop()
        self.scopes[-1].steps.append(RecordedCall(layer, args, kwargs, scope.outputs, places, scope))
        return scope.outputs


def _like(tensor: Any) -> Any:
    """Another tensor of the same shape."""
    return keras.KerasTensor(tensor.shape, tensor.dtype)


def _in_mask() -> bool:
    """Whether a layer is computing the mask of what it gives."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "compute_mask":
            return True
        if frame.f_code.co_name == "call":
            return False
        frame = frame.f_back
    return False


def _places() -> Iterator[CallPlace]:
    """Where in the user's code the running call is written, the innermost function first, up to the layer's `call`."""
    frame: FrameType | None = sys._getframe(1)
    here = str(Path(__file__).parent)
    while frame is not None:
        file = frame.f_code.co_filename
        if frame.f_code.co_name == "compute_mask":
            return  # of the layer: no statement of the call gives it its name
        users = not file.startswith(KERAS) or file.startswith(APPLICATIONS)
        if users and not file.startswith(here):
            positions = list(frame.f_code.co_positions())[frame.f_lasti // 2]
            line, end, column, last = (value or 0 for value in positions)
            yield CallPlace(file, frame.f_code.co_name, line, end, column, last)
            if frame.f_code.co_name == "call":
                return
        elif file.endswith(("functional.py", "sequential.py")) and frame.f_code.co_name == "call":
            return
        frame = frame.f_back
