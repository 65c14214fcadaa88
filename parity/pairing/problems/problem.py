"""What could not be paired: one problem for each tensor, layer or entry of a mapping.

A problem is its fields, and code reads nothing else. `parity.pairing.problems.sentences` puts them into words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from parity.core.layout import convolution
from parity.core.types import LayerInfo, Side, TensorInfo


class ProblemKind(Enum):
    """What is wrong."""

    NO_COUNTERPART = auto()
    SHAPES = auto()
    SEVERAL = auto()
    MAPPING_UNKNOWN = auto()
    MAPPING_TWICE = auto()
    MAPPING_MIXED = auto()
    VALUES = auto()
    TIED = auto()
    ORIENTATION = auto()


@dataclass(frozen=True)
class Held:
    """A tensor, and the layer that holds it: its path and its class."""

    side: Side
    path: str
    name: str
    shape: tuple[int, ...]
    layer: str
    kind: str


@dataclass(frozen=True)
class Problem:
    """One tensor, layer or entry of a mapping without a fitting counterpart.

    Attributes:
        kind: what is wrong.
        keras: path of the Keras layer that it concerns, None where it concerns none.
        torch: likewise of the torch module.
        held: the tensors that it concerns: the one without a counterpart, or the two whose shapes do not correspond
            (Keras first).
        partner: paths of the layers of the other side with which the layer is paired all the same.
        candidates: paths that come into question: of the layers that fit as well, or that have a similar name.
        known: paths of layers with weights, where a mapping names what does not exist.
        made_up: whether that name is one that Keras makes up, which is another in each build.
        paths: the entry of a mapping that cannot be followed, or the paths in it that are wrong.
        side: whose path in the mapping is wrong.
        wanted: the shape that the Keras tensor would need.
        value: what the tensor must hold, since the other side has no such tensor.
        unrun: whether the layers that it concerns never run.
        vain: whether they run, and no step leads from what they give to an output.
    """

    kind: ProblemKind
    keras: str | None = None
    torch: str | None = None
    held: tuple[Held, ...] = ()
    partner: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    made_up: bool = False
    paths: tuple[str, ...] = ()
    side: Side | None = None
    wanted: tuple[int, ...] = ()
    value: float = 0.0
    unrun: bool = False
    vain: bool = False

    @property
    def lacks(self) -> str | None:
        """Name of the one tensor that the other side lacks ("bias"); None for problems of another kind."""
        return self.held[0].name if self.kind is ProblemKind.NO_COUNTERPART and self.held else None

    @property
    def misfit(self) -> tuple[str, str] | None:
        """(Keras path, torch path) of the two tensors whose shapes do not correspond."""
        return (self.held[0].path, self.held[1].path) if self.kind is ProblemKind.SHAPES else None


def held(side: Side, layer: LayerInfo, tensor: TensorInfo) -> Held:
    """A tensor with its layer."""
    return Held(side, tensor.path, tensor.name, tensor.shape, layer.path, layer.kind)


@dataclass(frozen=True)
class Parametrized:
    """A weight that torch computes anew in every pass (weight_norm, spectral_norm): its module's path and its name."""

    module: str
    name: str


def parametrized(tensor: Held) -> Parametrized | None:
    """The weight that torch computes from this tensor, where it does."""
    module, mark, rest = f".{tensor.path}".partition(".parametrizations.")
    if tensor.side != "torch" or not mark:
        return None
    return Parametrized(module.removeprefix("."), rest.partition(".")[0])


def without_counterpart(
    side: Side, layer: LayerInfo, tensor: TensorInfo, partner: tuple[str, ...]
) -> Problem:
    """A tensor that the other side lacks, in a layer that may be paired with `partner` all the same."""
    keras, torch = (layer.path, None) if side == "keras" else (None, layer.path)
    return Problem(ProblemKind.NO_COUNTERPART, keras, torch, (held(side, layer, tensor),), partner, side=side)


def misshapen(
    keras: tuple[LayerInfo, TensorInfo], torch: tuple[LayerInfo, TensorInfo], transposed: bool
) -> Problem:
    """Two tensors that correspond by their names, and whose shapes do not.

    Args:
        keras: the Keras layer and its tensor.
        torch: the torch layer and its tensor.
        transposed: whether the torch tensor is a kernel, whose axes Keras holds in another order.
    """
    wanted = convolution(torch[1].shape).keras_shape if transposed else torch[1].shape
    pair = held("keras", *keras), held("torch", *torch)
    return Problem(ProblemKind.SHAPES, keras[0].path, torch[0].path, pair, wanted=wanted)
