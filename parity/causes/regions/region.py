"""The steps of both sides between the last tensors that agree and two tensors that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from parity.causes.recorded import RecordedSteps, StepPlace
from parity.core.trace import Node, Source
from parity.core.types import Side

MOST = 60
"""Steps of one side: with more, nothing is said of them."""


@dataclass(frozen=True)
class Region:
    """The steps that lead to two tensors that differ.

    Attributes:
        keras: the Keras steps behind the last tensors that torch has too, in execution order; empty where none.
        torch: the same of torch.
        ends: the tensors that differ.
        starts: steps of either side that give the last tensors that agree.
    """

    keras: tuple[Node, ...]
    torch: tuple[Node, ...]
    ends: tuple[StepPlace, StepPlace]
    starts: tuple[tuple[Node, ...], tuple[Node, ...]]

    def nodes(self, side: Side) -> tuple[Node, ...]:
        """The steps of one side."""
        return self.keras if side == "keras" else self.torch


def region(steps: RecordedSteps, keras: Source | StepPlace, torch: Source | StepPlace) -> Region | None:
    """The steps behind two tensors; None where they are too many, or the Keras tensor is not known.

    Args:
        steps: both sides, recorded.
        keras: the Keras tensor; torch: torch's.
    """
    ends = StepPlace(keras.node, keras.output), StepPlace(torch.node, torch.output)
    keras_found, torch_found = _behind(steps, "keras", ends[0]), _behind(steps, "torch", ends[1])
    if steps.value("keras", ends[0]) is None or keras_found is None or torch_found is None:
        return None
    return Region(keras_found[0], torch_found[0], ends, (keras_found[1], torch_found[1]))


def _behind(
    steps: RecordedSteps, side: Side, end: StepPlace
) -> tuple[tuple[Node, ...], tuple[Node, ...]] | None:
    """The steps that lead to a tensor, behind the last that the other side has too; and the steps that gave those."""
    return walked(
        steps.traces[side].nodes,
        end,
        lambda place: steps.value(side, place) is not None and steps.twin(side, place) is not None,
    )


def walked(
    nodes: list[Node], end: StepPlace, agrees: Callable[[StepPlace], bool]
) -> tuple[tuple[Node, ...], tuple[Node, ...]] | None:
    """The steps that lead to a tensor, behind tensors that agree; and the steps that gave those."""
    queue, inner, starts = [end], set[int](), set[int]()
    seen: set[StepPlace] = set()
    while queue:
        place = queue.pop()
        if place in seen:
            continue
        seen.add(place)
        node = nodes[place.node]
        if node.sort == "input" or agrees(place):
            starts.add(node.id)
        elif node.sort in {"op", "layer"}:
            inner.add(node.id)
            queue += [StepPlace(item.node, item.output) for item in node.inputs]
        if len(inner) > MOST:
            return None
    return tuple(nodes[i] for i in sorted(inner)), tuple(nodes[i] for i in sorted(starts - inner))
