"""What one step becomes: a piece of text with open places, and the modules and numbers that go into them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from parity.porting.to_torch.axes import TorchAxes

HOLE = re.compile("\x01([iachm])(\\d+)\x01")
"""An open place: `i` an input, `a` an input that must be an atom, `c` a number, `m` a module."""


def hole(kind: str, number: int) -> str:
    """An open place of a template."""
    return f"\x01{kind}{number}\x01"


def filled(template: str, fill: Callable[[str, int], str]) -> str:
    """A template with its open places filled."""
    return HOLE.sub(lambda match: fill(match[1], int(match[2])), template)


@dataclass(frozen=True)
class Name:
    """Text that stands as it is where a value is written: a function, a name."""

    text: str

    def __repr__(self) -> str:
        return self.text


@dataclass
class ModuleText:
    """How a module is made: its class, and its arguments by name."""

    kind: str  # nn.Conv2d, or a helper's name
    arguments: dict[str, Any]
    positional: tuple[str, ...] = ()  # names of the arguments that stand without their names
    sources: dict[str, str] = field(
        default_factory=dict
    )  # torch's argument -> Keras' that has the same value
    inside: dict[str, ModuleText] = field(default_factory=dict)  # for a row of modules: its members
    defaults: dict[str, Any] = field(default_factory=dict)  # of a class of the port
    port: bool = False  # whether the class is one of the port itself
    owner: Any = None  # of such a class: the Keras layer that it stands for


@dataclass
class Member:
    """A module that a step uses: an attribute of the class."""

    attribute: str
    made: Any  # ModuleText, or the ClassBody of a class of the port
    owner: Any = None  # the Keras layer


@dataclass
class OpenNumber:
    """A number or function in a text that may differ between instances of one class."""

    role: str
    value: Any


@dataclass(eq=False)
class Piece:
    """One step of a body.

    Attributes:
        name: the step's name within its body.
        template: the expression, with open places.
        inputs, outputs: keys of tensors.
        atom: whether the expression binds as tightly as a call.
        layout: what the axes of each output are.
        alias: whether it is nothing but its first input.
    """

    name: str
    kind: str
    template: str
    inputs: list[int]
    outputs: list[int]
    members: list[Member] = field(default_factory=list)
    constants: list[OpenNumber] = field(default_factory=list)
    atom: bool = True
    alias: bool = False
    step: Any = None
    unpacked: bool = False
    stub: str = ""
    helpers: list[str] = field(default_factory=list)


@dataclass(eq=False)
class ClassBody:
    """One instance of a class of the port: its pieces in order, its inputs and what it returns."""

    title: str  # the class's name, before it is made unique
    owner: Any  # the Keras layer or model; None for a group of steps
    inputs: list[tuple[str, int]]  # names and tensors
    layouts: tuple[TorchAxes | None, ...]
    pieces: list[Piece] = field(default_factory=list)
    result: str = ""  # a template over `returned`
    returned: list[int] = field(default_factory=list)
    out_layouts: list[TorchAxes] = field(default_factory=list)
    sizes: dict[str, Any] = field(
        default_factory=dict
    )  # the constructor's arguments in the source, and their values
    features: dict[int, tuple[int | None, ...]] = field(default_factory=dict)
