"""Which step of one trace is which of the other, weighted or not, once the weighted ones are paired."""

from __future__ import annotations

from collections.abc import Iterable

from parity.core.trace import Node, Trace
from parity.pairing.dataflow.marks import SILENT

Operands = tuple[tuple[int, int], ...]


def aligned_steps(keras: Trace, torch: Trace, paired: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """(Keras node, torch node) of the steps that do the same to what corresponds, in execution order.

    Weighted steps are given. A step without weights corresponds to the nearest one of its kind whose
    operands correspond; steps that only one side has (an activation that is built in on the other, a
    change of layout) are seen through.
    """
    alignment = _Alignment(keras, torch, paired)
    for node in keras.nodes:
        if node.id not in alignment.pairs and node.sort in {"layer", "op"}:
            alignment.find(node)
    return sorted(alignment.pairs.items())


class _Alignment:
    def __init__(self, keras: Trace, torch: Trace, paired: Iterable[tuple[int, int]]) -> None:
        self.keras, self.torch = keras, torch
        self.pairs: dict[int, int] = {**dict(paired), **dict(zip(keras.inputs, torch.inputs, strict=False))}
        self.names = {torch: keras for keras, torch in self.pairs.items()}
        self.users = torch.users()

    def find(self, node: Node) -> None:
        """Pair one Keras step, if there is a torch step for it."""
        operands = self._operands(self.keras, node, {name: name for name in self.pairs})
        if operands is None:
            return
        for through_all in (False, True):
            for candidate in self._behind(operands[0][0], through_all):
                alike = candidate.kind == node.kind
                if alike and self._operands(self.torch, candidate, self.names) == operands:
                    self.pairs[node.id] = candidate.id
                    self.names[candidate.id] = node.id
                    return

    def _operands(self, trace: Trace, node: Node, names: dict[int, int]) -> Operands | None:
        """The paired steps that a step stands on, by their Keras numbers, and which output of each it takes."""
        found = []
        waiting = _data(trace, node)
        while waiting:
            at, output = waiting.pop()
            if node.kind == trace.nodes[at].kind == "concat":  # nested concatenations are one
                waiting += _data(trace, trace.nodes[at])
                continue
            while at not in names:
                before = _data(trace, trace.nodes[at])
                if len(before) != 1:
                    return None
                at, output = before[0]
            found.append((names[at], output))
        return tuple(sorted(found)) or None

    def _behind(self, number: int, through_all: bool) -> list[Node]:
        """Unpaired torch steps behind the counterpart of a Keras step, the nearest first."""
        activation = self.keras.nodes[number].settings.get("activation")
        found: list[Node] = []
        seen: set[int] = set()
        waiting = [self.pairs[number]]
        while waiting:
            following: list[int] = []
            for at in waiting:
                for user in self.users[at]:
                    node = self.torch.nodes[user]
                    if user in self.names and node.kind == "concat" and user not in seen:
                        seen.add(user)
                        following.append(user)  # it may be part of a greater one
                    if user in seen or user in self.names or node.sort not in {"layer", "op"}:
                        continue
                    seen.add(user)
                    found.append(node)
                    handed_on = node.kind in SILENT or node.kind == activation or through_all
                    if handed_on and len(_data(self.torch, node)) == 1:
                        following.append(user)
            waiting = following
        return found


def _data(trace: Trace, node: Node) -> list[tuple[int, int]]:
    """(node, output) of the operands that are neither parameters nor constants."""
    return [
        (source.node, source.output)
        for source in node.inputs
        if trace.nodes[source.node].sort not in {"parameter", "constant"}
    ]
