"""Where a model asks for float32, by the paired layers that the step leads to, so that both sides' places correspond."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from parity.adapters.float32.log import Request, RequestPlaces
from parity.core.adapter import Adapter
from parity.core.trace import Node, Trace
from parity.core.types import Array, Side
from parity.pairing.pair import Pairing

OUTPUT = "(output)"
SOFTMAX = {"softmax", "log_softmax"}
MASKING = {"add", "sub", "mul", "div", "where", "masked_fill", "reshape", "identity", "cast"}
"""Steps between scores and their softmax."""
FEW = 4
"""Steps that are looked at behind a request."""


@dataclass(frozen=True)
class Placed:
    """A request for float32 with its place.

    Attributes:
        side: who asks.
        request: what was asked.
        group: requests of one group are lifted or kept together: the class of the layer that makes them.
        reaches: the Keras paths of the pairs within which it is made, or at which its result arrives first.
        softmax: whether it decides in what a softmax is computed.
    """

    side: Side
    request: Request
    group: str
    reaches: frozenset[str]
    softmax: bool

    @property
    def places(self) -> set[tuple[str, bool]]:
        """Where a counterpart must be: at one of these pairs, for a softmax or for anything else."""
        return {(path, self.softmax) for path in self.reaches}


@dataclass(frozen=True)
class Recorded:
    """What one side asked for in one pass.

    Attributes:
        asked: its requests.
        declared: the Keras paths that layers reach which were made to compute in float32.
    """

    asked: tuple[Placed, ...]
    declared: frozenset[str]


def recorded(model: Adapter, inputs: Sequence[Array], pairing: Pairing) -> Recorded:
    """One pass of a model that is held in float64, with its requests for float32.

    Args:
        model: one side.
        inputs: in its own layout.
        pairing: which layer is which.
    """
    with model.float32_seen(), model.float32.recording() as requests:
        trace = model.trace(inputs, RequestPlaces(model.float32))[1]
    partner = _partners(pairing, model.side)
    layers, users = model.layers(), trace.users()
    known: dict[int, frozenset[str]] = {}

    def reaches(node: int | None) -> frozenset[str]:
        if node is None or node >= len(trace.nodes):
            return frozenset()
        if node not in known:
            known[node] = _reached(trace, users, node, partner)
        return known[node]

    asked = [
        Placed(
            model.side,
            one,
            layers[one.place].kind if one.place in layers else "",
            reaches(one.node),
            _of_softmax(trace, users, one),
        )
        for one in requests
    ]
    declared = model.declared_float32()
    found = [
        reaches(node.id)
        for node in trace.nodes
        if (node.path if node.sort == "layer" else node.scope) in declared
    ]
    return Recorded(tuple(asked), frozenset().union(*found))


def _partners(pairing: Pairing, side: Side) -> dict[str, str]:
    """The Keras path of each paired layer of a side."""
    if side == "keras":
        return {pair.keras: pair.keras for pair in pairing.pairs}
    return {path: pair.keras for pair in pairing.pairs for path in pair.torch}


def _within(node: Node, partner: Mapping[str, str]) -> str | None:
    """The paired layer that a step is, or in which it runs."""
    path = node.path if node.sort == "layer" else node.scope
    while path:
        if path in partner:
            return partner[path]
        path = path.rpartition(".")[0]
    return partner.get("")


def _reached(
    trace: Trace, users: Mapping[int, list[int]], start: int, partner: Mapping[str, str]
) -> frozenset[str]:
    """The pairs within which a step runs, or else the first at which its result arrives."""
    own = _within(trace.nodes[start], partner)
    if own is not None:
        return frozenset({own})
    ends = {source.node for _, source in trace.outputs}
    found, queue, seen = set[str](), [start], {start}
    while queue:
        node = queue.pop()
        if node in ends:
            found.add(OUTPUT)
        for user in users[node]:
            pair = _within(trace.nodes[user], partner)
            if pair is not None:
                found.add(pair)
            elif user not in seen:
                seen.add(user)
                queue.append(user)
    return frozenset(found)


def _of_softmax(trace: Trace, users: Mapping[int, list[int]], one: Request) -> bool:
    """Whether a request is a softmax's own, or of the scores that go into one."""
    if one.step in SOFTMAX:
        return True
    nodes = [] if one.node is None or one.node >= len(trace.nodes) else [one.node]
    for _ in range(FEW):
        nodes = [user for node in nodes for user in users[node]]
        if any(trace.nodes[node].kind in SOFTMAX for node in nodes):
            return True
        nodes = [node for node in nodes if trace.nodes[node].kind in MASKING]
    return False


def one_sided(keras: Sequence[Placed], torch: Sequence[Placed], declared: frozenset[str]) -> list[Placed]:
    """The requests that have no counterpart within the same pair, or in front of the same one.

    Args:
        keras: those of Keras that matter; torch: those of torch.
        declared: places at which Keras layers were made to compute in float32.
    """
    both = {(path, softmax) for path in declared for softmax in (True, False)}
    places: dict[Side, set[tuple[str, bool]]] = {"keras": set(), "torch": both}
    for one in keras:
        places["torch"] |= one.places
    for one in torch:
        places["keras"] |= one.places
    return [one for one in [*keras, *torch] if not one.places & places[one.side]]


def grouped(asked: Sequence[Placed], by: Callable[[Placed], object]) -> list[list[Placed]]:
    """Those together of which a function gives the same."""
    found: dict[object, list[Placed]] = defaultdict(list)
    for one in asked:
        found[by(one)].append(one)
    return list(found.values())
