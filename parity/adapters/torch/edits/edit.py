"""One change of one torch call, and the call that it is made to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from parity.adapters.torch.edits.tape import CallChange, Tape, TapeCall
from parity.adapters.torch.tensors import leaves_of


@dataclass(frozen=True)
class Edit:
    """One change of one call.

    Attributes:
        cause: what it is called where it settles a difference.
        keras: what the call does once it is changed, in words.
        torch: what it does as it is.
        change: what is run in its place.
    """

    cause: str
    keras: str
    torch: str
    change: CallChange


@dataclass(frozen=True)
class Called:
    """A call of a tape with the tensors that it takes and gives where nothing is changed."""

    tape: Tape
    number: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @staticmethod
    def of(tape: Tape, number: int) -> Called:
        """The number-th call of a tape."""
        return Called(tape, number, *tape.arguments(number))

    @property
    def call(self) -> TapeCall:
        """The call itself."""
        return self.tape.calls[self.number]

    @property
    def name(self) -> str:
        """Of the function, without underscores at the ends."""
        return self.call.name

    @property
    def tensors(self) -> list[torch.Tensor]:
        """The tensors that it takes, in order."""
        return [leaf for leaf in leaves_of((self.args, self.kwargs)) if isinstance(leaf, torch.Tensor)]

    @property
    def x(self) -> torch.Tensor | None:
        """The first tensor that it takes."""
        return next(iter(self.tensors), None)

    @property
    def out(self) -> torch.Tensor | None:
        """The first tensor that it gives."""
        return self.tape.base[self.call.gives[0]] if self.call.gives else None

    def given(self, name: str, position: int, default: Any = None) -> Any:
        """An argument by its name, or by its place."""
        return given(self.args, self.kwargs, name, position, default)


def given(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str, position: int, default: Any = None
) -> Any:
    """An argument by its name, or by its place."""
    if name in kwargs:
        return kwargs[name]
    return args[position] if position < len(args) else default


def of_first(function: Callable[..., Any], **options: Any) -> CallChange:
    """A change that computes from the first tensor alone."""

    def change(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = next(leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, torch.Tensor))
        return function(first, **options)

    return change


def with_given(name: str, position: int, value: Any) -> CallChange:
    """A change that runs the same function with another value of one argument."""

    def change(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in kwargs or position >= len(args):
            return function(*args, **{**kwargs, name: value})
        return function(*args[:position], value, *args[position + 1 :], **kwargs)

    return change


def positive(axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Axes counted from the front; all of them for None."""
    if axes is None:
        return tuple(range(rank))
    return tuple(axis % rank for axis in ((axes,) if isinstance(axes, int) else axes)) if rank else ()
