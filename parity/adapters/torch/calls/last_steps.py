"""The last steps of a pass of a torch module, kept as they were called, and run again without the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from parity.adapters.torch.tensors import as_array, leaves_of, replaced
from parity.adapters.torch.weights import peek, to_numpy
from parity.core.trace import Node, Rerun, Values
from parity.core.types import Array

BYTES = 2**27
"""Tensors that are kept at most, the newest ones."""
DEPTH = 4
"""Steps between an output and the farthest one that is run again for it."""


@dataclass(frozen=True)
class _Step:
    """One call.

    Attributes:
        node: the step.
        function, args, kwargs: what ran.
        taken: the tensors among the arguments.
        free: which of them a step of the pass made, or an input; the others are weights and constants.
        made: the tensors that it gave.
    """

    node: Node
    function: Callable[..., Any]
    args: Any
    kwargs: Any
    taken: list[torch.Tensor]
    free: list[bool]
    made: list[torch.Tensor]

    @property
    def size(self) -> int:
        tensors = [*self.made, *(one for one, free in zip(self.taken, self.free, strict=True) if free)]
        return sum(one.numel() * one.element_size() for one in tensors)


class NewestSteps:
    """Keeps steps while a pass runs, the newest ones; nothing that was written to since."""

    def __init__(self) -> None:
        self._steps: deque[_Step] = deque()
        self._size = 0

    def ran(
        self,
        node: Node,
        function: Callable[..., Any],
        arguments: tuple[Any, Any],
        taken: list[Any],
        free: list[bool],
        made: list[Any],
        wrote: bool,
    ) -> None:
        """Keep a step that has run; one that writes to a tensor may change what others were given: they are let go."""
        if wrote:
            self._steps.clear()
            self._size = 0
            return
        self._steps.append(_Step(node, function, *arguments, taken, free, made))
        self._size += self._steps[-1].size
        while self._size > BYTES:
            self._size -= self._steps.popleft().size

    def behind(
        self, outputs: Sequence[Any], as_in_a_pass: Callable[[], AbstractContextManager[None]]
    ) -> Last:
        """The steps that lead to the outputs, each a few steps in front of one."""
        made = {id(tensor): step for step in self._steps for tensor in step.made}
        wanted: dict[int, _Step] = {}
        ends = list(outputs)
        for _ in range(DEPTH):
            steps = {id(step): step for end in ends if (step := made.get(id(end))) is not None}
            wanted |= steps
            ends = [tensor for step in steps.values() for tensor in step.taken]
        return Last([step for step in self._steps if id(step) in wanted], list(outputs), as_in_a_pass)


@dataclass(frozen=True)
class Last:
    """The last steps of a pass (`parity.core.trace.LastSteps`).

    Attributes:
        steps: in the order in which they ran.
        outputs: what the pass gave: tensors, arrays and numbers.
        as_in_a_pass: holds the module as it is held in a pass.
    """

    steps: list[_Step]
    outputs: list[Any]
    as_in_a_pass: Callable[[], AbstractContextManager[None]]

    def again(self, runs: Sequence[Rerun]) -> list[list[Array]]:
        """The outputs of each run."""
        with self.as_in_a_pass():
            return [self._again(run) for run in runs]

    def _again(self, run: Rerun) -> list[Array]:
        fresh: dict[int, torch.Tensor] = {}

        def given(leaf: Any) -> Any:
            return fresh.get(id(leaf), leaf)

        for step in self.steps:
            for tensor, free in zip(step.taken, step.free, strict=True):
                if free and run.start is not None and id(tensor) not in fresh and tensor.is_floating_point():
                    fresh[id(tensor)] = replaced(tensor, [run.start(to_numpy(tensor))])
            args, kwargs = pytree.tree_map(given, (step.args, step.kwargs))
            if run.observer is not None and step.taken:
                run.observer.before(step.node, Values(list(map(given, step.taken)), to_numpy, peek))
            outputs = step.function(*args, **kwargs)
            made = _tensors(outputs)
            if run.observer is not None:
                after = run.observer.after(step.node, Values(made, to_numpy, peek))
                made = made if after is None else _tensors(replaced(outputs, after))
            fresh |= {id(old): new for old, new in zip(step.made, made, strict=True)}
        return [as_array(given(leaf)) for leaf in self.outputs]


def _tensors(structure: Any) -> list[torch.Tensor]:
    return [leaf for leaf in leaves_of(structure) if isinstance(leaf, torch.Tensor)]
