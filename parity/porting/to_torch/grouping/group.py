"""A group of steps of a flat graph, which becomes a class of its own, as a scope."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from parity.porting.to_torch.naming import identifier
from parity.porting.to_torch.use import flat
from parity.porting.to_torch.values import is_layer, is_tensor, is_variable


@dataclass(eq=False)
class GroupName:
    """What stands for the layer in the step of a group: its name."""

    name: str


@dataclass(eq=False)
class StepGroup:
    """The scope of a group of steps.

    Attributes:
        kind: the class's name.
        key: the part of the layers' names that all have, such as conv2_block1.
        entries: tensors from outside, in the order in which the steps take them.
        exits: tensors that steps outside take.
    """

    kind: str
    key: str
    steps: list[Any]
    entries: list[Any]
    exits: list[Any]
    owner: Any = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def outputs(self) -> Any:
        """What it gives: one tensor, or a tuple of them."""
        return self.exits[0] if len(self.exits) == 1 else tuple(self.exits)

    def title(self) -> str:
        """The class's name."""
        return self.kind

    def inputs_named(self) -> list[tuple[str, Any]]:
        """The entries with names."""
        if len(self.entries) == 1:
            return [("x", self.entries[0])]
        return [
            ("x" if n == 0 else f"skip{n if len(self.entries) > 2 else ''}", t)
            for n, t in enumerate(self.entries)
        ]


@dataclass(eq=False)
class GroupStep:
    """The step of a group in the graph around it."""

    operation: GroupName
    scope: StepGroup
    args: tuple[Any, ...]
    outputs: Any
    kwargs: dict[str, Any] = field(default_factory=dict)
    places: tuple[Any, ...] = ()
    short: str = ""

    @property
    def name(self) -> str:
        """The group's own name."""
        return self.operation.name


def tensors_in(step: Any) -> list[Any]:
    """The tensors that a step takes."""
    return [value for value in flat((step.args, step.kwargs)) if is_tensor(value) and not is_variable(value)]


def tensors_out(step: Any) -> list[Any]:
    """The tensors that a step gives, but for those that it passes on."""
    taken = {id(value) for value in tensors_in(step)}
    return [value for value in flat(step.outputs) if is_tensor(value) and id(value) not in taken]


def automatic(step: Any) -> bool:
    """Whether the step's name was made up by Keras, or is that of an operation."""
    if not is_layer(step.operation):
        return not isinstance(step.operation, GroupName)
    stem = re.sub(r"[^a-z0-9]", "", type(step.operation).__name__.lower())
    return re.fullmatch(rf"{stem}\d*", step.name.replace("_", "").lower()) is not None


def bounds(members: list[Any], steps: list[Any], outputs: list[Any]) -> tuple[list[Any], list[Any]] | None:
    """The entries and exits of some steps; None where a path leaves them and comes back."""
    inside = {id(step) for step in members}
    made = {id(tensor) for step in members for tensor in tensors_out(step)}
    entries: dict[int, Any] = {}
    for step in members:
        for tensor in tensors_in(step):
            if id(tensor) not in made:
                entries.setdefault(id(tensor), tensor)
    tainted: set[int] = set()
    for step in steps:
        taken = {id(tensor) for tensor in tensors_in(step)}
        if id(step) in inside:
            if taken & tainted:
                return None
        elif taken & (made | tainted):
            tainted |= {id(tensor) for tensor in tensors_out(step)}
    wanted = {id(t) for step in steps if id(step) not in inside for t in tensors_in(step)} | {
        id(t) for t in outputs
    }
    exits = [tensor for step in members for tensor in tensors_out(step) if id(tensor) in wanted]
    return list(entries.values()), exits


def collapsed(steps: list[Any], groups: list[StepGroup]) -> list[Any]:
    """The steps with every group as one step, in an order in which each one finds what it takes."""
    of = {id(step): group for group in groups for step in group.steps}
    made: dict[int, GroupStep] = {}
    found: list[Any] = []
    for step in steps:
        group = of.get(id(step))
        if group is None:
            found.append(step)
        elif id(group) not in made:
            made[id(group)] = GroupStep(
                GroupName(identifier(group.key)), group, tuple(group.entries), group.outputs
            )
            found.append(made[id(group)])
    return ordered(found)


def ordered(steps: list[Any]) -> list[Any]:
    """The same steps, each one behind what it needs, else in their order."""
    home = {id(tensor): step for step in steps for tensor in tensors_out(step)}
    done: set[int] = set()
    result: list[Any] = []

    def visit(step: Any) -> None:
        if id(step) in done:
            return
        done.add(id(step))
        for tensor in tensors_in(step):
            if id(tensor) in home:
                visit(home[id(tensor)])
        result.append(step)

    for step in steps:
        visit(step)
    return result
