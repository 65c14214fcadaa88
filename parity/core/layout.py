"""How the same weights are laid out on the two sides: one reversible rule a tensor. NumPy only.

| layer | torch | Keras (channels last) |
|---|---|---|
| convolution | (O, I/g, *k) | (*k, I/g, O) |
| transposed convolution | (I, O/g, *k) | (*k, O/g, I), no flip: both are the gradient of a correlation |
| depthwise convolution | (I*m, 1, *k) | (*k, I, m) |
| dense | (O, I) | (I, O) |
| normalisation, bias, embedding | as it is | as it is |
| PReLU | (C,) | (1, ..., C) |
| recurrent cell | (gates*U, I), gates in torch's order | (I, gates*U), gates in Keras' order |
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from parity.core.types import Array, Side


@dataclass(frozen=True)
class Rows:
    """A part of a stored tensor: some rows of it, once it is laid out with its outputs first.

    Attributes:
        split, order, shape: the tensor is reshaped to `split`, transposed by `order` and reshaped to `shape`.
        index: the rows, in ascending order.
        rest_unread: the other rows are read by no pass, so that they need no counterpart.
    """

    split: tuple[int, ...]
    order: tuple[int, ...]
    shape: tuple[int, ...]
    index: tuple[int, ...]
    rest_unread: bool = False

    @staticmethod
    def between(first: int, end: int, shape: tuple[int, ...]) -> Rows:
        """The rows from one to another of a tensor whose first axis counts its outputs."""
        return Rows(shape, tuple(range(len(shape))), shape, tuple(range(first, end)))

    def of(self, whole: Array) -> Array:
        """The part."""
        laid = whole.reshape(self.split).transpose(self.order).reshape(self.shape)
        if self.index and self.index[-1] - self.index[0] == len(self.index) - 1:
            return laid[self.index[0] : self.index[-1] + 1]  # a view
        return laid[list(self.index)]

    def put(self, whole: Array, part: Array) -> Array:
        """A copy of the tensor with this part replaced."""
        laid = np.array(whole.reshape(self.split).transpose(self.order).reshape(self.shape))
        laid[list(self.index)] = part
        mixed = laid.reshape([self.split[axis] for axis in self.order])
        return mixed.transpose(np.argsort(self.order)).reshape(whole.shape)


@dataclass(frozen=True)
class Layout:
    """torch -> Keras is reshape to `split`, transpose by `order`, reshape to `keras_shape`; and back.

    Where a side holds what the other side has in a tensor of its own as a part of a greater tensor, `keras_rows` or
    `torch_rows` says which part; the shapes are then the part's.
    """

    torch_shape: tuple[int, ...]
    split: tuple[int, ...]
    order: tuple[int, ...]
    keras_shape: tuple[int, ...]
    torch_rows: Rows | None = None
    keras_rows: Rows | None = None
    gates: tuple[int, ...] | None = None
    """Which block of torch's first axis stands where in Keras, where the blocks are in another order."""

    @property
    def partial(self) -> bool:
        """Whether it is about a part of a tensor."""
        return self.torch_rows is not None or self.keras_rows is not None

    def rows(self, side: Side) -> Rows | None:
        """Which part of a side's tensor it is about; None for all of it."""
        return self.keras_rows if side == "keras" else self.torch_rows

    def part(self, side: Side, whole: Array) -> Array:
        """What it is about, of a side's whole tensor."""
        rows = self.rows(side)
        return whole if rows is None else rows.of(whole)

    def put(self, side: Side, whole: Array, part: Array) -> Array:
        """A side's whole tensor, with this part replaced."""
        rows = self.rows(side)
        return part if rows is None else rows.put(whole, part)

    def to_keras(self, array: Array) -> Array:
        """What Keras stores of a whole torch tensor (a view where NumPy can give one)."""
        part = self.part("torch", array)
        if self.gates is not None:
            part = _blocks(part, self.gates)
        return part.reshape(self.split).transpose(self.order).reshape(self.keras_shape)

    def to_torch(self, array: Array) -> Array:
        """What torch stores of a whole Keras tensor."""
        mixed = self.part("keras", array).reshape([self.split[axis] for axis in self.order])
        found = mixed.transpose(np.argsort(self.order)).reshape(self.torch_shape)
        return found if self.gates is None else _blocks(found, tuple(map(int, np.argsort(self.gates))))


def _blocks(array: Array, order: tuple[int, ...]) -> Array:
    """The blocks of the first axis in another order."""
    return array.reshape(len(order), -1, *array.shape[1:])[list(order)].reshape(array.shape)


def identity(shape: tuple[int, ...]) -> Layout:
    """The same layout on both sides."""
    return Layout(shape, shape, tuple(range(len(shape))), shape)


def reshaped(torch_shape: tuple[int, ...], keras_shape: tuple[int, ...]) -> Layout:
    """The same values in the same order, with other axes of length one."""
    return Layout(torch_shape, torch_shape, tuple(range(len(torch_shape))), keras_shape)


def permuted(torch_shape: tuple[int, ...], order: tuple[int, ...]) -> Layout:
    """A change of axis order alone."""
    return Layout(torch_shape, torch_shape, order, tuple(torch_shape[axis] for axis in order))


def convolution(torch_shape: tuple[int, ...]) -> Layout:
    """(a, b, *k) -> (*k, b, a): convolutions, transposed or not, and dense layers (no k)."""
    return permuted(torch_shape, (*range(2, len(torch_shape)), 1, 0))


def depthwise(torch_shape: tuple[int, ...], in_channels: int) -> Layout:
    """(I*m, 1, *k) -> (*k, I, m)."""
    kernel = torch_shape[2:]
    multiplier = torch_shape[0] // max(in_channels, 1)
    split = (in_channels, multiplier, *kernel)
    return Layout(torch_shape, split, (*range(2, len(split)), 0, 1), (*kernel, in_channels, multiplier))


def dense_after_flatten(torch_shape: tuple[int, ...], image: tuple[int, ...]) -> Layout:
    """(O, C*H*W) -> (H*W*C, O), where `image` is (H, W, C): the two sides flatten in different orders."""
    channels, spatial = image[-1], image[:-1]
    split = (torch_shape[0], channels, *spatial)
    order = (*range(2, len(split)), 1, 0)
    return Layout(torch_shape, split, order, (torch_shape[1], torch_shape[0]))


def vector_after_flatten(shape: tuple[int, ...], image: tuple[int, ...]) -> Layout:
    """(C*H*W,) -> (H*W*C,): a normalisation's vectors, where `image` is (H, W, C)."""
    split = (image[-1], *image[:-1])
    return Layout(shape, split, (*range(1, len(split)), 0), shape)


GATES = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "simple_rnn": (0,)}
"""Keras' gates by their place in torch: i, f, c, o are torch's i, f, g, o; z, r, h stand as r, z, n there."""


def recurrent(family: str, torch_shape: tuple[int, ...], keras_row: int | None = None) -> Layout | None:
    """A recurrent cell's kernel, (gates*U, I) -> (I, gates*U), or bias; None where the rows are not whole gates.

    Args:
        family: "lstm", "gru" or "simple_rnn".
        torch_shape: shape in torch.
        keras_row: which row of Keras' bias it is, where that has several.
    """
    gates = GATES[family]
    if torch_shape[0] % len(gates):
        return None
    order, moved = tuple(reversed(range(len(torch_shape)))), gates if gates != tuple(sorted(gates)) else None
    rows = None
    if keras_row is not None:  # Keras has both biases in one tensor, (2, gates*U)
        size = torch_shape[0]
        index = tuple(range(keras_row * size, (keras_row + 1) * size))
        rows = Rows((2, size), (0, 1), (2 * size,), index)
    return Layout(torch_shape, torch_shape, order, torch_shape[::-1], keras_rows=rows, gates=moved)


def weight_layout(
    families: tuple[str | None, str | None],
    torch_shape: tuple[int, ...],
    keras_shape: tuple[int, ...],
    flattened: tuple[int, ...] | None = None,
) -> Layout | None:
    """The rule for a layer's main weight, or None where none gives the shape that Keras holds.

    Args:
        families: kinds of the layer on the (keras, torch) side; one known kind is enough.
        torch_shape: shape in torch.
        keras_shape: shape in Keras.
        flattened: (H, W, C) of the image that Keras flattened just before this dense layer.
    """
    family = families[0] or families[1]
    candidates: list[Layout] = []
    rule: Layout | None
    if set(families) == {"conv", "dense"}:  # a convolution with a kernel of one is a dense layer
        if len(torch_shape) > 1 and prod(torch_shape) == torch_shape[0] * torch_shape[1] == prod(keras_shape):
            rule = convolution(torch_shape)
            candidates = [Layout(torch_shape, torch_shape, rule.order, keras_shape)]
            candidates = candidates if keras_shape[-2:] == rule.keras_shape[-2:] else []
    elif len(torch_shape) >= 2 and family in {"conv", "conv_transpose"}:
        candidates = [convolution(torch_shape)]
    elif family == "depthwise" and len(torch_shape) >= 3 and len(keras_shape) >= 3:
        if torch_shape[1] == 1 and torch_shape[0] == keras_shape[-2] * keras_shape[-1]:
            candidates = [depthwise(torch_shape, keras_shape[-2])]
    elif family == "dense" and len(torch_shape) == 2:
        fits = flattened is not None and prod(flattened) == torch_shape[1]
        candidates = [
            dense_after_flatten(torch_shape, flattened) if fits and flattened else convolution(torch_shape)
        ]
    elif family in GATES:
        rule = recurrent(family, torch_shape)
        candidates = [rule] if rule is not None else []
    elif family == "prelu" and prod(torch_shape) == prod(keras_shape):
        candidates = [Layout(torch_shape, torch_shape, tuple(range(len(torch_shape))), keras_shape)]
    else:
        candidates = [identity(torch_shape)]
    return next((rule for rule in candidates if rule.keras_shape == keras_shape), None)


def activation_to_torch(array: Array) -> Array:
    """(N, *spatial, C) -> (N, C, *spatial); arrays of rank 2 and below stay."""
    return array if array.ndim < 3 else np.moveaxis(array, -1, 1)


def activation_to_keras(array: Array) -> Array:
    """(N, C, *spatial) -> (N, *spatial, C); arrays of rank 2 and below stay."""
    return array if array.ndim < 3 else np.moveaxis(array, 1, -1)


def from_torch(array: Array, reading: str) -> Array:
    """A torch activation in the Keras layout, laid out as `aligned` says."""
    if reading == "channels first":
        return activation_to_keras(array)
    return np.moveaxis(array, 2, -1) if reading == "frames" else array


def as_torch(array: Array, reading: str) -> Array:
    """A Keras activation as torch lays it out, as `aligned` says."""
    if reading == "channels first":
        return activation_to_torch(array)
    return np.moveaxis(array, -1, 2) if reading == "frames" else array


def aligned(keras: Array, torch: Array) -> tuple[Array, str] | None:
    """The torch activation in the Keras layout, and how it was laid out; None where the shapes cannot agree.

    Images are channels last in Keras and channels first in torch; of films, the channels may stand behind the frames
    ("frames"). Where several readings fit the shape (a token sequence, or channels as many as rows), the closest one is
    taken: a wrong reading of equal tensors is never closer than the right one.
    """
    names = ("channels first", "as it is", *(("frames",) if torch.ndim > 4 else ()))
    readings = {name: from_torch(torch, name) for name in names}
    fitting = {name: value for name, value in readings.items() if value.shape == keras.shape}
    if not fitting:
        return None
    if len(fitting) == 1 or keras.ndim < 3:
        name, value = next(iter(fitting.items()))
        return value, name
    with np.errstate(invalid="ignore"):
        name = min(
            fitting,
            key=lambda reading: float(
                np.nan_to_num(np.abs(fitting[reading] - keras), nan=np.inf).max(initial=0)
            ),
        )
    return fitting[name], name
