"""What parity needs to know of a model, whichever framework it is written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from parity.core.trace import CodePlace, Look, NodeObserver, Trace
from parity.core.types import Array, LayerInfo, Side

Blueprint = tuple[dict[str, Any], dict[str, Array]]
"""How to rebuild one layer, and its weights by name."""

LARGEST_WEIGHTS = 16 * 2**20
"""Bytes of a layer's weights that a report may carry."""


def joined(path: str, name: str) -> str:
    """The path of a part: of a layer within its parent, or of a tensor within its layer."""
    return f"{path}.{name}" if path else name


@dataclass(frozen=True)
class Form:
    """How a model is called with its inputs.

    Attributes:
        names: of the inputs in their order, as keywords; None hands them over by position.
        as_dict: one dictionary of them is the only argument.
        constants: further keyword arguments, the same in every call.
        renamed: (own name, name to give it) of each output, in the order in which to give them; empty: as they are.
    """

    names: tuple[str, ...] | None = None
    as_dict: bool = False
    constants: Mapping[str, Any] = field(default_factory=dict)
    renamed: tuple[tuple[str, str], ...] = ()

    def arguments(self, tensors: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments of the call."""
        if self.names is None:
            return list(tensors), dict(self.constants)
        named = dict(zip(self.names, tensors, strict=True))
        return ([named], dict(self.constants)) if self.as_dict else ([], {**named, **self.constants})


@dataclass(frozen=True)
class Takes:
    """What a model takes, by the names of its inputs.

    Attributes:
        names: in the order of the call.
        more: whether it takes further names.
        lone: whether it takes one argument alone, which may be a dictionary.
        ordered: whether inputs in the order of `names` are what it takes.
        by_key: whether its inputs are the values of a dictionary.
    """

    names: tuple[str, ...]
    more: bool = False
    lone: bool = False
    ordered: bool = False
    by_key: bool = False


class Observer:
    """Sees every call of a watched layer, and may replace what goes in and what comes out."""

    def before(self, path: str, index: int, inputs: list[Array]) -> list[Array] | None:
        """Called with the layer's path, the number of this call of it (from 0), and its input tensors."""
        return None

    def after(
        self, path: str, index: int, inputs: list[Array], outputs: list[Array], linear: list[Array] | None
    ) -> list[Array] | None:
        """Called with the outputs too; a returned list replaces them.

        `linear` is what the layer gave before its built-in activation, where it has one.
        """
        return None


class Adapter(Protocol):
    """A model seen through one interface. Arrays are NumPy, in the framework's own layout."""

    side: Side
    form: Form
    """How the model is called."""
    keys: tuple[Any, ...]
    """The keys of the inputs, in the order of their values, where they were given by name."""
    orders: tuple[tuple[int, ...], ...]
    """Of the Keras side: for each input its axes in the order in which the torch side takes them; empty: not known yet."""
    said: tuple[str, ...]
    """Of the Keras side: what is worth knowing of how the inputs are handed over."""
    float32: Any
    """What the model asks for in float32 while it is held in float64 (parity.adapters.float32.log)."""

    def float32_seen(self) -> AbstractContextManager[None]:
        """While this is open, what the model asks for in float32 goes past `float32`."""
        ...

    def declared_float32(self) -> set[str]:
        """Paths of the layers that were made to compute in float32."""
        ...

    def like(self, value: Any, array: Array) -> Any:
        """An array as a tensor of the framework, in the place of another."""
        ...

    def takes(self) -> Takes:
        """The names of the model's inputs."""
        ...

    def layers(self) -> dict[str, LayerInfo]:
        """Every layer by path, in definition order, a shared layer once."""
        ...

    def read(self, path: str) -> Array:
        """The value of a tensor."""
        ...

    def peek(self, path: str) -> Array:
        """The same without a copy, where the model's memory can be looked at. Do not change it or keep it."""
        ...

    def write(self, path: str, value: Array, fresh: bool = False) -> None:
        """Set the value of a tensor; a fresh array is the caller's no more, so that it need not be copied."""
        ...

    def held(self, path: str) -> Callable[[], None]:
        """What puts the value back that a tensor has now, whatever is written into it until then."""
        ...

    def input_specs(self) -> list[list[tuple[tuple[int | None, ...], str]]]:
        """Alternatives for the inputs, each (shape without the batch axis, dtype); empty where unknown."""
        ...

    def forward(self, inputs: Sequence[Array], *, training: bool = False) -> list[tuple[str, Array]]:
        """Evaluate the model; returns its output tensors with their names."""
        ...

    def in_turn(
        self, inputs: Sequence[Sequence[Array]], after: Callable[[int], None] | None = None
    ) -> list[list[tuple[str, Array]]]:
        """Evaluate on one input after the other; what the model keeps from call to call stays until the last one.

        `after` is called behind each of them with its number.
        """
        ...

    def in_modes(self, inputs: Sequence[Array]) -> dict[str, list[tuple[str, Array]]]:
        """Outputs in other modes that an evaluation may run in and that must change nothing, by the mode's name."""
        ...

    def unfused(self) -> AbstractContextManager[None]:
        """While this is open, the framework takes no short cut of its own that it does not take in a traced pass."""
        ...

    def kept(self) -> list[tuple[str, Any, dict[str, Any]]]:
        """The layers with their paths, and the attributes that the framework's base class has not, and buffers."""
        ...

    def values(self, value: Any) -> Array | None:
        """The values of a tensor of the framework, without a copy where that can be; None for anything else."""
        ...

    def random_state(self) -> dict[str, Any]:
        """Marks of the framework's own generators of random numbers."""
        ...

    def trace(
        self,
        inputs: Sequence[Array],
        observer: NodeObserver | None = None,
        attention: bool = False,
        last: bool = False,
    ) -> tuple[list[tuple[str, Array]], Trace]:
        """Evaluate the model once, in inference mode; returns its outputs, and the graph of what was run.

        With `attention`, the layers and steps within an attention layer are steps of their own. With `last`, torch's last
        steps are kept, so that they can be run again.
        """
        ...

    def traces(
        self, inputs: Sequence[Array], looks: Sequence[Look]
    ) -> tuple[list[tuple[str, Array]], list[Trace]]:
        """The same with several graphs of one evaluation; observers see it, and change nothing."""
        ...

    def computed(self) -> dict[str, str]:
        """What computes a weight anew in every pass, or in every step of training, by the weight's path."""
        ...

    def refuses(self, path: str, value: Array) -> str:
        """Why a weight that is computed cannot become this value, in a sentence; empty where it can."""
        ...

    def storage(self, path: str) -> int:
        """An identity of the tensor's memory: the same for tied tensors."""
        ...

    def watched(self, observer: Observer, paths: set[str]) -> AbstractContextManager[None]:
        """While this is open, calls of the layers at `paths` are shown to the observer."""
        ...

    def step_by_step(self, paths: set[str]) -> AbstractContextManager[None]:
        """While this is open, the recurrent cells at `paths` are shown step by step, not pass by pass."""
        ...

    def run_layer(self, path: str, inputs: Sequence[Array]) -> list[Array]:
        """Evaluate one layer alone."""
        ...

    def made_at(self, path: str) -> CodePlace | None:
        """Where in the user's sources the layer at a path is made; None where they do not say it."""
        ...

    def blueprint(self, path: str) -> Blueprint | None:
        """How to rebuild one layer without the model's code, and its weights; None where that is impossible."""
        ...

    def trial(
        self, path: str, inputs: Sequence[Array], weights: Mapping[str, Array], settings: Mapping[str, Any]
    ) -> list[Array] | None:
        """Evaluate one layer with other weights and attributes; None where it lacks one of them, or refuses them."""
        ...

    def full_multiplication(self) -> AbstractContextManager[bool]:
        """While this is open, float32 is multiplied without TF32; gives whether that was allowed."""
        ...

    def precision(self, dtype: str) -> AbstractContextManager[None]:
        """While this is open, the same weights are held and computed with in `dtype`."""
        ...
