"""Sums of many terms: how many roundings a step's result carries, and how far they move it.

A sum of n terms is rounded n times, at magnitudes that grow to the sum's own: as a random walk, sqrt(n / 3) roundoffs.
Terms that are equal, as the pixels of a background are, round the same way each time: they drift. TensorFlow's mean over
a picture is measured at n / 30 roundoffs (51 for 1,518 pixels), the one in Keras' GroupNormalization at n / 8 (1,400 for
10,912), torch's, which sums in pieces, at 3.

Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, sections 2.8 and 4.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from parity.core.trace import Node
from parity.core.types import Array

Shape = tuple[int, ...]

PIECE, LONG = 1 << 15, 1 << 20
"""Random numbers that are taken in a row from the long draw, and all of it; the cache holds a piece."""

REDUCING = {
    "mean", "sum", "var", "std", "norm", "logsumexp", "moments", "varmean", "stdmean", "averagepool", "euclideannorm",
    "nansum", "nanmean", "trace", "vectornorm", "matrixnorm", "frobeniusnorm", "cdist", "cosinesimilarity",
}  # fmt: skip
"""Kinds of steps that add up elements of their operand, and give fewer."""

MULTIPLYING = {"matmul", "einsum", "inner", "linear"}
"""Kinds of steps that add up products of two operands."""

ATTENDING = {"scaleddotproductattention", "dotproductattention"}
"""Kinds of steps that add up products of queries and keys, and shares of the values."""

NORMALISING = {
    "groupnorm", "instancenorm", "layernorm", "rmsnorm", "rmsnormalization", "unitnormalization", "normalize",
    "localresponsenorm",
}  # fmt: skip
"""Kinds of steps that divide each element by what they add up of its group."""

SHARING = {"softmax", "logsoftmax"}
"""Kinds of steps that divide by the sum along one axis."""

KINDS = (
    REDUCING | MULTIPLYING | ATTENDING | NORMALISING | SHARING
    | {"dense", "cumsum", "conv", "convtranspose", "depthwiseconv"}
)  # fmt: skip

DRIFT = 16.0
"""A sum of n equal terms is off by n / DRIFT roundoffs, and by twice as many at most: as is measured."""

PIECES = 64
"""Terms that a layer's convolution or product adds up at a time, at least: it adds up the sums of such pieces."""


def plain_kind(node: Node) -> str:
    """The step's kind without punctuation, case and dimensions."""
    kind = node.kind.replace("_", "").lower()
    return kind[:-2] if kind[-2:] in {"1d", "2d", "3d"} else kind


def terms(node: Node, operands: Sequence[Shape], result: Shape) -> int:
    """How many terms one element of the result is the sum of; one where the step adds up nothing.

    Args:
        node: the step.
        operands: shapes of its operands, in order.
        result: shape of its result.
    """
    kind = plain_kind(node)
    if kind not in KINDS or not operands or not operands[0]:
        return 1
    first, size = prod(operands[0]), max(prod(result), 1)
    if kind in REDUCING:
        return max(first // size, 1)
    if kind in ATTENDING and len(operands) > 1:
        return max((*operands[1][1:], 1))  # keys lie on axis 1 in Keras, on axis 2 in torch
    if kind in MULTIPLYING and len(operands) > 1:
        return max(round((first * prod(operands[1]) / size / _batches(kind, operands, result)) ** 0.5), 1)
    if kind in MULTIPLYING:
        return max(operands[0][-1], 1)
    if kind == "dense" or "conv" in kind:
        taps = operands[0][-1] if kind == "dense" else _taps(node.settings, operands)
        return max(taps // PIECES, 1)
    groups = _groups(node, operands[0])
    if groups is not None:
        shape, axes = groups
        return max(prod(shape[axis] for axis in axes), 1)
    return _along(node.settings, operands[0])


def _batches(kind: str, operands: Sequence[Shape], result: Shape) -> int:
    """How many products a product of two stacks of matrices is: each operand holds a matrix for every one."""
    stacked = (
        kind == "matmul" and len(result) > 2 and all(shape[:-2] == result[:-2] for shape in operands[:2])
    )
    return max(prod(result[:-2]), 1) if stacked else 1


def _taps(settings: dict[str, Any], operands: Sequence[Shape]) -> int:
    """Products that one element of a convolution adds up."""
    if len(operands) > 1 and len(operands[1]) == len(operands[0]):  # the kernel is an operand
        return prod(operands[1]) // max(operands[1][0], 1)
    size = settings.get("kernel_size", 1)
    sizes = list(size) if isinstance(size, list | tuple) else [size] * (len(operands[0]) - 2)
    last = settings.get("data_format") == "channels_last"
    return prod(map(int, sizes)) * operands[0][-1 if last else 1]


def _groups(node: Node, shape: Shape) -> tuple[Shape, tuple[int, ...]] | None:
    """A shape in which the elements of one group lie along these axes; None where the step has no groups."""
    kind, settings = plain_kind(node), node.settings
    if kind not in {"groupnorm", "instancenorm"} or len(shape) < 2:
        return None
    if "epsilon" in settings:  # Keras: channels last
        count = int(settings.get("groups", 1))
        count = shape[-1] if count == -1 else count
        return (shape[0], prod(shape[1:-1]), count, shape[-1] // max(count, 1)), (1, 3)
    given = settings.get("num_groups", settings.get("1"))
    count = shape[1] if kind == "instancenorm" or not isinstance(given, int) else given
    return (shape[0], count, prod(shape[1:]) // max(count, 1)), (2,)


def _along(settings: dict[str, Any], shape: Shape) -> int:
    """The number of elements along the axes that a step names; of the longest axis where it names none."""
    axes = _axes(settings, shape)
    return prod(shape[axis] for axis in axes) if axes else max(shape, default=1)


def _axes(settings: dict[str, Any], shape: Shape) -> tuple[int, ...]:
    """The axes that a step names."""
    sizes = settings.get("normalized_shape", settings.get("1"))
    if isinstance(sizes, list | tuple) and sizes and tuple(sizes) == shape[-len(sizes) :]:
        return tuple(range(len(shape) - len(sizes), len(shape)))
    for name in ("axis", "dim", "1"):
        axes = settings.get(name)
        axes = list(axes) if isinstance(axes, list | tuple) else [axes]
        if axes and all(isinstance(axis, int) and -len(shape) <= axis < len(shape) for axis in axes):
            return tuple(axes)
    return ()


def roundoffs(count: int, alike: float = 1.0) -> float:
    """How many roundoffs a sum carries (root mean square); none where nothing is added up.

    Args:
        count: its terms.
        alike: share of them that equal their neighbours.
    """
    return (count / 3.0) ** 0.5 + alike * count / DRIFT if count > 1 else 0.0


def share_alike(operand: Array | None, unit: float) -> float:
    """The share of elements that are next to an equal one, apart by less than some units; one where it is not known."""
    if operand is None or operand.dtype.kind != "f" or operand.ndim < 2 or not operand.size:
        return 1.0
    shares = [0.0]
    for axis in range(1, operand.ndim):
        if operand.shape[axis] > 1:
            with np.errstate(invalid="ignore"):  # infinities, as masks have them, are next to one another
                gaps = np.abs(np.diff(operand, axis=axis))
            near = gaps <= 8.0 * unit * np.abs(np.take(operand, range(1, operand.shape[axis]), axis))
            shares.append(float(near.mean()))
    return max(shares)


def accumulated(
    node: Node, value: Array, operand: Array | None, far: float, rng: np.random.Generator
) -> Array:
    """A step's result, moved as its sums round.

    Args:
        node: the step.
        value: its result.
        operand: its first operand, where it normalises.
        far: how far a sum is moved, relative to itself.
        rng: of the movements.
    """
    kind = plain_kind(node)
    if kind not in NORMALISING | SHARING:
        return value + far * steps(rng, value.shape) if kind == "logsumexp" else moved(rng, value, far)
    moves = far * _shared(rng, value.shape)
    if kind == "logsoftmax":
        return np.asarray(value + moves)
    after = value * (1.0 + moves)
    if operand is not None and kind in {"groupnorm", "instancenorm", "layernorm"}:
        after = after + far * _shared(rng, value.shape) * _subtracted(node, operand, value)
    return np.asarray(after)


def steps(rng: np.random.Generator, shape: Shape) -> Array:
    """A random number for each element, evenly spread around zero, of mean square one; not to be written to.

    They are pieces of one long draw, each from another place on: to draw anew for every step of a model would cost more
    than to run it.
    """
    pieces = [piece for _, piece in _pieces(rng, prod(shape))]
    return (pieces[0] if len(pieces) == 1 else np.concatenate([*pieces, []])).reshape(shape)


def moved(rng: np.random.Generator, value: Array, far: float) -> Array:
    """Each element moved by a random share of itself, `far` in the root mean square; in one pass over memory."""
    flat = value.reshape(-1)
    out = np.empty(flat.shape, np.result_type(flat, np.float64))
    for place, piece in _pieces(rng, flat.size):
        factors = piece * far
        factors += 1.0
        np.multiply(flat[place], factors, out=out[place])
    return out.reshape(value.shape)


def _pieces(rng: np.random.Generator, size: int) -> Iterator[tuple[slice, Array]]:
    """Random numbers for so many elements, piece by piece: where each lies, and its numbers."""
    drawn = _long_draw()
    begins = range(0, size, PIECE)
    for begun, start in zip(begins, rng.integers(0, len(drawn) - PIECE, len(begins)), strict=True):
        count = min(PIECE, size - begun)
        yield slice(begun, begun + count), drawn[start : start + count]


@cache
def _long_draw() -> Array:
    numbers = (np.random.default_rng(0).random(LONG) - 0.5) * 12.0**0.5
    numbers.flags.writeable = False
    return numbers


def _shared(rng: np.random.Generator, shape: Shape) -> Array:
    """Mostly one direction for all elements, because a group is divided by one sum; next to nothing for none."""
    return np.asarray(rng.choice((-1.0, 1.0)) + 0.5 * steps(rng, shape))


def _subtracted(node: Node, operand: Array, value: Array) -> Array | float:
    """The mean that a normalisation subtracts, as large as it is in the result."""
    groups = _groups(node, operand.shape)
    shape, axes = groups or (operand.shape, _axes(node.settings, operand.shape))
    if not axes or operand.shape != value.shape:
        return 0.0
    x, y = operand.reshape(shape), value.reshape(shape)
    deviation = x.std(axis=axes, keepdims=True)
    slope = y.std(axis=axes, keepdims=True) / np.where(deviation > 0.0, deviation, 1.0)
    offset = np.abs(x.mean(axis=axes, keepdims=True)) * slope
    return np.asarray(np.broadcast_to(offset, shape).reshape(value.shape))


def takes_operand(node: Node) -> bool:
    """Whether the operand's values matter: of a sum whose terms may be alike, of a mean that is subtracted."""
    return plain_kind(node) in REDUCING | MULTIPLYING | ATTENDING | NORMALISING | SHARING | {"cumsum"}
