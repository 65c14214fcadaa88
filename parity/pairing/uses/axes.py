"""One layout rule for weights in any orientation: the parts of their axes are laid onto one another by their roles."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from parity.core.layout import Layout
from parity.core.types import NORMALISATIONS, AxisPart, Side, TensorInfo, WeightUse

Axes = tuple[tuple[AxisPart, ...], ...]
LINEAR = frozenset({"conv", "depthwise", "conv_transpose", "dense"})
"""Families of operations that multiply by a kernel."""
CROSSWISE = frozenset({"conv", "depthwise", "dense"})
"""Those of them that may stand for one another: with a kernel of one, a convolution is a dense layer."""


VECTORS = {
    "weight": "scale", "gamma": "scale", "scale": "scale", "bias": "offset", "beta": "offset",
    "running_mean": "mean", "moving_mean": "mean", "running_var": "variance", "moving_variance": "variance",
}  # fmt: skip
"""What the frameworks' own layers do with their vectors, by name."""


NAMES = {
    **dict.fromkeys(LINEAR, "weight"), "scale": "weight", "offset": "bias", "mean": "running_mean",
    "variance": "running_var",
}  # fmt: skip
"""How torch's own layers call a tensor, by what is done with it."""


def own_layout(use: WeightUse, shape: Sequence[int]) -> Layout | None:
    """From how a torch tensor is stored to how torch's own layer of its family stores it."""
    if use.family not in LINEAR:
        flat = (prod(shape),) if use.family in NAMES else tuple(shape)
        return Layout(tuple(shape), tuple(shape), tuple(range(len(shape))), flat)
    ends = ("in", "out") if use.family == "conv_transpose" else ("out", "in")
    space = _of_role(use.axes, "space")
    if {part.role for axis in use.axes for part in axis} - {*ends, "space"}:
        return None
    counts = [prod(sizes(use, end)) for end in ends] + [part.size for part in space]
    roles = [(AxisPart(end, 0, count),) for end, count in zip(ends, counts, strict=False)]
    wanted = WeightUse(use.family, (*roles, *((part,) for part in space)))
    return layout_between(wanted, use, counts, shape)


def standard(side: Side, family: str | None, tensor: TensorInfo) -> WeightUse:
    """How a layer of a known family uses its tensor."""
    shape = tensor.shape
    if family in LINEAR and len(shape) > 1 and tensor.name in {"weight", "kernel", "depthwise_kernel"}:
        space = [f"space {i}" for i in range(len(shape) - 2)]
        names = ["in", "out"] if family == "conv_transpose" else ["out", "in"]
        if side == "keras" and (family == "depthwise" or tensor.name == "depthwise_kernel"):
            return WeightUse("depthwise", axes_of([*space, "out 0", "out 1"], shape))
        order = [*names, *space] if side == "torch" else [*space, *reversed(names)]
        return WeightUse(str(family), axes_of(order, shape))
    norms = VECTORS if family in NORMALISATIONS or tensor.name == "bias" else {}
    return WeightUse(
        norms.get(tensor.name, "element"), axes_of([f"at {i}" for i in range(len(shape))], shape)
    )


def axes_of(roles: Sequence[str], shape: Sequence[int]) -> Axes:
    """One part for each axis, named "role" or "role place"; an axis of length one has none."""
    found = []
    for name, size in zip(roles, shape, strict=True):
        role, _, place = name.partition(" ")
        found.append((AxisPart(role, int(place or 0), int(size)),) if size != 1 else ())
    return tuple(found)


def sizes(use: WeightUse, role: str) -> tuple[int, ...]:
    """The lengths of the parts of one role, in order."""
    return tuple(part.size for part in _of_role(use.axes, role))


def in_common(keras: Sequence[WeightUse], torch: Sequence[WeightUse]) -> tuple[WeightUse, WeightUse] | None:
    """The first uses on both sides that may be one: of one family, or of two that stand for one another."""
    for first in keras:
        for second in torch:
            both = {first.family, second.family}
            if len(both) == 1 or both <= CROSSWISE or ("element" in both and not both & LINEAR):
                return first, second
    return None


def layout_between(
    keras: WeightUse,
    torch: WeightUse,
    keras_shape: Sequence[int],
    torch_shape: Sequence[int],
    image: Sequence[int] | None = None,
) -> Layout | None:
    """The rule between two weights that are used alike; None where their parts do not have the same sizes.

    Args:
        keras: the use of the Keras tensor.
        torch: the use of the torch tensor.
        keras_shape: its shape.
        torch_shape: likewise.
        image: (H, W, C) of the image that Keras flattened in front: torch counts its inputs as C, H, W.
    """
    axes = keras.axes, torch.axes
    if image is not None and sizes(keras, "in") == sizes(torch, "in") == (prod(image),):
        axes = (
            _flattened(axes[0], image, range(len(image))),
            _flattened(axes[1], (image[-1], *image[:-1]), (len(image) - 1, *range(len(image) - 1))),
        )
    roles = sorted({part.role for side in axes for axis in side for part in axis})
    pieces: dict[tuple[int, str, int], list[tuple[str, int, int]]] = {}
    for role in roles:
        found = _of_role(axes[0], role), _of_role(axes[1], role)
        common = _refined(*([part.size for part in parts] for parts in found))
        if common is None:
            return None
        for side, parts in enumerate(found):
            at = 0
            for part in parts:
                own: list[tuple[str, int, int]] = []
                while prod(size for _, _, size in own) < part.size:
                    own.append((role, at, common[at]))
                    at += 1
                pieces[side, role, part.place] = own
    order = [
        [piece for axis in side for part in axis for piece in pieces[number, part.role, part.place]]
        for number, side in enumerate(axes)
    ]
    if sorted(order[0]) != sorted(order[1]):
        return None
    split = tuple(size for _, _, size in order[1])
    return Layout(
        tuple(torch_shape), split, tuple(order[1].index(piece) for piece in order[0]), tuple(keras_shape)
    )


def _flattened(axes: Axes, image: Sequence[int], places: Sequence[int]) -> Axes:
    """The axes with the one part "in" taken apart into those of an image."""
    apart = tuple(AxisPart("in", place, size) for place, size in zip(places, image, strict=True) if size != 1)
    return tuple(
        tuple(new for part in axis for new in (apart if part.role == "in" else (part,))) for axis in axes
    )


def _of_role(axes: Axes, role: str) -> list[AxisPart]:
    found = [part for axis in axes for part in axis if part.role == role]
    return sorted(found, key=lambda part: part.place)


def _refined(first: Sequence[int], second: Sequence[int]) -> list[int] | None:
    """The finer of two sequences, where the other has products of neighbours of it; None where neither is that."""
    for fine, coarse in ((list(first), second), (list(second), first)):
        ends = {prod(fine[:i]) for i in range(len(fine) + 1)}
        if prod(fine) == prod(coarse) and all(prod(coarse[:i]) in ends for i in range(len(coarse))):
            return fine
    return None
