"""What torch's containers give to a class of the user that derives from one, as methods of the Keras class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from parity.porting.to_keras.names import attribute

CONTAINERS = {"ModuleList": "list", "ModuleDict": "dict", "Sequential": "sequence"}
METHODS = {
    r"self\.items\(\)": "def items(self):\n    return [(name, getattr(self, name)) for name in {each}]",
    r"self\.values\(\)": "def values(self):\n    return [getattr(self, name) for name in {each}]",
    r"self\.children\(\)": "def children(self):\n    return [getattr(self, name) for name in {each}]",
    r"self\.keys\(\)": "def keys(self):\n    return list({names})",
    r"\bin (enumerate\()?self\b(?!\.)": "def __iter__(self):\n    return (getattr(self, name) for name in {each})",
    r"\bself\[": "def __getitem__(self, index):\n    return [getattr(self, name) for name in {each}][index]",
    r"\blen\(self\)": "def __len__(self):\n    return len(list({names}))",
    r"\bself\.in_sequence\(": (
        "def in_sequence(self, x):\n    for name in {names}:\n        x = getattr(self, name)(x)\n    return x"
    ),
}
"""What a method's text shows that it uses, and the method for it."""


def container_kind(value: Any) -> str:
    """Whether a value is torch's own "list", "dict" or "sequence" of modules; empty for all else."""
    cls = type(value)
    return CONTAINERS.get(cls.__name__, "") if cls.__module__.startswith("torch.nn") else ""


def child_by_name(kind: str, holder: str, name: str) -> str:
    """What torch's container gives as an attribute: a dictionary's entry, a sequence's layer."""
    return f'{holder}["{name}"]' if kind == "dict" else f'{holder}.get_layer("{name}")'


def container_methods(cls: type, instances: Sequence[Sequence[str]], methods: Sequence[str]) -> list[str]:
    """The methods of a container that the texts of the class' methods use.

    Args:
        cls: of the source.
        instances: the names of the modules that each instance holds.
        methods: the texts of its methods in the port.
    """
    torchs = [base.__name__ for base in cls.__mro__ if base.__module__.startswith("torch.nn")]
    used = "\n".join(methods)
    if not any(name in CONTAINERS for name in torchs) and "self.children()" not in used:
        return []
    children = dict.fromkeys(name for held in instances for name in held)
    names = [attribute(name) if name.isidentifier() else name for name in children]
    listed = f"({', '.join(repr(name) for name in names)}{',' if len(names) == 1 else ''})"
    each = listed
    if any(len(held) < len(names) for held in instances):  # each instance has some of them
        each = f"{listed} if hasattr(self, name)"
        listed = f"(name for name in {each})"
    return [
        text.format(names=listed, each=each) for pattern, text in METHODS.items() if re.search(pattern, used)
    ]
