"""Parameters and buffers as weights of a Keras layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parity.porting.to_keras.leaves.setting import NoCounterpartError
from parity.porting.to_keras.making.scope import Scope
from parity.porting.to_keras.names import attribute


def weight_text(name: str, tensors: Sequence[Any], scope: Scope, trainable: bool) -> str:
    """The statement that makes a weight, given it in each instance.

    Raises:
        NoCounterpartError: its sizes cannot be written.
    """
    if any(tensor is None for tensor in tensors):
        raise NoCounterpartError("a weight that some instances do not have")
    shape = scope.text([tuple(int(n) for n in tensor.shape) for tensor in tensors], f"{name}_shape")
    dtype = str(tensors[0].dtype).removeprefix("torch.")
    more = ', initializer="zeros"'
    more += "" if trainable else ", trainable=False"
    more += "" if dtype.startswith("float") else f', dtype="{dtype}"'
    return f'self.{attribute(name)} = self.add_weight(shape={shape}{more}, name="{name}")'
