"""All problems of one pairing in a text that is read: by kind, counted, the first few of each, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from difflib import get_close_matches
from math import prod

from parity.core.errors import PairingError
from parity.core.finding import ROOT
from parity.core.types import Side
from parity.pairing.problems.problem import Held, Parametrized, Problem, ProblemKind, parametrized
from parity.pairing.problems.sentences import NAMES, few, misfit_row, plainly, sentence

LONGEST = 3000
"""Characters of the whole text."""
ROW = 240
"""Characters of one row."""
ROWS = 6
"""Rows shown of one kind, where there is room."""

MAPPING = {ProblemKind.MAPPING_UNKNOWN, ProblemKind.MAPPING_TWICE, ProblemKind.MAPPING_MIXED}


def pairing_error(problems: Sequence[Problem], unrun: str | None = None) -> PairingError:
    """The error of a pairing that is not complete; it holds every problem, and shows the first of each kind.

    Args:
        problems: all of them.
        unrun: why the dataflow was not looked at, where it was not.
    """
    head = (
        f"every layer and tensor must have exactly one counterpart; got {_count(len(problems), 'problem')}."
    )
    text = f"{head}\n{grouped(problems, unrun, LONGEST - len(head) - 1)}"
    return PairingError([sentence(problem) for problem in problems], text)


def grouped(problems: Sequence[Problem], unrun: str | None = None, longest: int = LONGEST) -> str:
    """The problems by kind, each with its count and its first few, and what to do next.

    Args:
        problems: all of them.
        unrun: why the dataflow was not looked at, where it was not.
        longest: characters at most; fewer are shown of each kind until the text fits.
    """
    advice = "\n".join(_advice(problems, unrun))
    return "\n".join([*counted(problems, longest - len(advice) - 1), advice])[:longest]


def counted(problems: Sequence[Problem], longest: int = LONGEST) -> list[str]:
    """The problems by kind, in lines: each kind with its count and as many of its first few as there is room for."""
    for shown in range(ROWS, -1, -1):
        lines = [line for group in _groups(problems) for line in group(shown)]
        if sum(map(len, lines)) + len(lines) <= longest:
            break
    return lines


IDLE = {True: ", never runs", False: ", no step leads from it to an output"}
"""What is said of a layer that leads to no output: that it never runs, or that its tensors lead nowhere."""
Group = Callable[[int], list[str]]
"""The lines of one group, given how many rows it may show."""


def _groups(problems: Sequence[Problem]) -> list[Group]:
    """A group for each kind of problem that there is; tensors without a counterpart form one for each side."""
    found: list[Group] = []
    mapping = [sentence(problem) for problem in problems if problem.kind in MAPPING]
    if mapping:
        found.append(_group("Entries of the mapping that cannot be followed", mapping))
    for side, other in (("keras", "torch"), ("torch", "keras")):
        left = [
            problem
            for problem in problems
            if problem.kind is ProblemKind.NO_COUNTERPART and problem.held[0].side == side
        ]
        lone = [problem.held[0] for problem in left]
        if lone:
            partners = {problem.held[0].layer: problem.partner for problem in problems if problem.held}
            idle = {p.held[0].layer: IDLE[p.unrun] for p in left if p.unrun or p.vain}
            rows = _by_layer(lone, partners, idle)
            count = f"{len(lone)}, of {_count(len(rows), 'layer')}"
            found.append(
                _group(f"{NAMES[side]} tensors with no counterpart in {NAMES[other]}", rows, count, "layer")
            )
    misfits = [misfit_row(problem) for problem in problems if problem.kind is ProblemKind.SHAPES]
    if misfits:
        found.append(_group("Tensors whose shapes do not correspond", misfits))
    for kind, heading in (
        (ProblemKind.SEVERAL, "Layers with several possible counterparts"),
        (ProblemKind.VALUES, "Values that the target has no place for"),
        (ProblemKind.TIED, "Tied tensors of the target"),
        (ProblemKind.ORIENTATION, "Kernels whose axes are not known"),
    ):
        rows = [sentence(problem) for problem in problems if problem.kind is kind]
        if rows:
            found.append(_group(heading, rows))
    return found


def _group(heading: str, rows: Sequence[str], count: str | None = None, unit: str = "") -> Group:
    def lines(shown: int) -> list[str]:
        first = [f"  - {_cut(row)}" for row in rows[:shown]]
        left = len(rows) - shown
        more = [f"  - ... and {_count(left, f'more {unit}'.strip())}"] if left > 0 else []
        return [f"{heading}: {count or len(rows)}", *first, *more]

    return lines


def _by_layer(
    tensors: Sequence[Held], partners: dict[str, tuple[str, ...]], idle: dict[str, str]
) -> list[str]:
    """One row for each layer: its path, its class, whether it leads to an output, and its tensors with their shapes."""
    layers: dict[Hashable, list[Held]] = {}
    for tensor in tensors:
        layers.setdefault((tensor.layer, tensor.kind), []).append(tensor)
    rows = []
    for own in layers.values():
        layer, partner = own[0], partners.get(own[0].layer, ())
        stem = f"{layer.layer}." if layer.layer else ""
        shown = ", ".join(f"{tensor.path.removeprefix(stem)} {tensor.shape}" for tensor in own)
        paired = f", paired with {few(partner)}" if partner else ""
        paired += idle.get(layer.layer, "")
        rows.append(f"{layer.layer or ROOT} ({layer.kind}{paired}): {shown}")
    return rows


def _advice(problems: Sequence[Problem], unrun: str | None) -> list[str]:
    """What to do next, by what there is to be mended."""
    kinds = {problem.kind for problem in problems}
    lone, computed = _computed_apart(problems)
    sides = {problem.held[0].side for problem in lone}
    whole = [problem for problem in lone if not problem.partner]
    found = []
    if kinds & MAPPING:
        found.append(
            "Correct the mapping: Keras paths on the left, torch paths (or tuples of them) on the right."
        )
    if unrun is not None:
        found.append(
            f"What the models compute could not be compared: {_cut(unrun)}. Give inputs that both models take "
            "(inputs=, in the Keras layout), and layers are paired by what they compute."
        )
    found += [f"{plainly(weight)}." for weight in computed[:2]]
    slopes = [problem.held[0] for problem in whole if problem.held[0].kind == "PReLU"]
    if {tensor.side for tensor in slopes} == {"keras", "torch"}:
        axes = list(range(1, max(len(tensor.shape) for tensor in slopes)))
        found.append(
            "A PReLU of Keras has a slope for each position, and torch's one for each channel: "
            f"shared_axes={axes} in Keras makes them one."
        )
    if {problem.held[0].side for problem in whole} == {"keras", "torch"}:
        found.append(
            f"For a layer that the other model has under another name, pass mapping={{{_example(whole)}}} "
            "(--mapping F.json on the command line)."
        )
    elif len(sides) == 1:
        side = sides.pop()
        other = NAMES["torch" if side == "keras" else "keras"]
        found.append(f"Add to the {other} model what it lacks, or leave it out of the {NAMES[side]} model.")
    elif sides:
        found.append("Add to each model what it lacks, or leave it out of the other one.")
    if ProblemKind.SHAPES in kinds:
        found.append(
            "Give both layers the same kernel size, channels and groups, or correct which layers are paired."
        )
    if idle := next((problem.held[0].layer for problem in lone if problem.unrun), None):
        found.append(
            f"Layers that never run may be left out: ignore={idle!r} (--ignore {idle!r} on the command line)."
        )
    if kinds - MAPPING - {ProblemKind.TIED}:
        found.append("transfer(..., strict=False) copies the rest and lists what is left out.")
    if len(problems) > ROWS:
        found.append(
            "The error's .problems holds all of them, and so do the findings of parity check --json F."
        )
    return found


def _computed_apart(problems: Sequence[Problem]) -> tuple[list[Problem], list[Parametrized]]:
    """Tensors without a counterpart, less those of weights that torch computes in every pass; and these weights."""
    lone = [problem for problem in problems if problem.kind is ProblemKind.NO_COUNTERPART]
    found = [weight for problem in lone if (weight := parametrized(problem.held[0])) is not None]
    modules = {weight.module for weight in found}
    rest = [
        problem
        for problem in lone
        if parametrized(problem.held[0]) is None and not modules.intersection(problem.partner)
    ]
    return rest, list(dict.fromkeys(found))


def _example(lone: Sequence[Problem]) -> str:
    """One entry of a mapping: two layers of similar names and as many values where there are such."""
    sizes: dict[Side, dict[str, int]] = {"keras": {}, "torch": {}}
    for tensor in (problem.held[0] for problem in lone):
        sizes[tensor.side][tensor.layer] = sizes[tensor.side].get(tensor.layer, 0) + prod(tensor.shape)
    for keras, size in list(sizes["keras"].items())[:ROWS]:
        alike = [torch for torch, other in sizes["torch"].items() if other == size]
        near = get_close_matches(keras, alike, n=1)
        if near:
            return f"{keras!r}: {near[0]!r}"
    return f"{next(iter(sizes['keras']))!r}: ..."


def _count(number: int, unit: str) -> str:
    """ "1 tensor", "2 tensors"."""
    return f"{number} {unit}" if number == 1 or not unit or unit == "more" else f"{number} {unit}s"


def _cut(text: str) -> str:
    return text if len(text) <= ROW else f"{text[: ROW - 4]} ..."
