"""A problem in one line: what must hold, what came, and what to do. Nobody reads these words back."""

from __future__ import annotations

import re

from parity.core.finding import ROOT
from parity.pairing.problems.problem import Held, Parametrized, Problem, ProblemKind, parametrized

NAMES = {"keras": "Keras", "torch": "torch"}
"""How a sentence calls the two sides."""
SHOWN = 5
"""Paths that one sentence lists."""


def sentence(problem: Problem) -> str:
    """The problem in one line: what must hold, what came, and what to do."""
    how = (
        "; it never runs"
        if problem.unrun
        else "; it runs, and no step leads from it to an output"
        if problem.vain
        else ""
    )
    return SENTENCES[problem.kind](problem) + how


def described(tensor: Held) -> str:
    """Side, path, shape and class."""
    return f"{NAMES[tensor.side]} {tensor.path} {tensor.shape} ({tensor.kind})"


def few(paths: tuple[str, ...]) -> str:
    """The first of many paths; a model that is one layer has an empty one."""
    shown = ", ".join(path or ROOT for path in paths[:SHOWN])
    return shown + (f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else "")


def _no_counterpart(problem: Problem) -> str:
    tensor = problem.held[0]
    computed = parametrized(tensor)
    other = NAMES["torch" if tensor.side == "keras" else "keras"]
    where = f"the {other} model"
    if problem.partner:
        where = f"{other} {few(problem.partner)}, with which its layer is paired"
    return f"{described(tensor)} has no counterpart in {where}" + (
        f"; {plainly(computed)}" if computed else ""
    )


def plainly(weight: Parametrized) -> str:
    """What to do about a weight that torch computes in every pass."""
    owner = "module" + re.sub(r"\.(\d+)", r"[\1]", f".{weight.module}" if weight.module else "")
    return (
        f"{owner}.{weight.name} is computed from other tensors in every pass: make it a plain weight with "
        f"torch.nn.utils.parametrize.remove_parametrizations({owner}, {weight.name!r})"
    )


def _shapes(problem: Problem) -> str:
    return f"shapes must correspond: {misfit_row(problem)}"


def misfit_row(problem: Problem) -> str:
    """Two tensors whose shapes do not correspond, and the shape that the Keras tensor would need."""
    keras, torch = problem.held
    return f"{described(torch)} needs {problem.wanted} in Keras; got {described(keras)}"


def _several(problem: Problem) -> str:
    return (
        f"Keras {problem.keras} could be any of torch {few(problem.candidates)}: kind, shapes, dataflow and names fit "
        f"all of them. Pass mapping={{{problem.keras!r}: ...}}"
    )


def _unknown(problem: Problem) -> str:
    side = NAMES[problem.side or "keras"]
    hint = f"did you mean {few(problem.candidates)}?"
    if not problem.candidates:
        hint = f"the {side} model has {few(problem.known)}"
    if problem.made_up:
        hint += " (Keras numbers layers without a name anew in each build)"
    return f"mapping must name layers or tensors that exist; got {side} path {problem.paths[0]!r}; {hint}"


def _twice(problem: Problem) -> str:
    return f"mapping must name each layer once; got {', '.join(map(repr, problem.paths))} again"


def _mixed(problem: Problem) -> str:
    keras, *torch = problem.paths
    target = repr(torch[0]) if len(torch) == 1 else repr(tuple(torch))
    return f"mapping must go from layer to layer or from tensor to tensor; got {keras!r}: {target}"


def _values(problem: Problem) -> str:
    tensor = problem.held[0]
    return (
        f"{tensor.path} must be all {problem.value:g}, since {few(problem.partner)} has no such tensor; got other values. "
        f"Give the target layer that tensor (scale, center, affine), or set this one to {problem.value:g}"
    )


def _tied(problem: Problem) -> str:
    return f"tied tensors of the target must receive one value; got several for {few(problem.paths)}"


def _orientation(problem: Problem) -> str:
    keras, torch = problem.held
    return (
        f"a kernel's axes must be known; got {described(keras)} and {described(torch)}, whose lengths fit in either order, "
        "of a class that does not say it. Pass inputs that both models take (inputs=)"
    )


SENTENCES = {
    ProblemKind.NO_COUNTERPART: _no_counterpart,
    ProblemKind.SHAPES: _shapes,
    ProblemKind.SEVERAL: _several,
    ProblemKind.MAPPING_UNKNOWN: _unknown,
    ProblemKind.MAPPING_TWICE: _twice,
    ProblemKind.MAPPING_MIXED: _mixed,
    ProblemKind.VALUES: _values,
    ProblemKind.TIED: _tied,
    ProblemKind.ORIENTATION: _orientation,
}
