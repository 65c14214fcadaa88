"""The requests for float32 of one side, in their order, and which of them become float64."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from parity.adapters.sites.running import Spot, running
from parity.core.trace import Node, NodeObserver, Values


@dataclass(frozen=True)
class Request:
    """One request for float32.

    Attributes:
        step: the function that was asked.
        spot: the user's instruction that asked; None where none did.
        number: how many requests of this instruction went before.
        node: number of the traced step within which it was made, or that it is.
        place: path of the layer within which it was made; empty for the model itself.
    """

    step: str
    spot: Spot | None
    number: int
    node: int | None = None
    place: str = ""

    @property
    def key(self) -> tuple[Spot | None, int]:
        """The same in every pass of the same model."""
        return self.spot, self.number


class Float32Log:
    """What one side asks for in float32.

    Attributes:
        lifting: float32 that is asked for becomes float64, wherever the model is held in float64.
        held: whether it is held so now.
    """

    def __init__(self) -> None:
        self.lifting, self.held = False, False
        self._recorded: list[Request] | None = None
        self._kept: frozenset[tuple[Spot | None, int]] = frozenset()
        self._counts: Counter[Spot | None] = Counter()
        self._node: Node | None = None
        self._waiting = 0

    @property
    def active(self) -> bool:
        """Whether requests are looked at."""
        return self.held and (self.lifting or self._recorded is not None)

    def lifts(self, step: str, first: Any = None) -> bool:
        """Note a request; whether it becomes one for float64.

        Args:
            step: the function that is asked.
            first: what it is asked to do it to. What is float32 already is no request: it follows from another, or from
                a number that the framework made a tensor of, and is lifted where none of the same code is kept.
        """
        if not self.active:
            return False
        spot = running()
        if str(getattr(first, "dtype", "")).endswith(("float32", "float32'>")):
            return self.lifting and (spot and spot[0]) not in {kept and kept[0] for kept, _ in self._kept}
        number = self._counts[spot]
        self._counts[spot] += 1
        if self._recorded is not None:
            place = "" if self._node is None else _place(self._node)
            node = None if self._node is None else self._node.id
            self._recorded.append(Request(step, spot, number, node, place))
            self._waiting += node is None
        return self.lifting and (spot, number) not in self._kept

    @contextmanager
    def recording(self) -> Iterator[list[Request]]:
        """While this is open, requests are noted; none is lifted."""
        lifting, self.lifting = self.lifting, False
        self._recorded, self._waiting = [], 0
        self._counts.clear()
        try:
            yield self._recorded
        finally:
            self.lifting, self._recorded, self._node = lifting, None, None

    @contextmanager
    def keeping(self, keys: frozenset[tuple[Spot | None, int]] | None) -> Iterator[None]:
        """While this is open, these requests of one pass stay as they are; with None all of them."""
        lifting, kept = self.lifting, self._kept
        self.lifting, self._kept = keys is not None, keys or frozenset()
        self._counts.clear()
        try:
            yield
        finally:
            self.lifting, self._kept = lifting, kept

    def at(self, node: Node | None) -> None:
        """The traced step that runs from now on."""
        self._node = node

    def behind(self, node: Node) -> None:
        """A step was traced without an announcement: requests that wait for one are its own."""
        if self._waiting and self._recorded is not None:
            for i in range(len(self._recorded) - self._waiting, len(self._recorded)):
                one = self._recorded[i]
                self._recorded[i] = Request(one.step, one.spot, one.number, node.id, _place(node))
            self._waiting = 0


class RequestPlaces(NodeObserver):
    """Tells the log within which step a request is made."""

    def __init__(self, log: Float32Log) -> None:
        self._log = log

    def before(self, node: Node, inputs: Values) -> None:
        """The step begins."""
        self._log.at(node)

    def after(self, node: Node, outputs: Values) -> None:
        """The step ends."""
        self._log.behind(node)
        self._log.at(None)


def _place(node: Node) -> str:
    return (node.path if node.sort == "layer" else node.scope) or ""


def with_float64(
    args: Any, kwargs: Any, asks: Any, wide: Any
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The arguments with float64 for every float32 among them; None where there is none.

    Args:
        args: by position; kwargs: by name.
        asks: whether a value asks for float32.
        wide: what asks for float64 in its place, a function of the value.
    """
    if not any(map(asks, args)) and not any(map(asks, kwargs.values())):
        return None
    return (
        tuple(wide(value) if asks(value) else value for value in args),
        {name: wide(value) if asks(value) else value for name, value in kwargs.items()},
    )
