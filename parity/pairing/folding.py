"""A convolution's bias in front of a BatchNorm, on one side alone: it is part of the running mean.

Where it reaches BatchNorms through sums and pooling alone (residual networks that normalise first), the side that lacks
it does the same as one whose bias is zero: it is set to zero there, and a bias of another value is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from parity.core.trace import Node, Trace
from parity.core.types import KERNELS, Side
from parity.pairing.by_name import Matcher
from parity.pairing.slots import Constant

MEANS = {"moving_mean", "running_mean"}
HANDED_ON = {"identity", "dropout", "cast"}
CARRIED_ON = HANDED_ON | {"add", "max_pool", "average_pool", "pad", "slice"}
"""Steps behind which a bias is still one for each channel, or nearly so."""


def fold_biases(matcher: Matcher, traces: tuple[Trace, Trace]) -> None:
    """Pair the biases that are left over with the running mean behind them, where nothing lies between."""
    sides: Sequence[tuple[Side, list[str], Trace]] = (
        ("keras", matcher.pairing.unmatched_keras, traces[0]),
        ("torch", matcher.pairing.unmatched_torch, traces[1]),
    )
    for side, unmatched, trace in sides:
        if not unmatched:
            continue
        users, calls = trace.users(), trace.calls_by_path()
        layers = matcher.keras if side == "keras" else matcher.torch
        for path in list(unmatched):
            owner, _, name = path.rpartition(".")
            if name != "bias" or owner not in layers or layers[owner].family not in KERNELS:
                continue
            norm = _norm_behind(trace, calls, owner, users)
            if norm is not None and _folded(matcher, side, path, norm):
                unmatched.remove(path)


def drop_biases(matcher: Matcher, traces: tuple[Trace, Trace]) -> None:
    """A bias that is left over is zero, where every way from it leads to a BatchNorm before anything else."""
    pairs = matcher.pairing.pairs
    sides: Sequence[tuple[Side, list[str], Trace]] = (
        ("keras", matcher.pairing.unmatched_keras, traces[0]),
        ("torch", matcher.pairing.unmatched_torch, traces[1]),
    )
    for side, unmatched, trace in sides:
        layers = matcher.keras if side == "keras" else matcher.torch
        number = {
            path: i
            for i, item in enumerate(pairs)
            for path in ((item.keras,) if side == "keras" else item.torch)
        }
        users, calls = trace.users(), trace.calls_by_path()
        for path in list(unmatched):
            owner, _, name = path.rpartition(".")
            if name != "bias" or owner not in number or layers[owner].family not in KERNELS:
                continue
            if all(_normalised(trace, call, users) for call in calls.get(owner, ())) and calls.get(owner):
                item = pairs[number[owner]]
                lacking = item.torch if side == "keras" else (item.keras,)
                zero = Constant(side, path, 0.0, lacking)
                pairs[number[owner]] = replace(item, constants=(*item.constants, zero))
                unmatched.remove(path)


def _normalised(trace: Trace, call: Node, users: dict[int, list[int]]) -> bool:
    """Whether what a step gives is normalised before anything else is done with it."""
    if call.settings.get("activation"):
        return False
    last = {source.node for _, source in trace.outputs}
    waiting, seen = [call.id], {call.id}
    while waiting:
        number = waiting.pop()
        if number in last or not users[number]:
            return False
        for following in set(users[number]) - seen:
            user = trace.nodes[following]
            if user.kind == "batchnorm":
                continue
            if user.kind not in CARRIED_ON or user.sort == "constant":
                return False
            seen.add(following)
            waiting.append(following)
    return True


def _folded(matcher: Matcher, side: Side, bias: str, norm: str) -> bool:
    """Let the running mean's slot take the bias into account."""
    for i, item in enumerate(matcher.pairing.pairs):
        if norm not in ((item.keras,) if side == "keras" else item.torch):
            continue
        for j, slot in enumerate(item.slots):
            if slot.keras.rpartition(".")[2] in MEANS and slot.bias is None:
                slots = (*item.slots[:j], replace(slot, bias=(side, bias)), *item.slots[j + 1 :])
                zero = Constant(side, bias, 0.0, folded=True)
                matcher.pairing.pairs[i] = replace(item, slots=slots, constants=(*item.constants, zero))
                return True
    return False


def _norm_behind(
    trace: Trace, calls: Mapping[str, Sequence[Node]], path: str, users: dict[int, list[int]]
) -> str | None:
    """The BatchNorm that alone takes what the layer gives, and nothing else; None where there is none."""
    found: set[str] = set()
    for call in calls.get(path, ()):
        if call.settings.get("activation"):
            return None
        ends = _ends(trace, call, users)
        if len(ends) != 1 or ends[0].kind != "batchnorm" or ends[0].path is None:
            return None
        found.add(ends[0].path)
    if len(found) != 1:
        return None
    norm = found.pop()
    return norm if len(calls[norm]) == len(calls[path]) else None


def _ends(trace: Trace, node: Node, users: dict[int, list[int]]) -> list[Node]:
    """The steps that take a node's output, seen through those that hand it on."""
    if any(source.node == node.id for _, source in trace.outputs):
        return []
    found: list[Node] = []
    for number in users[node.id]:
        user = trace.nodes[number]
        found += _ends(trace, user, users) if user.kind in HANDED_ON and user.sort != "constant" else [user]
    return found
