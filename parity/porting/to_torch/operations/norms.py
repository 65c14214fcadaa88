"""Normalisation of keras.ops: by given statistics, or along axes; moments."""

from __future__ import annotations

from typing import Any

from parity.porting.to_torch.axes import TorchAxes, images, plain
from parity.porting.to_torch.use import RefusedError, StepUse, flat, literal
from parity.porting.to_torch.values import is_variable

KERAS_EPSILON = 1e-7
"""What keras.ops take where no epsilon is given."""


def _operand(use: StepUse, place: int, name: str) -> Any:
    return use.args[place] if len(use.args) > place else use.kwargs.get(name)


def batch_norm(use: StepUse) -> None:
    """batch_normalization: by statistics that are weights, or that were computed before."""
    rank = len(use.x.shape)
    if int(use.get("axis", -1)) % rank != rank - 1:
        raise RefusedError("batch_normalization of keras.ops along an axis that is not the last one")
    mean, variance = _operand(use, 1, "mean"), _operand(use, 2, "variance")
    offset, scale = _operand(use, 3, "offset"), _operand(use, 4, "scale")
    epsilon = literal(float(use.get("epsilon")))
    axes = images(rank)
    held = is_variable(mean) and is_variable(variance)
    function = (
        "F.batch_norm" if held else use.helper("batch_normalized")
    )  # torch's has no gradient for statistics
    parts = [use.take(use.x, axes), use.take(mean), use.take(variance)]
    names = ("weight", "bias")
    parts += [
        f"{name}={use.take(value)}"
        for name, value in zip(names, (scale, offset), strict=True)
        if value is not None
    ]
    use.give(f"{function}({', '.join(parts)}, eps={epsilon})", axes)


def _shape(use: StepUse) -> tuple[int, ...]:
    """The sizes of the axes that are normalised: the last ones."""
    rank = len(use.x.shape)
    along = sorted(axis % rank for axis in flat([use.get("axis")]))
    if along != list(range(along[0], rank)):
        raise RefusedError("a normalisation of keras.ops over axes that are not the last ones")
    return tuple(int(use.x.shape[axis]) for axis in along)


def _epsilon(use: StepUse) -> str:
    given = use.get("epsilon")
    return literal(KERAS_EPSILON if given is None else float(given))


def layer_norm(use: StepUse) -> None:
    """layer_normalization."""
    if use.get("rms_scaling"):
        raise RefusedError("layer_normalization of keras.ops with rms_scaling")
    gamma, beta = _operand(use, 1, "gamma"), _operand(use, 2, "beta")
    parts = [use.plainly(use.x), literal(_shape(use))]
    parts += [f"weight={use.plainly(gamma)}"] if gamma is not None else []
    parts += [f"bias={use.plainly(beta)}"] if beta is not None else []
    use.give(f"F.layer_norm({', '.join(parts)}, eps={_epsilon(use)})", plain(len(use.x.shape)))


def rms_norm(use: StepUse) -> None:
    """rms_normalization."""
    scale = _operand(use, 1, "scale")
    parts = [use.plainly(use.x), literal(_shape(use))]
    parts += [f"weight={use.plainly(scale)}"] if scale is not None else []
    use.give(f"F.rms_norm({', '.join(parts)}, eps={_epsilon(use)})", plain(len(use.x.shape)))


def moments(use: StepUse) -> None:
    """moments: the mean and the variance along axes."""
    axes, rank = use.axes(use.x), len(use.x.shape)
    axes = plain(rank) if axes.flat else axes
    gone = [axis % rank for axis in flat([use.get("axes")])]
    dims = literal(tuple(sorted(axes.torch(axis) for axis in gone)))
    keep = ", keepdim=True" if use.get("keepdims") else ""
    kept = [axis for axis in axes.order if axis not in gone]
    after = axes if keep else TorchAxes(tuple(sorted(kept).index(axis) for axis in kept))
    text = use.take(use.x, axes, atom=True)
    use.piece.unpacked = True
    use.give(f"{text}.mean({dims}{keep}), {text}.var({dims}, correction=0{keep})", after, after, atom=False)


RULES = {"BatchNorm": batch_norm, "LayerNorm": layer_norm, "RMSNorm": rms_norm, "Moments": moments}
