"""Activations: functions, layers, and those that other layers have inside."""

from __future__ import annotations

from typing import Any

from parity.porting.to_torch.axes import TorchAxes
from parity.porting.to_torch.piece import Name
from parity.porting.to_torch.use import RefusedError, StepUse, literal

FUNCTIONS = {
    "relu": "F.relu", "relu6": "F.relu6", "sigmoid": "torch.sigmoid", "tanh": "torch.tanh", "silu": "F.silu",
    "swish": "F.silu", "elu": "F.elu", "selu": "F.selu", "softplus": "F.softplus", "softsign": "F.softsign",
    "hard_sigmoid": "F.hardsigmoid", "hard_silu": "F.hardswish", "hard_swish": "F.hardswish", "mish": "F.mish",
    "exponential": "torch.exp", "log_sigmoid": "F.logsigmoid", "celu": "F.celu", "glu": "F.glu",
    "tanh_shrink": "F.tanhshrink", "hard_tanh": "F.hardtanh", "gelu": "F.gelu", "leaky_relu": "F.leaky_relu",
    "hard_shrink": "F.hardshrink", "soft_shrink": "F.softshrink",
}  # fmt: skip
"""Keras' activations that torch has with the same formula, whatever its default arguments are."""


def applied(use: StepUse, text: str, activation: Any, axes: TorchAxes) -> str:
    """A text with an activation around it; the tensor lies as `axes` says."""
    name = getattr(activation, "__name__", type(activation).__name__)
    if activation is None or name in ("linear", "Identity"):
        return text
    if name in ("softmax", "log_softmax"):
        return f"F.{name}({text}, dim={axes.torch(-1)})"
    settings = dict(getattr(activation, "keywords", None) or {})
    if name == "partial":
        name = getattr(activation.func, "__name__", "")
    if name in ("ReLU", "LeakyReLU", "ELU", "Softmax", "PReLU", "Activation"):
        raise RefusedError(f"the layer {name} stands as an activation inside another layer")
    if name not in FUNCTIONS or settings:
        raise RefusedError(f"the activation {name} has no counterpart in torch")
    if name == "leaky_relu":
        return f"F.leaky_relu({text}, 0.2)"
    return f"{use.constant('activation', Name(FUNCTIONS[name]))}({text})"


def activation(use: StepUse) -> None:
    """The layer Activation."""
    axes = use.axes(use.x)
    if getattr(use.get("activation"), "__name__", "") == "linear":
        return use.give(use.take(use.x), axes, alias=True)
    return use.give(applied(use, use.take(use.x), use.get("activation"), axes), axes)


def relu(use: StepUse) -> None:
    """The layer ReLU, with its slope, its bound and its threshold."""
    text, axes = use.take(use.x), use.axes(use.x)
    slope, bound = float(use.get("negative_slope") or 0), use.get("max_value")
    threshold = float(use.get("threshold") or 0)
    if threshold:
        raise RefusedError("a ReLU with a threshold has no counterpart in torch")
    if bound is not None and slope:
        return use.give(f"F.leaky_relu({text}, {literal(slope)}).clamp(max={literal(float(bound))})", axes)
    if bound is None:
        function = f"F.leaky_relu({text}, {use.constant('negative_slope', slope)})" if slope else None
        return use.give(function or f"{use.constant('activation', Name('F.relu'))}({text})", axes)
    if float(bound) == 6:
        return use.give(f"{use.constant('activation', Name('F.relu6'))}({text})", axes)
    return use.give(f"F.hardtanh({text}, 0, {literal(float(bound))})", axes)


def leaky_relu(use: StepUse) -> None:
    """The layer LeakyReLU."""
    slope = use.constant("negative_slope", float(use.get("negative_slope")))
    use.give(f"F.leaky_relu({use.take(use.x)}, {slope})", use.axes(use.x))


def elu(use: StepUse) -> None:
    """The layer ELU."""
    alpha = use.constant("alpha", float(use.get("alpha", 1.0)))
    use.give(f"F.elu({use.take(use.x)}, {alpha})", use.axes(use.x))


def softmax(use: StepUse) -> None:
    """The layer Softmax, over one axis or several."""
    axes, text, along = use.axes(use.x), use.take(use.x), use.get("axis", -1)
    if len(use.tensors) > 1 or use.kwargs.get("mask") is not None:
        raise RefusedError("a softmax with a mask has no counterpart yet")
    if isinstance(along, int):
        return use.give(f"F.softmax({text}, dim={axes.torch(along)})", axes)
    dims = sorted(axes.torch(axis % axes.rank) for axis in along)
    if dims != list(range(dims[0], dims[-1] + 1)):
        raise RefusedError("a softmax over axes that are apart in torch has no counterpart")
    text = use.take(use.x, atom=True)
    return use.give(f"{text}.flatten({dims[0]}, {dims[-1]}).softmax({dims[0]}).view_as({text})", axes)


def prelu(use: StepUse) -> None:
    """The layer PReLU: one slope for each channel, or slopes at every place."""
    axes, shape = use.axes(use.x), tuple(use.layer.alpha.shape)
    if any(size != 1 for size in shape[:-1]):
        raise RefusedError("a PReLU with a slope at every place has no counterpart in torch")
    text = use.as_images(use.x) if axes.rank > 2 else use.plainly(use.x)
    from parity.porting.to_torch.axes import images

    made = use.module("nn.PReLU", ("num_parameters",), num_parameters=int(shape[-1]))
    use.give(f"{made}({text})", images(axes.rank))
    del axes


RULES = {
    "Activation": activation, "ReLU": relu, "LeakyReLU": leaky_relu, "ELU": elu, "Softmax": softmax, "PReLU": prelu,
}  # fmt: skip
