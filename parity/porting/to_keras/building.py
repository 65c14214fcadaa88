"""The function `build()` of a port: it makes the model, and its weights by a first call."""

from __future__ import annotations

from collections.abc import Sequence

from parity.adapters.recording.records import Recording
from parity.porting.to_keras.layout.axes import HeldOrder
from parity.porting.to_keras.layout.operands import tensors


def build_function(recording: Recording, orders: Sequence[HeldOrder], root: str) -> str:
    """The text of `build()`.

    Args:
        recording: of the model, whose inputs have the shapes of the first call.
        orders: the order of axes in which the port takes each input.
        root: the expression that makes the model.
    """
    zeros = []
    for tensor, order in zip(tensors(recording.inputs["first"]), orders, strict=True):
        shape = (1, *(tensor.shape[axis] for axis in order[1:]))
        dtype = "" if "float" in tensor.dtype else f', dtype="{tensor.dtype}"'
        zeros.append(f"ops.zeros({shape}{dtype})")
    mode = ", training=True" if _needs_training(recording) else ""
    return "\n".join(
        [
            "def build():",
            '    """Make the model, and its weights by a first call; their values are to be loaded."""',
            f"    model = {root}",
            f"    model({', '.join(zeros)}{mode})",
            "    return model",
        ]
    )


def _needs_training(recording: Recording) -> bool:
    """Whether some module with weights ran in training alone."""
    ran: dict[bool, set[int]] = {True: set(), False: set()}
    for call in recording.module_calls:
        if next(call.module.parameters(recurse=False), None) is not None:
            ran[call.phase == "training"].add(id(call.module))
    return bool(ran[True] - ran[False])
