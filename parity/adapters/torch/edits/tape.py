"""Some steps of a pass as a list of torch calls that can be run again alone, with one of them changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from parity.adapters.sites.running import Spot, running
from parity.adapters.torch.calls.composite import arguments_of
from parity.adapters.torch.forward import call_unseen
from parity.adapters.torch.tensors import leaves_of
from parity.adapters.torch.trace import INQUIRIES, TENSOR_PROPERTIES
from parity.adapters.torch.weights import to_numpy
from parity.core.trace import Node, NodeObserver
from parity.core.types import Array

MOST = 120
"""Calls of one tape: with more, it is not run again."""


@dataclass(frozen=True)
class TapeSlot:
    """Stands for a tensor among the arguments of a call."""

    number: int


@dataclass(frozen=True)
class TapeCall:
    """One call.

    Attributes:
        name: of the function, as torch has it, without underscores at the ends.
        function: the function itself.
        args, kwargs: what it was called with, tensors as slots.
        takes: the slots among them, in order.
        gives: the slots of what it gave.
        spot: the instruction of the user's that runs it.
        writes: whether it changes what it takes.
    """

    name: str
    function: Callable[..., Any]
    args: Any
    kwargs: Any
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    spot: Spot | None
    writes: bool


CallChange = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Takes a call's function with its positional and keyword arguments; gives what the changed call gives."""


@dataclass
class Tape:
    """Calls in the order in which they ran.

    Attributes:
        calls: the calls.
        first: the tensors that no call of the tape gave, by slot.
        data: of these, the ones that the pass computed, which are neither weights nor constants.
        ends: the slots of what the recorded steps gave, by (id of the step, number of the output).
    """

    calls: list[TapeCall] = field(default_factory=list)
    first: dict[int, torch.Tensor] = field(default_factory=dict)
    data: set[int] = field(default_factory=set)
    ends: dict[tuple[int, int], int] = field(default_factory=dict)
    _slots: dict[int, int] = field(default_factory=dict)
    _alive: list[torch.Tensor] = field(default_factory=list)

    @staticmethod
    def of_tensor(value: Array) -> Tape:
        """A tape without a call, that starts and ends with one tensor, slot 0."""
        return Tape(first={0: torch.from_numpy(np.array(value))}, data={0})

    # --- recording -----------------------------------------------------------------------------------

    def slot(self, tensor: torch.Tensor) -> int:
        """The slot of a tensor; one that was not seen before is kept as it is now."""
        if id(tensor) not in self._slots:
            self._bind(tensor)
            self.first[self._slots[id(tensor)]] = tensor.detach().clone()
        return self._slots[id(tensor)]

    def _bind(self, tensor: torch.Tensor) -> int:
        if id(tensor) not in self._slots:
            self._slots[id(tensor)] = len(self._alive)
            self._alive.append(tensor)
        return self._slots[id(tensor)]

    def start(self, tensors: Sequence[torch.Tensor]) -> None:
        """Take what a step computes from: of what no call of the tape gave, all but weights is the pass's data."""
        for tensor in tensors:
            if id(tensor) not in self._slots and not isinstance(tensor, torch.nn.Parameter):
                self.data.add(self.slot(tensor))

    def begun(self, name: str, function: Any, args: Any, kwargs: Any) -> Callable[[Any, bool], None]:
        """Keep what a call takes, before it runs; returns what keeps what it gives, and whether it writes."""
        kept, takes = self._with_slots((args, kwargs))
        spot = running()

        def ended(result: Any, writes: bool) -> None:
            gives = tuple(self._bind(tensor) for tensor in _tensors(result))
            if gives or writes:
                plain = name.strip("_") or name
                self.calls.append(TapeCall(plain, function, kept[0], kept[1], takes, gives, spot, writes))

        return ended

    def _with_slots(self, structure: Any) -> tuple[Any, tuple[int, ...]]:
        takes: list[int] = []

        def kept(leaf: Any) -> Any:
            if not isinstance(leaf, torch.Tensor):
                return leaf
            takes.append(self.slot(leaf))
            return TapeSlot(takes[-1])

        return pytree.tree_map(kept, structure), tuple(takes)

    def recorded(self) -> Tape:
        """The tape, once everything is on it: nothing is held alive for it any more."""
        self._slots, self._alive = {}, []
        return self

    # --- running again -------------------------------------------------------------------------------

    @cached_property
    def writes(self) -> bool:
        """Whether a call changes what it takes."""
        return any(call.writes for call in self.calls)

    @cached_property
    def base(self) -> dict[int, torch.Tensor]:
        """What every slot holds where nothing is changed."""
        return self._run({slot: value.clone() for slot, value in self.first.items()}, range(len(self.calls)))

    def arguments(self, number: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a call takes where nothing is changed."""
        return _filled(self.calls[number], self.base)

    def result(self, slot: int) -> Array:
        """What a slot holds where nothing is changed."""
        return to_numpy(self.base[slot])

    def changed(self, changes: Mapping[int, CallChange], end: int) -> Array:
        """What the end holds with some calls changed.

        Args:
            changes: what is run in their places, by their numbers.
            end: a slot.

        Raises:
            Exception: whatever the changed calls raise.
        """
        if self.writes:
            values = {slot: value.clone() for slot, value in self.first.items()}
            return to_numpy(self._run(values, range(len(self.calls)), changes)[end])
        return to_numpy(self._run(dict(self.base), self._behind(changes), changes)[end])

    def inserted(
        self, slot: int, change: Callable[[torch.Tensor], torch.Tensor], end: int, source: int | None = None
    ) -> Array:
        """What the end holds where one more step stands behind a tensor.

        Args:
            slot: what the step gives.
            change: the step.
            end: a slot.
            source: what the step takes; the slot itself where it is None.

        Raises:
            Exception: whatever the step or the calls behind it raise.
        """
        if self.writes:
            raise ValueError("the tape must change nothing in place")
        values = dict(self.base)
        with torch.no_grad():
            values[slot] = change(values[slot if source is None else source])
        return to_numpy(self._run(values, self._users(slot))[end])

    def _run(
        self,
        values: dict[int, torch.Tensor],
        numbers: Sequence[int] | range,
        changes: Mapping[int, CallChange] | None = None,
    ) -> dict[int, torch.Tensor]:
        with torch.no_grad():
            for number in numbers:
                call, change = self.calls[number], (changes or {}).get(number)
                args, kwargs = _filled(call, values)
                result = (
                    call.function(*args, **kwargs) if change is None else change(call.function, args, kwargs)
                )
                values |= dict(zip(call.gives, _tensors(result), strict=False))
        return values

    def _behind(self, changes: Mapping[int, CallChange]) -> list[int]:
        """Some calls and those that follow from them."""
        moved, found = set[int](), []
        for number, call in enumerate(self.calls):
            if number in changes or moved & set(call.takes):
                found.append(number)
                moved |= set(call.gives)
        return found

    def _users(self, slot: int) -> list[int]:
        """The calls that follow from a slot; what hands it on as it is does not."""
        moved, found = {slot}, []
        for number, call in enumerate(self.calls):
            if moved & set(call.takes) and slot not in call.gives:
                found.append(number)
                moved |= set(call.gives)
        return found

    def leading_to(self, end: int) -> list[int]:
        """The calls that lead to a slot, in order."""
        wanted, found = {end}, []
        for number in reversed(range(len(self.calls))):
            call = self.calls[number]
            if wanted & set(call.gives) or (call.writes and wanted & set(call.takes)):
                found.append(number)
                wanted |= set(call.takes)
        return found[::-1]

    def users(self, slot: int) -> list[TapeCall]:
        """The calls that take a slot."""
        return [call for call in self.calls if slot in call.takes]


class _Recording(TorchFunctionMode):
    """Puts whatever torch runs onto tapes."""

    def __init__(self, tapes: Sequence[Tape]) -> None:
        super().__init__()
        self._tapes = tapes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func))
        if name in {"__get__", "__set__"}:
            name = getattr(getattr(func, "__self__", None), "__name__", name)
            if name not in TENSOR_PROPERTIES:
                return func(*args, **kwargs)
        if name in INQUIRIES:
            return func(*args, **kwargs)
        ends = [tape.begun(name, func, args, kwargs) for tape in self._tapes]
        versions = [(tensor, tensor._version) for tensor in _tensors((args, kwargs))]
        result = func(*args, **kwargs)
        writes = any(tensor._version != version for tensor, version in versions)
        for ended in ends:
            ended(result, writes)
        return result


class RecordedCalls(NodeObserver):
    """Puts what some steps of a traced pass run onto tapes.

    Args:
        wanted: ids of the steps of each tape.
    """

    def __init__(self, wanted: Sequence[set[int]]) -> None:
        self._wanted = wanted
        self.tapes = [Tape() for _ in wanted]

    def around(self, node: Node, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, put onto the tapes that want the step."""
        tapes = [tape for wanted, tape in zip(self._wanted, self.tapes, strict=True) if node.id in wanted]
        if not tapes:
            return function

        def run(*args: Any, **kwargs: Any) -> Any:
            for tape in tapes:
                tape.start(_tensors((args, kwargs)))
            with _Recording(tapes):
                result = function(*args, **kwargs)
            made = _tensors(result) or _tensors((args, kwargs))[:1]
            for tape in tapes:
                tape.ends |= {(node.id, i): tape.slot(tensor) for i, tensor in enumerate(made)}
            return result

        return run


def recorded(function: Callable[..., Any], tensors: Sequence[torch.Tensor]) -> tuple[Tape, list[int]]:
    """The calls of a function, and the slots of what it gives.

    Args:
        function: takes nothing.
        tensors: what the function computes from.
    """
    tape = Tape()
    tape.start(tensors)
    with torch.no_grad(), _Recording([tape]):
        result = function()
    ends = [tape.slot(tensor) for tensor in _tensors(result)]
    return tape.recorded(), ends


def of_module(module: torch.nn.Module, tensors: Sequence[torch.Tensor]) -> tuple[Tape, list[int]]:
    """The calls of one module alone, in eval mode, unseen by its hooks."""
    taken = arguments_of(module, tensors)
    return recorded(lambda: call_unseen(module, taken), taken)


def _filled(call: TapeCall, values: dict[int, torch.Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call's arguments with the tensors in the slots' places."""
    filled = pytree.tree_map(
        lambda leaf: values[leaf.number] if isinstance(leaf, TapeSlot) else leaf, (call.args, call.kwargs)
    )
    return filled[0], filled[1]


def _tensors(structure: Any) -> list[torch.Tensor]:
    return [leaf for leaf in leaves_of(structure) if isinstance(leaf, torch.Tensor)]
