"""What the rooms hand one another: arrays, sides, layers and their tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np

Side = Literal["keras", "torch"]
Array = np.ndarray[Any, Any]
T = TypeVar("T")


class Both(NamedTuple, Generic[T]):
    """What the Keras side has, and what the torch side has for it."""

    keras: T
    torch: T

    def of(self, side: Side) -> T:
        """What this side has."""
        return self.keras if side == "keras" else self.torch


class AxisPart(NamedTuple):
    """A part of one axis of a weight: what it counts ("in", "out", "space", ...), its place there, and its length.

    An axis that counts heads and features in one has two parts, the heads first.
    """

    role: str
    place: int
    size: int


@dataclass(frozen=True)
class WeightUse:
    """What an operation does with a weight: its family ("dense", "conv", "element", ...), and the parts of each axis."""

    family: str
    axes: tuple[tuple[AxisPart, ...], ...]


class RowRun(NamedTuple):
    """The rows of a table that a pass reads one behind the other: the first one, and how many."""

    first: int
    length: int


@dataclass(frozen=True)
class TensorInfo:
    """One weight or buffer: where it is, its shape and dtype, and its further names.

    `uses` is what the operations of a traced pass do with it, where its layer is of a class that is not known.
    `fixed` says that training never changes it: an index, a mask, a table, statistics of the data.
    `unread` says that training may change it and no step of a traced pass reads it, although its layer runs; it counts
    as `fixed` then.
    `walk` are the rows that a traced pass reads of a table of positions.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    aliases: tuple[str, ...] = ()
    uses: tuple[WeightUse, ...] = ()
    fixed: bool = False
    unread: bool = False
    walk: RowRun | None = None


TRAINED_BUFFERS = frozenset(
    {
        "running_mean", "running_var", "moving_mean", "moving_variance", "weight", "bias", "kernel", "gamma", "beta",
        "scale",
    }
)  # fmt: skip
"""Names of tensors that training changes, or changed once, although no gradient reaches them."""


@dataclass(frozen=True)
class LayerInfo:
    """One layer: its path from the model's root, its class, and the tensors that it owns itself.

    `family` is the kind of computation ("conv", "batchnorm", ...), None where the class is not known.
    `aliases` are further paths by which the mirror image may know the same layer.
    `settings` holds the attributes that decide what the layer computes.
    `whole` says that it computes as one step, whatever layers are inside: attention, recurrent layers.
    """

    path: str
    kind: str
    family: str | None
    tensors: tuple[TensorInfo, ...]
    leaf: bool
    aliases: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    whole: bool = False

    @property
    def several_steps(self) -> bool:
        """Whether a leaf of an unknown class holds several matrices, kernels or tables: it is several layers in one."""
        several = sum(sum(size != 1 for size in tensor.shape) > 1 for tensor in self.tensors) > 1
        return self.leaf and not self.whole and self.family is None and several


@dataclass(frozen=True)
class Family:
    """A kind of layer that parity knows, whichever class computes it.

    Attributes:
        name: what `LayerInfo.family` and the steps of a trace say.
        spellings: how classes, functions and operations of this kind are called, without case, punctuation and
            dimensions.
        kernel: it multiplies by a kernel, so that it may have a bias and a built-in activation.
        normalises: it may do without its scale (then one) and its offset (then zero).
    """

    name: str
    spellings: str = ""
    kernel: bool = False
    normalises: bool = False


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("conv", "conv convolution", kernel=True),
        Family("depthwise", "depthwiseconv", kernel=True),
        Family("separable", "separableconv", kernel=True),
        Family("conv_transpose", "convtranspose", kernel=True),
        Family("dense", "dense linear einsumdense", kernel=True),
        Family("batchnorm", "batchnorm batchnormalization syncbatchnorm", normalises=True),
        Family("layernorm", "layernorm layernormalization", normalises=True),
        Family("groupnorm", "groupnorm groupnormalization", normalises=True),
        Family("embedding"),
        Family("prelu"),
        Family("lstm", "lstm lstmcell"),
        Family("gru", "gru grucell"),
        Family("simple_rnn", "simplernn simplernncell rnn rnncell"),
    )
}
"""Every family by name. CONTRIBUTING.md says what else a new one needs."""
KERNELS = frozenset(family.name for family in FAMILIES.values() if family.kernel)
RECURRENT = frozenset({"lstm", "gru", "simple_rnn"})
NORMALISATIONS = frozenset(family.name for family in FAMILIES.values() if family.normalises)
