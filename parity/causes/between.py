"""What was done between two layers: the steps of both graphs behind the last tensors that agree.

Both passes are recorded step by step, the torch one with every paired layer giving the Keras values. From a tensor
that differs, both graphs are followed back to tensors that agree; the steps in between hold the fault. Steps are
matched by their values, not by their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from parity.causes.attention.positions import explain_positions
from parity.causes.case import Explanation, Hypothesis
from parity.causes.recorded import RecordedSteps, StepPlace, equal_tensors
from parity.causes.steps.identify import identify
from parity.causes.wiring import Tensor, explain_arrival
from parity.core.layout import activation_to_keras, activation_to_torch, aligned
from parity.core.trace import Node, Source
from parity.core.types import Array

REACH = 24
"""Steps that are followed back on either side."""


class Between(RecordedSteps):
    """What was done between two tensors that differ, read from the steps in between."""

    def explain(self, keras: Source, torch: Source, place: tuple[str, str]) -> Iterator[Hypothesis]:
        """What may make two tensors differ, from the steps that lead to them, the likeliest first.

        Args:
            keras: the Keras tensor; torch: torch's.
            place: what to call the place on either side.
        """
        # A tensor that the other side has too is at least not the one that belongs here.
        keras_places = self._behind("keras", keras) or [StepPlace(keras.node, keras.output)]
        torch_places = self._behind("torch", torch) or [StepPlace(torch.node, torch.output)]
        ends = StepPlace(keras.node, keras.output), StepPlace(torch.node, torch.output)
        for steps in _earliest_first(keras_places, torch_places):
            for item in self._of_steps(*steps, place):
                yield Hypothesis((item,), steps, ends)

    def holds(
        self, hypothesis: Hypothesis, place: tuple[str, str]
    ) -> tuple[bool | None, tuple[Array, Array] | None]:
        """Whether the same two steps show the same here, and the tensors they show it in.

        None where the two steps were not run, or give the same.
        """
        assert hypothesis.steps is not None
        steps: tuple[StepPlace, StepPlace] = hypothesis.steps
        known = [steps[i].node < len(self.traces[side].nodes) for i, side in enumerate(("keras", "torch"))]
        keras, torch = (
            (self.value("keras", steps[0]), self.value("torch", steps[1])) if all(known) else (None, None)
        )
        if keras is None or torch is None or equal_tensors(keras, torch):
            return None, None
        found = [Hypothesis((item,)).claims for item in self._of_steps(*steps, place)]
        return (hypothesis.seen or hypothesis.claims) in found and self.settles(hypothesis), (keras, torch)

    def values(self, hypothesis: Hypothesis) -> tuple[Array, Array] | None:
        """The two tensors in which steps show a hypothesis, as torch lays them out."""
        if hypothesis.steps is None:
            return None
        keras, torch = self.value("keras", hypothesis.steps[0]), self.value("torch", hypothesis.steps[1])
        return None if keras is None or torch is None else (keras, torch)

    def _behind(self, side: str, source: Source) -> list[StepPlace]:
        """Tensors on the way to this one that the other side has not, the earliest first."""
        trace, queue = self.traces[side], [StepPlace(source.node, source.output)]
        found: list[StepPlace] = []
        seen: set[StepPlace] = set()
        while queue and len(found) < REACH:
            place = queue.pop(0)
            value = self.value(side, place)
            if place in seen or value is None:
                continue
            seen.add(place)
            if self.twin(side, place) is not None:
                continue
            found.append(place)
            queue += [StepPlace(item.node, item.output) for item in trace.nodes[place.node].inputs]
        return sorted(found, key=lambda place: place.node)

    def _taken(self, side: str, place: StepPlace) -> list[StepPlace]:
        """The tensors that a step took."""
        places = [StepPlace(item.node, item.output) for item in self.traces[side].nodes[place.node].inputs]
        return [item for item in places if self.value(side, item) is not None]

    def _roots(self, side: str, place: StepPlace) -> list[Tensor]:
        """The tensors that both sides have, from which the steps of one side come to this one."""
        found, queue, seen = [], [place], set()
        while queue:
            for item in self._taken(side, queue.pop(0)):
                twin = self.twin(side, item)
                if item not in seen and twin is not None:
                    value = self.value(side, item) if side == "keras" else twin
                    node = self.traces[side].nodes[item.node]
                    if value is not None:
                        found.append(Tensor(f"the output of {node.label}", value, node.sort == "input"))
                elif item not in seen:
                    queue.append(item)
                seen.add(item)
        return found

    def _of_steps(self, keras: StepPlace, torch: StepPlace, place: tuple[str, str]) -> list[Explanation]:
        """The cause that one step of each side shows."""
        values = self.value("keras", keras), self.value("torch", torch)
        if values[0] is None or values[1] is None:
            return []
        nodes = self.traces["keras"].nodes[keras.node], self.traces["torch"].nodes[torch.node]
        text = f" (step {nodes[0].label} in Keras, {nodes[1].label} in torch)"
        roots = [root.value for root in self._roots("keras", keras)]
        several = len(self._inputs["keras"][0]) > 1  # of one example, every tensor is the same for all
        if several and (shifted := explain_positions(values[0], values[1], place, roots)):
            return [_with(item, text, None) for item in shifted]
        unlike = self._of_unlike_operands(keras, torch, values[0], values[1], place)
        if unlike is not None:
            return [_with(item, text, None) for item in unlike]
        sources = self._roots("torch", torch) if self.twin("torch", torch) is None else [
            Tensor(f"the output of {nodes[1].label}", values[1], nodes[1].sort == "input")
        ]  # fmt: skip
        layers = (nodes[0].path, nodes[1].path) if nodes[0].sort == nodes[1].sort == "layer" else None
        held = self.twin("keras", keras) is not None, self.twin("torch", torch) is not None
        given = values[1]
        if _is_sequence(values[0], given):
            given = activation_to_torch(given)
            sources = [replace(source, value=activation_to_torch(source.value)) for source in sources]
        named = _place(nodes[0], place[0]), _place(nodes[1], place[1])
        found = explain_arrival(values[0], given, sources, named, held=held, shown=False) if sources else []
        found = [item for item in found if self._possible(item.cause, keras, torch)]
        return [_with(item, text, layers) for item in found]

    def possible(self, cause: str, keras: Source, torch: Source) -> bool:
        """Whether what leads to two tensors can have this cause, where the graphs tell."""
        return self._possible(cause, StepPlace(keras.node, keras.output), StepPlace(torch.node, torch.output))

    def _possible(self, cause: str, keras: StepPlace, torch: StepPlace) -> bool:
        """Whether the steps are of a kind that can have this cause, where the graphs tell."""
        if cause == "concat-order":
            return self._concatenates("keras", keras) and self._concatenates("torch", torch)
        if cause.startswith("resize-"):
            kinds = {self.traces["keras"].nodes[keras.node].kind, self.traces["torch"].nodes[torch.node].kind}
            return not kinds & {"average_pool", "max_pool", "slice"}
        return True

    def _concatenates(self, side: str, place: StepPlace) -> bool:
        """Whether a concatenation is among the steps behind the tensors that both sides have."""
        queue, seen = [place], set()
        while queue:
            item = queue.pop()
            if item in seen:
                continue
            seen.add(item)
            if self.traces[side].nodes[item.node].kind == "concat":
                return True
            queue += [known for known in self._taken(side, item) if self.twin(side, known) is None]
        return False

    def _of_unlike_operands(
        self,
        keras: StepPlace,
        torch: StepPlace,
        keras_value: Array,
        torch_value: Array,
        place: tuple[str, str],
    ) -> list[Explanation] | None:
        """What tells the operands apart where both sides take one step, of unlike tensors; None where they do not."""
        operands = self._taken("keras", keras), self._taken("torch", torch)
        if len(operands[0]) != 1 or len(operands[1]) != 1:
            return None
        x, z = self.value("keras", operands[0][0]), self.value("torch", operands[1][0])
        if x is None or z is None or equal_tensors(x, z):
            return None
        steps = identify(x, keras_value), identify(z, torch_value)
        kind = steps[0].kind if steps[0] is not None else ""
        turned = _is_turned(x, keras_value) and _is_turned(z, torch_value)
        if not turned and (steps[0] is None or steps[0] != steps[1] or kind == "identity"):
            return None
        twins = self.twin("keras", operands[0][0]), self.twin("torch", operands[1][0])
        certain = any(twin is not None for twin in twins)
        roots = [*self._roots("keras", keras), *self._roots("torch", torch)]
        if _is_sequence(x, z):
            z = activation_to_torch(z)
        held = twins[0] is not None, twins[1] is not None
        found = explain_arrival(x, z, roots, place, certain, held)
        return [applied_twice(item, kind) for item in found]


def _is_turned(given: Array, result: Array) -> bool:
    """Whether a step turned a sequence round."""
    alike = given.ndim == 3 and given.shape == result.shape
    return alike and any(np.array_equal(np.flip(given, axis), result) for axis in (1, 2))


def _is_sequence(keras: Array, torch: Array) -> bool:
    """Whether torch holds its features last, as Keras does: (N, T, C), where `keras` is (N, C, T)."""
    if not keras.ndim == torch.ndim == 3:
        return False
    fit = aligned(activation_to_keras(keras), torch)
    return fit is not None and fit[1] == "as it is" and keras.shape != torch.shape


def _earliest_first(
    keras: Sequence[StepPlace], torch: Sequence[StepPlace]
) -> Iterator[tuple[StepPlace, StepPlace]]:
    """Each place with each, the earliest with the earliest first."""
    pairs = [(i + j, a, b) for i, a in enumerate(keras) for j, b in enumerate(torch)]
    for _, a, b in sorted(pairs, key=lambda item: item[0]):
        yield a, b


def applied_twice(item: Explanation, kind: str) -> Explanation:
    """A softmax that one side lacks in front of a softmax is one that the other side applies twice."""
    if kind == item.lone == "softmax" and item.cause == "activation-missing":
        return replace(item, cause="double-softmax", fix="leave the second softmax out")
    return item


def _with(item: Explanation, text: str, layers: tuple[str | None, str | None] | None) -> Explanation:
    return replace(item, evidence=item.evidence + text, layers=layers)


def _place(node: Node, behind: str) -> str:
    """What to call the place of a step: the layer, or the step in front of the place that is looked at."""
    if node.sort == "layer" and node.path is not None:
        return node.path
    return behind if node.sort in {"input", "parameter", "constant"} else f"{node.label} in front of {behind}"
