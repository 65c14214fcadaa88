"""Classes that a body asks for, as in `isinstance(layer, nn.Identity)`: what they are in Keras."""

from __future__ import annotations

from typing import Any

from parity.adapters.recording.records import Recording
from parity.porting.to_keras.leaves.setting import NoCounterpartError
from parity.porting.to_keras.leaves.table import leaf_class
from parity.porting.to_keras.making.scope import Naming, Scope
from parity.porting.to_keras.making.settings import leaf_of

CLASSES = {
    "Identity": "keras.layers.Identity",
    "Sequential": "keras.Sequential",
    "Linear": "keras.layers.Dense",
    "Conv2d": "keras.layers.Conv2D",
    "Dropout": "keras.layers.Dropout",
    "ModuleList": "list",
    "ModuleDict": "dict",
    "Module": "keras.layers.Layer",
}


def asked_class(recording: Recording, value: Any) -> str | None:
    """What a class of torch's, or one that counts as such, is in Keras: what the model's layers of it have become.

    Args:
        recording: of the model.
        value: any value.

    Returns:
        The class, or a tuple of several; None where the value is no such class, or the model has no layer of it.
    """
    if not isinstance(value, type):
        return None
    if value.__module__.startswith("torch.nn") and value.__name__ in CLASSES:
        return CLASSES[value.__name__]
    if leaf_class(value) is None:
        return None
    scope = Scope({}, Naming(lambda held: str(getattr(held, "__name__", held))))
    found: dict[str, None] = {}
    for made in recording.modules.values():
        if isinstance(made.module, value) and leaf_class(type(made.module)) is not None:
            try:
                found[leaf_of([made.module], scope, None).callee] = None
            except NoCounterpartError:
                return None
    names = sorted(found)
    return names[0] if len(names) == 1 else f"({', '.join(names)})" if names else None
