"""Layers that one traced pass never ran, or ran for nothing: which they are, and what stays open of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from parity.core.trace import Node, Trace
from parity.core.types import LayerInfo, Side
from parity.pairing.names import stems
from parity.pairing.problems.problem import Problem


def never_run(trace: Trace, layers: Mapping[str, LayerInfo]) -> set[str]:
    """Paths of the layers with weights that no step of the pass ran, or ran in, or read.

    A layer ran where it, or a layer around it that is one step, was called, where a step ran inside it, or where a step
    took one of its tensors.
    """
    return _in_none_of(trace.nodes, layers)


def for_nothing(trace: Trace, layers: Mapping[str, LayerInfo]) -> set[str]:
    """Paths of the layers with weights that ran, and from whose results no step leads to an output.

    What they give may still be read as a number, and decide a branch. None where the trace lost where a tensor came from.
    """
    if not trace.complete:
        return set()
    reached: set[int] = set()
    waiting = [source.node for _, source in trace.outputs]
    while waiting:
        number = waiting.pop()
        if number not in reached:
            reached.add(number)
            waiting += [source.node for source in trace.nodes[number].inputs]
    used = [node for node in trace.nodes if node.id in reached]
    return _in_none_of(used, layers) - never_run(trace, layers)


def _in_none_of(nodes: Collection[Node], layers: Mapping[str, LayerInfo]) -> set[str]:
    called = {node.path for node in nodes if node.sort == "layer"}
    read = {node.path for node in nodes if node.sort == "parameter"}
    inside: set[str] = set()
    for place in {node.scope for node in nodes} | {path for path in called if path is not None}:
        inside |= {"", place, *stems(place)}
    return {
        path
        for path, layer in layers.items()
        if layer.tensors
        and path not in inside
        and not called.intersection(stems(path))
        and not read.intersection(tensor.path for tensor in layer.tensors)
    }


def said_of(
    problems: list[Problem], unrun: Mapping[Side, set[str]], vain: Mapping[Side, set[str]]
) -> list[Problem]:
    """The problems, each with whether every layer that it concerns never runs, or runs for nothing."""

    def among(problem: Problem, paths: Mapping[Side, set[str]]) -> bool:
        known = bool(problem.held) and not problem.candidates
        return known and all(tensor.layer in paths[tensor.side] for tensor in problem.held)

    return [replace(problem, unrun=among(problem, unrun), vain=among(problem, vain)) for problem in problems]
