"""What a training comparison needs of either side: loss, gradients, steps, and the state put back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from parity.core.rules import Hyperparameters, Rule, State
from parity.core.types import Array, Side


@dataclass
class WatchedCall:
    """One call of one watched layer: what came in, what came out, and the loss's gradient with respect to that.

    `gradient` is None where none is known, or where no path leads from the loss to this output.
    """

    path: str
    index: int
    inputs: list[Array]
    output: Array
    gradient: Array | None = None


@dataclass(frozen=True)
class Dropped:
    """One random layer that was switched off: its path where it is a layer, its rate and its kind."""

    path: str | None
    rate: float
    kind: str


class Drops:
    """What stands in the place of dropout in a pass: here nothing is dropped.

    Attributes:
        taken: the shape of what each random layer that is on takes, in execution order; None where it drops within a
            function of the framework, which nothing can be put in the place of.
    """

    def __init__(self) -> None:
        self.taken: list[tuple[int, ...] | None] = []

    def within(self) -> None:
        """A function of the framework drops within itself; it is switched off."""
        self.taken.append(None)

    def factor(self, shape: tuple[int, ...], rate: float, kind: str) -> Array | None:
        """What a random layer multiplies what it takes by; None where it hands it through.

        Args:
            shape: of what it takes, in the framework's own layout.
            rate: the share that it drops.
            kind: what it drops.
        """
        self.taken.append(shape)
        return None


@dataclass
class Evaluation:
    """Loss, outputs and gradients of one forward and backward pass.

    Attributes:
        loss: its value.
        outputs: the model's outputs by name.
        parameters: gradient by tensor path, None where no path leads to the tensor.
        inputs: gradient of every input, None for those that are not floating or not reached.
        calls: of the watched layers, in execution order.
        dropped: random layers that were on, in execution order.
        extras: losses that the model's own layers add, and what adds them; part of `loss` where the trainer's
            `with_extras` is set.
    """

    loss: float
    outputs: list[tuple[str, Array]]
    parameters: dict[str, Array | None]
    inputs: list[Array | None]
    calls: list[WatchedCall] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    extras: list[tuple[str, float]] = field(default_factory=list)


class Cuts:
    """Places at which a side keeps gradients from what lies in front: detach, no_grad, stop_gradient.

    Attributes:
        opened: numbers of those, in execution order, that let gradients pass all the same.
        places: file:line of each, of the last pass.
    """

    def __init__(self) -> None:
        self.opened: frozenset[int] = frozenset()
        self.places: list[str] = []

    def restart(self) -> None:
        """Forget the last pass."""
        self.places = []

    def passes(self, place: str) -> bool:
        """Note one cut; whether gradients are to pass it."""
        self.places.append(place)
        return len(self.places) - 1 in self.opened

    @contextmanager
    def let_through(self, numbers: Iterable[int]) -> Iterator[None]:
        """While this is open, gradients pass these cuts."""
        before, self.opened = self.opened, frozenset(numbers)
        try:
            yield
        finally:
            self.opened = before


class Trainer(Protocol):
    """One side in training. Arrays are NumPy, float64, in the framework's own layout.

    `trained_by_fit` says whether the framework's own loop puts the model into training mode. `with_extras` and
    `with_penalties` say whether the loss holds what the model's own layers add, and its weights' regularisers.
    `cuts` are the places of the last pass at which no gradient passes. `drops` stands in the place of dropout; None
    switches it off.
    """

    side: Side
    loss: Any
    trained_by_fit: bool
    with_extras: bool
    with_penalties: bool
    cuts: Cuts
    drops: Drops | None

    def statistics(self) -> Callable[[], None]:
        """Keep what a pass may change of the model, even in inference mode; returns a function that puts it back."""
        ...

    def session(self) -> AbstractContextManager[None]:
        """While this is open the model is in float64 and may be trained; then it is put back as it was."""
        ...

    def evaluate(
        self,
        inputs: Sequence[Array],
        targets: Sequence[Array] | None,
        *,
        training: bool,
        watch: Sequence[str] = (),
        forced: Mapping[tuple[str, int], Array] | None = None,
        shake: np.random.Generator | None = None,
    ) -> Evaluation:
        """Run forward and backward; `forced` replaces gradients with respect to watched outputs (torch only).

        With `shake`, what each operation gives is moved by one unit in the last place, up or down at random.

        Without targets, only forward.
        """
        ...

    def loss_of(self, outputs: Sequence[Array], targets: Sequence[Array]) -> float:
        """The loss of outputs that are given."""
        ...

    def state(self) -> dict[str, Array]:
        """Parameters and statistics by path."""
        ...

    def load(self, state: Mapping[str, Array]) -> None:
        """Set parameters and statistics."""
        ...

    def trainable(self) -> set[str]:
        """Paths of the parameters that training changes."""
        ...

    def penalties(self) -> dict[str, Array]:
        """Gradient of the model's own regularisers, by path of the parameter."""
        ...

    def penalty(self) -> float:
        """What the regularisers of the weights add to the loss."""
        ...

    def start(self, optimizer: Hyperparameters | Any) -> None:
        """Make a new optimizer, or take the given one, with an empty state."""
        ...

    def stop(self) -> None:
        """Drop the optimizer; a given one is left as it was."""
        ...

    def apply(self, gradients: Mapping[str, Array], step: int) -> None:
        """One step of the optimizer, counted from 0."""
        ...

    def count_step(self) -> None:
        """Count a step that was made without the optimizer, so that its schedule goes on."""
        ...

    def rates(self, updates: Sequence[int]) -> list[float]:
        """The schedule's learning rates of these updates, counted from 0: fewer where it ends, none where there is none."""
        ...

    def adopt_rate(self, rate: float) -> None:
        """Take this learning rate in the next step, in place of the optimizer's own, which is rounded."""
        ...

    def constraints(self) -> dict[str, str]:
        """What keeps weights within bounds after every step, in words, by path; "" is the whole model."""
        ...

    def constrained(self, weights: Mapping[str, Array]) -> dict[str, Array]:
        """These weights as the constraints leave them; the model is not changed."""
        ...

    def unconstrained(self) -> AbstractContextManager[None]:
        """While this is open, the framework's own constraints do nothing."""
        ...

    def loss_scale(self) -> str:
        """By what the loss is multiplied before the gradients are taken, in words; "" where it is not."""
        ...

    def unknown(self) -> list[str]:
        """What changes the training and is not compared, in words."""
        ...

    def own_hooks(self) -> list[str]:
        """What the user's own code does to gradients where no pass shows it all, in words."""
        ...

    def own_updates(self) -> list[str]:
        """The same of the optimizer's updates, and what it held already; known once a run was started."""
        ...

    def rules(self) -> dict[str, Rule]:
        """The update rule of each parameter at this moment; empty where the optimizer is of no known kind."""
        ...

    def optimizer_state(self) -> dict[str, State]:
        """The optimizer's state of each parameter, by the names that `parity.core.rules` gives."""
        ...

    def batchnorm(self, path: str, **changes: Any) -> AbstractContextManager[None]:
        """While this is open, a normalisation layer follows another rule: momentum, unbiased, frozen."""
        ...
