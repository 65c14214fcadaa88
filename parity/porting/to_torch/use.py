"""What a rule sees of one step, and how it says what stands for it in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from parity.porting.to_torch.axes import TorchAxes, images, plain, turned
from parity.porting.to_torch.piece import Member, ModuleText, Name, OpenNumber, Piece, hole
from parity.porting.to_torch.values import is_layer, is_tensor, kinds

MOST = 64
"""Numbers of an array that are written down at most."""


class RefusedError(Exception):
    """A step that has no counterpart: the reason, as a sentence."""


class StepUse:
    """One step, its inputs with their layouts, and the piece that a rule makes of it."""

    def __init__(
        self, step: Any, name: str, body: Any, weight: Callable[[Any], tuple[str, TorchAxes]]
    ) -> None:
        self.step, self.layer, self.body, self._weight = step, step.operation, body, weight
        self.args, self.kwargs = step.args, step.kwargs
        self.tensors = [value for value in flat((step.args, step.kwargs)) if is_tensor(value)]
        self.piece = Piece(name, kinds(self.layer)[0], "", [], [], step=step)
        self.layouts: list[TorchAxes] = []

    # what there is
    @property
    def x(self) -> Any:
        """The first tensor."""
        return self.tensors[0]

    def axes(self, tensor: Any) -> TorchAxes:
        """The layout of a tensor."""
        return self.body.layout(tensor)

    def get(self, name: str, default: Any = None) -> Any:
        """A setting of the layer or operation."""
        return getattr(self.layer, name, default)

    def sizes(self, tensor: Any) -> tuple[Any, ...]:
        """The shape of a tensor; a size that depends on the input's is a formula."""
        return tuple(self.body.sizes(tensor))

    # what is written
    def take(self, tensor: Any, axes: TorchAxes | None = None, atom: bool = False) -> str:
        """The text of a tensor in a layout; its own one where none is asked for."""
        if not is_tensor(tensor):
            return literal(tensor)
        if "Variable" in kinds(tensor):
            text, before = self._weight(tensor)
            return turned(text, before, axes or before)
        before = self.axes(tensor)
        key = id(tensor)
        if key not in self.piece.inputs:
            self.piece.inputs.append(key)
        number = self.piece.inputs.index(key)
        changes = axes is not None and axes != before
        text = hole("a" if atom or changes else "i", number)
        return turned(text, before, axes) if axes is not None and changes else text

    def plainly(self, tensor: Any, atom: bool = False) -> str:
        """The text of a tensor with its axes as Keras has them."""
        return self.take(tensor, plain(len(tensor.shape)) if is_tensor(tensor) else None, atom)

    def as_images(self, tensor: Any, atom: bool = False) -> str:
        """The text of a tensor with its channels behind the batch."""
        return self.take(tensor, images(len(tensor.shape)), atom)

    def module(self, kind: str, positional: tuple[str, ...] = (), suffix: str = "", **arguments: Any) -> str:
        """The text of a module that the step calls."""
        sources = arguments.pop("sources", {})
        made = ModuleText(kind, arguments, positional, sources)
        return self.member(made, suffix)

    def member(self, made: Any, suffix: str = "") -> str:
        """The text of an attribute that holds what is made."""
        self.piece.members.append(
            Member(self.piece.name + suffix, made, self.layer if is_layer(self.layer) else None)
        )
        return hole("m", len(self.piece.members) - 1)

    def helper(self, name: str) -> str:
        """The name of a helper function, which the port then carries with it."""
        self.piece.helpers.append(name)
        return name

    def constant(self, role: str, value: Any) -> str:
        """The text of a number or a function, which may be another one in another instance."""
        self.piece.constants.append(OpenNumber(role, value))
        return hole("c", len(self.piece.constants) - 1)

    def numbers(self, value: Any, axes: TorchAxes) -> str:
        """The text of an array that the call holds, which is broadcast against a tensor in this layout: a buffer.

        Raises:
            RefusedError: it has too many numbers to be written down.
        """
        array = np.asarray(value)
        while array.ndim > 1 and array.shape[0] == 1:
            array = array[0]
        if array.size > MOST:
            raise RefusedError(
                f"an array of {array.size} numbers that the call holds; at most {MOST} are written down. "
                "Make it a weight, or a Constant initializer's"
            )
        if axes.flat and array.shape[-1:] != (1,):
            height, width, channels = axes.flat
            array = array.reshape(*array.shape[:-1], height, width, channels)
            array = np.moveaxis(array, -1, -3).reshape(*array.shape[:-3], -1)
        behind = 0
        if array.ndim == 1 and not axes.same and not axes.flat:  # one number for each channel
            behind = axes.rank - 1 - axes.torch(axes.rank - 1)
        elif array.ndim > 1 and not axes.same and not axes.flat:
            array = array.reshape((1,) * (axes.rank - array.ndim) + array.shape).transpose(axes.order)
        if array.dtype.kind == "f":  # numbers of single precision as they are written by hand
            short = [float(str(number)) for number in array.ravel()]
            array = np.array(short, dtype=object).reshape(array.shape)
        data = array.tolist()
        count = sum(member.attribute.startswith(f"{self.piece.name}_by") for member in self.piece.members)
        suffix = f"_by{count + 1 if count else ''}"
        text = self.member(ModuleText("torch.tensor", {"data": data}, ("data",)), suffix)
        return f"{text}[:{', None' * behind}]" if behind else text

    def size(self, value: Any) -> str:
        """The text of a whole number: itself, or its formula where it depends on the input's size."""
        pair = getattr(value, "pair", None)
        return str(int(value)) if pair is None else self.body.formula(self, pair)

    def give(self, text: str, *layouts: TorchAxes, atom: bool = True, alias: bool = False) -> None:
        """The text of the step, and the layouts of what it gives."""
        self.piece.template, self.layouts = text, list(layouts)
        self.piece.atom, self.piece.alias = atom, alias


def flat(value: Any) -> list[Any]:
    """The leaves of a structure of tuples, lists and dictionaries."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in flat(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in flat(item)]
    return [value]


def literal(value: Any) -> str:
    """A value as Python writes it."""
    if hasattr(value, "shape") and not isinstance(value, Name):
        if tuple(value.shape) == ():
            return literal(value.item() if hasattr(value, "item") else value.numpy().item())
        raise RefusedError(
            f"a tensor of numbers of shape {tuple(value.shape)} that the call computes by itself"
        )
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return f'float("{value}")'
        short = repr(round(value, 12))
        return short if float(short) == value else repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Name) or value is None or isinstance(value, bool):
        return repr(value)
    return repr(int(value)) if isinstance(value, int) else repr(value)
