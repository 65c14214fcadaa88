"""The role of each axis of an operand, by the operation that takes it: multiplications, convolutions, tables, vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from parity.core.trace import Node

Roles = tuple[str, Sequence[str | None]]
"""The family of the operation, and "role place" of each axis; None for an axis that says nothing."""
ELEMENTWISE = {
    "add": "offset", "sub": "mean", "mul": "scale", "div": "scale", "power": "element", "maximum": "element",
    "minimum": "element", "where": "element", "lerp": "element", "update": "element",
}  # fmt: skip
"""What a tensor is that such a step takes for each place of the data."""
_CONVOLUTION = ("input", "weight", "bias")
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "linear": _CONVOLUTION,
    **{f"conv{way}{rank}d": _CONVOLUTION for way in ("", "_transpose") for rank in (1, 2, 3)},
    "layer_norm": ("input", "normalized_shape", "weight", "bias"),
    "rms_norm": ("input", "normalized_shape", "weight"),
    "group_norm": ("input", "num_groups", "weight", "bias"),
    "batch_norm": ("input", "running_mean", "running_var", "weight", "bias"),
    "batch_normalization": ("x", "mean", "variance", "axis", "offset", "scale"),
    "conv": ("inputs", "kernel"),
    "depthwise_conv": ("inputs", "kernel"),
    "conv_transpose": ("inputs", "kernel"),
    "separable_conv": ("inputs", "depthwise_kernel", "pointwise_kernel"),
}
"""The arguments of operations that may be called by name, in order."""
VECTORS = {
    "layer_norm": {2: "scale", 3: "offset"},
    "rms_norm": {2: "scale"},
    "group_norm": {2: "scale", 3: "offset"},
    "batch_norm": {1: "mean", 2: "variance", 3: "scale", 4: "offset"},
    "batch_normalization": {1: "mean", 2: "variance", 4: "offset", 5: "scale"},
    "BiasAdd": {1: "offset"},
}
"""What the vectors are that a normalisation takes, by the number of the argument."""
OperandShapes = Mapping[int, Sequence[int]]
"""By the number of the operand, or of the argument where that is known."""
TABLES = frozenset({"embedding", "take", "index_select", "gather", "GatherV2", "ResourceGather", "getitem"})


def roles(node: Node, position: int, shapes: Sequence[Sequence[int]]) -> Roles | None:
    """What an operation does with one of its operands; None where that is not known.

    Args:
        node: the operation.
        position: which operand.
        shapes: of all operands.
    """
    numbers = _numbers(node, len(shapes))
    return _of_operand(node, numbers[position], dict(zip(numbers, shapes, strict=True)))


def _numbers(node: Node, count: int) -> list[int]:
    """The number of the argument that each operand is, where the operation's arguments are known; else of the operand."""
    known = ARGUMENTS.get(node.label, ())
    given = [
        int(name) if name.isdigit() else known.index(name) if name in known else -1 for name in node.names
    ]
    return given if known and len(given) == count == len(set(given)) else list(range(count))


def _of_operand(node: Node, position: int, shapes: OperandShapes) -> Roles | None:
    read = READERS.get(node.label) or READERS.get(node.kind)
    if read is not None:
        return read(node, position, shapes)
    if node.label in TABLES:
        return _elements(len(shapes[position]))
    if position in VECTORS.get(node.label, {}):
        return _elements(len(shapes[position]), VECTORS[node.label][position])
    if node.kind in ELEMENTWISE and node.shapes:
        return _elements(len(shapes[position]), ELEMENTWISE[node.kind])
    return None


def _elements(rank: int, family: str = "element") -> Roles:
    return family, [f"at {i}" for i in range(rank)]


def _linear(node: Node, position: int, shapes: OperandShapes) -> Roles | None:
    """x @ W.T + b."""
    if position == 1 and len(shapes[1]) <= 2:
        return "dense", ["out", "in"][-len(shapes[1]) :]
    return _elements(len(shapes[position]), "offset") if position == 2 else None


def _matmul(node: Node, position: int, shapes: OperandShapes) -> Roles | None:
    """a @ b, with what lies in front in addmm."""
    first = len(shapes) - 2
    if position < first:
        return _elements(len(shapes[position]), "offset")
    rank, right = len(shapes[position]), position == first + 1
    names = ["in", "out"] if right else ["out", "in"]
    turned = ("transpose_b", "adj_y") if right else ("transpose_a", "adj_x")
    if any(node.settings.get(name) for name in turned):
        names.reverse()
    if rank == 1:
        return "dense", ["in"]
    other = len(shapes[first if right else first + 1])
    batch: list[str | None] = [f"group {other + i - rank}" for i in range(rank - 2)]
    return "dense", [*batch, *names]


def _tensordot(node: Node, position: int, shapes: OperandShapes) -> Roles | None:
    axes = next((node.settings[name] for name in ("axes", "dims", "2") if name in node.settings), 2)
    ranks = [len(shapes[i]) for i in range(2)]
    if isinstance(axes, int):
        axes = [list(range(ranks[0] - axes, ranks[0])), list(range(axes))]
    pair = [[axes_] if isinstance(axes_, int) else list(axes_) for axes_ in axes]
    own, other = ([axis % ranks[side] for axis in pair[side]] for side in (position, 1 - position))
    free = [axis for axis in range(ranks[position]) if axis not in own]
    return "dense", [
        f"in {other[own.index(axis)]}" if axis in own else f"out {free.index(axis)}"
        for axis in range(ranks[position])
    ]


def terms(node: Node, shapes: Sequence[Sequence[int]]) -> list[list[str]] | None:
    """The letters of each operand of an einsum, and of its result; None where its equation is not known."""
    equation = next(
        (value for value in node.settings.values() if isinstance(value, str) and "," in value), None
    )
    if equation is None:
        return None
    left, arrow, right = equation.replace(" ", "").partition("->")
    operands = left.split(",")
    if len(operands) != len(shapes):
        return None
    if not arrow:
        plain = left.replace(",", "").replace(".", "")
        right = "".join(sorted(letter for letter in set(plain) if plain.count(letter) == 1))
    ranks = [*map(len, shapes), len(node.shapes[0])]
    return [_letters(term, rank) for term, rank in zip([*operands, right], ranks, strict=True)]


def _einsum(node: Node, position: int, shapes: OperandShapes) -> Roles | None:
    found_terms = terms(node, [shapes[i] for i in sorted(shapes)])
    if found_terms is None:
        return None
    own, result = found_terms[position], found_terms[-1]
    others = [term for i, term in enumerate(found_terms[:-1]) if i != position]
    found: list[str | None] = []
    for letter in own:
        place = next((other.index(letter) for other in others if letter in other), None)
        if letter in result:
            role = "out" if place is None else "group"
            found.append(f"{role} {result.index(letter)}")
        else:
            found.append(None if place is None else f"in {place}")
    if None in found:
        return None
    if not any(name and name.startswith("in") for name in found):
        return "scale", [f"at {result.index(letter)}" for letter in own]
    return "dense", found


def _letters(term: str, rank: int) -> list[str]:
    """The letters of a term, with "." and a number counted from the right for each axis under the dots."""
    if "..." not in term:
        return list(term)
    before, _, behind = term.partition("...")
    dots = rank - len(before) - len(behind)
    return [*before, *(f".{dots - i}" for i in range(dots)), *behind]


def _convolution(
    family: str, kernel: int, names: Callable[[Node, list[str]], list[str]]
) -> Callable[..., Any]:
    def read(node: Node, position: int, shapes: OperandShapes) -> Roles | None:
        if position == kernel:
            space = [f"space {i}" for i in range(len(shapes[kernel]) - 2)]
            return family, list(names(node, space))
        return _elements(1, "offset") if len(shapes[position]) == 1 else None

    return read


def _separable(node: Node, position: int, shapes: OperandShapes) -> Roles | None:
    space = [f"space {i}" for i in range(len(shapes[position]) - 2)]
    ends = {1: ("depthwise", ["out 0", "out 1"]), 2: ("conv", ["in", "out"])}
    return (ends[position][0], [*space, *ends[position][1]]) if position in ends else None


_LAST = {
    "conv": _convolution("conv", 1, lambda node, space: [*space, "in", "out"]),
    "Conv2D": _convolution("conv", 1, lambda node, space: [*space, "in", "out"]),
    "convolution_v2": _convolution("conv", 1, lambda node, space: [*space, "in", "out"]),
    "depthwise_conv": _convolution("depthwise", 1, lambda node, space: [*space, "out 0", "out 1"]),
    "DepthwiseConv2dNative": _convolution("depthwise", 1, lambda node, space: [*space, "out 0", "out 1"]),
    "conv_transpose": _convolution("conv_transpose", 1, lambda node, space: [*space, "out", "in"]),
    "Conv2DBackpropInput": _convolution("conv_transpose", 0, lambda node, space: [*space, "out", "in"]),
    "separable_conv": _separable,
}
"""Convolutions of Keras and TensorFlow: channels last."""
_FIRST = {
    f"conv{rank}d": _convolution("conv", 1, lambda node, space: ["out", "in", *space]) for rank in (1, 2, 3)
} | {
    f"conv_transpose{rank}d": _convolution("conv_transpose", 1, lambda node, space: ["in", "out", *space])
    for rank in (1, 2, 3)
}
"""torch's convolutions: channels first."""
READERS: dict[str, Callable[[Node, int, OperandShapes], Roles | None]] = {
    "linear": _linear, "matmul": _matmul, "tensordot": _tensordot, "einsum": _einsum, "Einsum": _einsum,
    **_LAST, **_FIRST,
}  # fmt: skip
"""Who reads an operation, by its label, else by its kind."""
