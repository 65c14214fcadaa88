"""What could not be paired: one problem for each tensor, layer or entry of a mapping.

A problem is its fields, and code reads nothing else. `sentence` makes the line for a person from them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, auto

from parity.core.finding import ROOT
from parity.core.layout import convolution
from parity.core.types import LayerInfo, Side, TensorInfo

NAMES = {"keras": "Keras", "torch": "torch"}
"""How a sentence calls the two sides."""
SHOWN = 5
"""Paths that one sentence lists."""


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
        paths: the entry of a mapping that cannot be followed, or the paths in it that are wrong.
        side: whose path in the mapping is wrong.
        wanted: the shape that the Keras tensor would need.
        value: what the tensor must hold, since the other side has no such tensor.
    """

    kind: ProblemKind
    keras: str | None = None
    torch: str | None = None
    held: tuple[Held, ...] = ()
    partner: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    side: Side | None = None
    wanted: tuple[int, ...] = ()
    value: float = 0.0

    @property
    def lacks(self) -> str | None:
        """Name of the one tensor that the other side lacks ("bias"); None for problems of another kind."""
        return self.held[0].name if self.kind is ProblemKind.NO_COUNTERPART and self.held else None

    @property
    def misfit(self) -> tuple[str, str] | None:
        """(Keras path, torch path) of the two tensors whose shapes do not correspond."""
        return (self.held[0].path, self.held[1].path) if self.kind is ProblemKind.SHAPES else None

    @property
    def text(self) -> str:
        """The problem in one line, for a person."""
        return sentence(self)


def held(side: Side, layer: LayerInfo, tensor: TensorInfo) -> Held:
    """A tensor with its layer."""
    return Held(side, tensor.path, tensor.name, tensor.shape, layer.path, layer.kind)


def without_counterpart(
    side: Side, layer: LayerInfo, tensor: TensorInfo, partner: tuple[str, ...]
) -> Problem:
    """A tensor that the other side lacks, in a layer that may be paired with `partner` all the same."""
    keras, torch = (layer.path, None) if side == "keras" else (None, layer.path)
    return Problem(ProblemKind.NO_COUNTERPART, keras, torch, (held(side, layer, tensor),), partner, side=side)


def unknown_path(side: Side, path: str, layers: Mapping[str, LayerInfo]) -> Problem:
    """A path of a mapping that is no layer and no tensor of the model, with those of similar names."""
    weighty = [name for name, layer in layers.items() if layer.tensors]
    tensors = [tensor.path for name in weighty for tensor in layers[name].tensors]
    near = get_close_matches(path, [*layers, *tensors], n=3)
    return Problem(
        ProblemKind.MAPPING_UNKNOWN, candidates=tuple(near), known=tuple(weighty), paths=(path,), side=side
    )


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


# --- in words --------------------------------------------------------------------------------------------


def sentence(problem: Problem) -> str:
    """The problem in one line: what must hold, what came, and what to do."""
    return _SENTENCES[problem.kind](problem)


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
    return f"{described(tensor)} has no counterpart in {where}" + (f"; {computed.text}" if computed else "")


@dataclass(frozen=True)
class Parametrized:
    """A weight that torch computes anew in every pass (weight_norm, spectral_norm): its module's path and its name."""

    module: str
    name: str

    @property
    def text(self) -> str:
        """What to do about it."""
        owner = "module" + re.sub(r"\.(\d+)", r"[\1]", f".{self.module}" if self.module else "")
        return (
            f"{owner}.{self.name} is computed from other tensors in every pass: make it a plain weight with "
            f"torch.nn.utils.parametrize.remove_parametrizations({owner}, {self.name!r})"
        )


def parametrized(tensor: Held) -> Parametrized | None:
    """The weight that torch computes from this tensor, where it does."""
    module, mark, rest = f".{tensor.path}".partition(".parametrizations.")
    if tensor.side != "torch" or not mark:
        return None
    return Parametrized(module.removeprefix("."), rest.partition(".")[0])


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


_SENTENCES = {
    ProblemKind.NO_COUNTERPART: _no_counterpart,
    ProblemKind.SHAPES: _shapes,
    ProblemKind.SEVERAL: _several,
    ProblemKind.MAPPING_UNKNOWN: _unknown,
    ProblemKind.MAPPING_TWICE: _twice,
    ProblemKind.MAPPING_MIXED: _mixed,
    ProblemKind.VALUES: _values,
    ProblemKind.TIED: _tied,
}
