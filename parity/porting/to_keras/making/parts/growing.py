"""Containers of modules that grow after they were made, as lists, dictionaries and sequences of Keras grow."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from parity.porting.to_keras.leaves.setting import NoCounterpartError

GROWING = ("append", "extend", "insert", "add_module", "update", "register_module")
"""Methods by which torch's containers take further modules."""


def grown(kind: str, holder: str, method: str, arguments: Sequence[str]) -> str:
    """The statement that adds what a method of torch's container adds.

    >>> grown("dict", "self.blocks", "add_module", ["name", "Block(4)"]), grown("sequence", "layers", "append", ["Block(4)"])
    ('self.blocks[name] = Block(4)', 'layers.add(Block(4))')

    Raises:
        NoCounterpartError: Keras' container does not grow in that way.
    """
    if method in ("add_module", "register_module") and len(arguments) == 2:
        name, module = arguments
        if kind == "sequence":
            return f"{holder}.add({named_layer(module, name)})"
        return f"{holder}[{name}] = {module}" if kind == "dict" else f"{holder}.append({module})"
    if kind == "sequence" and method == "append" and len(arguments) == 1:
        return f"{holder}.add({arguments[0]})"
    if (kind == "dict") != (method == "update") or kind == "sequence":
        raise NoCounterpartError(f"{holder}.{method} changes a container as Keras' does not")
    return f"{holder}.{method}({', '.join(arguments)})"


def named_layer(text: str, name: str) -> str:
    """The call that makes a layer, with the layer's name as a further argument.

    Raises:
        NoCounterpartError: the text is no call.
    """
    if not text.endswith(")") or not isinstance(ast.parse(text, mode="eval").body, ast.Call):
        raise NoCounterpartError("a layer of a sequence that gets its name later")
    return f"{text[:-1]}{'' if text.endswith('()') else ', '}name={name})"
