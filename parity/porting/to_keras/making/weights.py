"""Parameters and buffers as weights of a Keras layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parity.porting.to_keras.layout.casts import dtype_text
from parity.porting.to_keras.leaves.setting import NoCounterpartError
from parity.porting.to_keras.making.parts.initial import InitialWeight
from parity.porting.to_keras.making.scope import Scope

LONGEST = 64
"""Elements of a constant that is written out."""


def weight_text(
    name: str, tensors: Sequence[Any], scope: Scope, trainable: bool, first: InitialWeight | None = None
) -> str:
    """The expression that makes a weight, given it in each instance.

    Args:
        name: of the weight.
        tensors: one for each instance.
        scope: the names that the shape may use.
        trainable: whether it is a parameter.
        first: the shape and first values that the source's text says; None where it says none.

    Raises:
        NoCounterpartError: its sizes cannot be written.
    """
    if any(tensor is None for tensor in tensors):
        raise NoCounterpartError("a weight that some instances do not have")
    if first is None:
        sizes = [tuple(int(n) for n in tensor.shape) for tensor in tensors]
        first = InitialWeight(scope.text(sizes, f"{name}_shape"), '"zeros"')
    dtype = str(tensors[0].dtype).removeprefix("torch.")
    more = f", initializer={first.initializer}"
    more += "" if trainable and all(tensor.requires_grad for tensor in tensors) else ", trainable=False"
    more += "" if dtype.startswith("float") else f', dtype="{dtype}"'
    return f'self.add_weight(shape={first.shape}{more}, name="{name}")'


def constant_text(tensors: Sequence[Any]) -> str:
    """A tensor that is the same in every instance, written out.

    Raises:
        NoCounterpartError: it is long, or another one in other instances.
    """
    first = tensors[0]
    values = [tensor.tolist() for tensor in tensors]
    if first.numel() > LONGEST or any(value != values[0] for value in values):
        raise NoCounterpartError("values that the source computes while the model is made")
    return f"ops.array({values[0]!r}, dtype={dtype_text(str(first.dtype).removeprefix('torch.'))})"
