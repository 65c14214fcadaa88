"""What kind of unit a weighted step is, in words that both sides share."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from parity.core.trace import Node
from parity.core.types import FAMILIES, WeightUse
from parity.pairing.dataflow.marks import Marks
from parity.pairing.uses.axes import CROSSWISE, sizes


def labels_of(kernel: WeightUse) -> tuple[Marks, Marks]:
    """The same labels, by the use of a unit's kernel."""
    whole = prod(part.size for axis in kernel.axes for part in axis)
    window = tuple(sorted(sizes(kernel, "space")))
    if kernel.family == "conv_transpose":
        rough = ("transpose", window, whole)
        return rough, rough
    return ("linear", window, whole, prod(sizes(kernel, "out"))), ("linear", window, whole)


def labels(family: str | None, shapes: Sequence[tuple[int, ...]], side: str) -> tuple[Marks, Marks]:
    """What kind of unit it is, in words that both sides share: exactly, and roughly."""
    kernel = max(shapes, key=lambda shape: (len(shape), prod(shape)))
    lengths = tuple(sorted(prod(shape) for shape in shapes))
    if family in CROSSWISE and len(kernel) > 1:
        spatial = kernel[2:] if side == "torch" else kernel[:-2]
        outputs = kernel[0] if side == "torch" else kernel[-1] * (kernel[-2] if family == "depthwise" else 1)
        window = tuple(sorted(size for size in spatial if size != 1))
        return ("linear", window, prod(kernel), outputs), ("linear", window, prod(kernel))
    if family == "conv_transpose" and len(kernel) > 1:
        spatial = kernel[2:] if side == "torch" else kernel[:-2]
        rough = ("transpose", tuple(sorted(spatial)), prod(kernel))
        return rough, rough
    if all(sum(size != 1 for size in shape) <= 1 for shape in shapes):
        return (family or "vector", lengths[-1]), ("vector", lengths[-1])
    plain = ("raw", *lengths)
    return plain, plain


def family_of(node: Node) -> str | None:
    """The kind of a step with weights; a separable convolution is two of them."""
    return node.kind if node.kind in FAMILIES.keys() - {"separable"} else None
