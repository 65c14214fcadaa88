"""What each block of a written cell's rows does in its step, read from the trace: which gate it is, in Keras' order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parity.core.trace import Node, Source, Trace
from parity.pairing.dataflow.marks import window
from parity.pairing.recurrent.loops import Loop

SHAPING = frozenset({"identity", "cast", "reshape", "dropout"})
"""Steps that apply nothing to a gate."""


@dataclass(frozen=True)
class GateFlow:
    """What a tensor is made of: blocks of rows, the rows themselves where nothing was mixed, and what was applied last."""

    blocks: frozenset[int]
    rows: tuple[int, int] | None = None
    applied: str = ""

    @property
    def alone(self) -> bool:
        """Whether it is one gate."""
        return len(self.blocks) == 1


Product = tuple[GateFlow | None, GateFlow | None, Node]


def gate_order(trace: Trace, loop: Loop, count: int) -> tuple[int, ...] | None:
    """Which block of torch's rows stands where in Keras; None where the step does not say it.

    Args:
        trace: the torch pass.
        loop: the written cell.
        count: how many gates it has.
    """
    step = _CellStep(trace, loop, count)
    if count == 1:
        return (0,)
    return step.lstm() if count == 4 else step.gru()


class _CellStep:
    """The last step of a cell: what its blocks of rows become."""

    def __init__(self, trace: Trace, loop: Loop, count: int) -> None:
        self.trace, self.rows = trace, loop.of_state.shape[0]
        self.size = max(self.rows // count, 1)
        self.calls = trace.calls(loop.modules[-1])
        self.flows = {(self.calls[-1].id, 0): GateFlow(frozenset(range(count)), (0, self.rows))}
        self.products: list[Product] = []
        for node in trace.nodes[self.calls[-1].id + 1 :]:
            self._pass(node)

    def _flow(self, source: Source) -> GateFlow | None:
        return self.flows.get((source.node, source.output))

    def _pass(self, node: Node) -> None:
        """Follow a step, up to the next layer that has a kernel."""
        known = [flow for source in node.inputs if (flow := self._flow(source)) is not None]
        if not known or node.kind in {"conv", "dense", "concat", "stack"}:
            return
        if node.kind == "slice" and len(node.inputs) == 1:
            for output in range(len(node.shapes)):
                self.flows[node.id, output] = self._sliced(node, known[0], output)
            return
        if node.kind == "mul" and len(node.inputs) == 2:
            first, second = (self._flow(source) for source in node.inputs)
            self.products.append((first, second, node))
        flow = GateFlow(frozenset[int]().union(*(one.blocks for one in known)))
        if len({one.rows for one in known}) == 1 and node.kind == "add":
            flow = GateFlow(flow.blocks, known[0].rows)
        elif len(node.inputs) == 1:
            applied = known[0].applied if node.kind in SHAPING else node.kind
            flow = GateFlow(flow.blocks, known[0].rows, applied)
        self.flows[node.id, 0] = flow

    def _sliced(self, node: Node, flow: GateFlow, output: int) -> GateFlow:
        """The rows that a slice leaves."""
        front = node.inputs[0]
        found = window(node, self.trace.nodes[front.node].shapes[front.output], output)
        if flow.rows is None or len(found) != 1 or len(found[0]) != 3:
            return GateFlow(flow.blocks)
        start, length, size = found[0]
        first, end = flow.rows
        if size != end - first or start % self.size or length % self.size or not 0 <= start < size:
            return GateFlow(flow.blocks)
        blocks = range((first + start) // self.size, (first + start + length) // self.size)
        return GateFlow(frozenset(blocks), (first + start, first + start + length), flow.applied)

    def _state(self, source: Source) -> bool:
        """Whether a tensor is of the step before alone."""
        seen, ahead = set[int](), [source.node]
        while ahead:
            number = ahead.pop()
            if number == self.calls[-2].id:
                return (source.node, source.output) not in self.flows
            if number not in seen:
                seen.add(number)
                ahead += [item.node for item in self.trace.nodes[number].inputs]
        return False

    def _with_state(self) -> Iterator[int]:
        """Gates that multiply a state."""
        for first, second, node in self.products:
            for flow, source in ((first, node.inputs[1]), (second, node.inputs[0])):
                if flow is not None and flow.alone and self._state(source):
                    yield min(flow.blocks)

    def _pairs(self, others: int) -> Iterator[tuple[GateFlow, GateFlow]]:
        """(gate, what it multiplies) of products with something of so many other gates."""
        for product in self.products:
            for one, two in (product[:2], product[1::-1]):
                if one is None or two is None or not one.alone:
                    continue
                if len(two.blocks) == others and not one.blocks & two.blocks:
                    yield one, two

    def lstm(self) -> tuple[int, ...] | None:
        """The blocks of i, f, c and o: f times the state, i times c, o times the rest."""
        forget, out = set(self._with_state()), list(self._pairs(3))
        if len(forget) != 1 or len(out) != 1:
            return None
        (f,), o, inner = forget, min(out[0][0].blocks), list(self._pairs(1))
        candidates = [
            (min(i.blocks), min(g.blocks))
            for i, g in inner
            if g.applied == out[0][1].applied != i.applied
            or ("sigmoid" in i.applied and "sigmoid" not in g.applied)
        ]
        if len(inner) != 2 or len(candidates) != 1:
            return None
        found = (candidates[0][0], f, candidates[0][1], o)
        return found if sorted(found) == [0, 1, 2, 3] else None

    def gru(self) -> tuple[int, ...] | None:
        """The blocks of z, r and h, where r is behind the product with the state, and z keeps the state."""
        reset = [(min(r.blocks), min(n.blocks)) for r, n in self._pairs(1) if r.applied and not n.applied]
        if len(reset) != 1:
            return None
        (r, n), kept = reset[0], set(self._with_state()) | set(self._towards_state())
        return (*kept, r, n) if kept == {3 - r - n} and not set(self._turned()) else None

    def _towards_state(self) -> Iterator[int]:
        """Gates that multiply a state less something else."""
        yield from self._differences(0)

    def _turned(self) -> Iterator[int]:
        """Gates that multiply something less a state, or are taken from one before they multiply a state."""
        yield from self._differences(1)
        for first, second, node in self.products:
            for flow, place in ((first, 0), (second, 1)):
                made = self.trace.nodes[node.inputs[place].node]
                if flow is not None and made.kind in {"sub", "neg"} and self._state(node.inputs[1 - place]):
                    yield min(flow.blocks)

    def _differences(self, place: int) -> Iterator[int]:
        for first, second, node in self.products:
            for flow, source in ((first, node.inputs[1]), (second, node.inputs[0])):
                made = self.trace.nodes[source.node]
                operands: Sequence[Source] = made.inputs
                if flow is None or not flow.alone or made.kind != "sub" or len(operands) != 2:
                    continue
                if self._state(operands[place]) and made.label not in {"rsub"}:
                    yield min(flow.blocks)
