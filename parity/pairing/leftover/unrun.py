"""Layers that one traced pass never ran: which they are, and what stays open of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from parity.core.trace import Trace
from parity.core.types import LayerInfo, Side
from parity.pairing.names import stems
from parity.pairing.problems.problem import Problem


def never_run(trace: Trace, layers: Mapping[str, LayerInfo]) -> set[str]:
    """Paths of the layers with weights that no step of the pass ran, or ran in, or read.

    A layer ran where it, or a layer around it that is one step, was called, where a step ran inside it, or where a step
    took one of its tensors.
    """
    called = {node.path for node in trace.nodes if node.sort == "layer"}
    read = {node.path for node in trace.nodes if node.sort == "parameter"}
    inside: set[str] = set()
    for place in {node.scope for node in trace.nodes} | {path for path in called if path is not None}:
        inside |= {"", place, *stems(place)}
    return {
        path
        for path, layer in layers.items()
        if layer.tensors
        and path not in inside
        and not called.intersection(stems(path))
        and not read.intersection(tensor.path for tensor in layer.tensors)
    }


def said_of(problems: list[Problem], unrun: Mapping[Side, set[str]]) -> list[Problem]:
    """The problems, each with whether every layer that it concerns never runs."""
    return [
        replace(
            problem,
            unrun=bool(problem.held)
            and all(tensor.layer in unrun[tensor.side] for tensor in problem.held)
            and not problem.candidates,
        )
        for problem in problems
    ]
