"""Activations: functions, layers, and those that other layers have inside."""

from __future__ import annotations

from typing import Any

from parity.porting.to_torch.axes import TorchAxes
from parity.porting.to_torch.piece import Name
from parity.porting.to_torch.use import RefusedError, StepUse, literal
from parity.porting.to_torch.values import is_layer, is_tensor

FUNCTIONS = {
    "relu": "F.relu", "relu6": "F.relu6", "sigmoid": "torch.sigmoid", "tanh": "torch.tanh", "silu": "F.silu",
    "swish": "F.silu", "elu": "F.elu", "selu": "F.selu", "softplus": "F.softplus", "softsign": "F.softsign",
    "hard_sigmoid": "F.hardsigmoid", "hard_silu": "F.hardswish", "hard_swish": "F.hardswish", "mish": "F.mish",
    "exponential": "torch.exp", "log_sigmoid": "F.logsigmoid", "celu": "F.celu", "glu": "F.glu",
    "tanh_shrink": "F.tanhshrink", "hard_tanh": "F.hardtanh", "gelu": "F.gelu", "leaky_relu": "F.leaky_relu",
    "hard_shrink": "F.hardshrink", "soft_shrink": "F.softshrink",
}  # fmt: skip
"""Keras' activations that torch has with the same formula, whatever its default arguments are."""
HELPED = ("squareplus", "sparse_plus", "sparse_sigmoid")
"""Those that a helper of the port computes, under the same name."""
LAYERS = ("ReLU", "LeakyReLU", "ELU", "Softmax")
"""Layers without weights that may stand as an activation inside another layer."""


def applied(use: StepUse, text: str, activation: Any, axes: TorchAxes) -> str:
    """A text with an activation around it; the tensor lies as `axes` says."""
    name = getattr(activation, "__name__", type(activation).__name__)
    if activation is None or name in ("linear", "Identity"):
        return text
    if name in ("softmax", "log_softmax"):
        return f"F.{name}({text}, dim={axes.torch(-1)})"
    if name == "sparsemax":
        return f"{use.helper(name)}({text}, dim={axes.torch(-1)})"
    if name in HELPED:
        return f"{use.helper(name)}({text})"
    if name in LAYERS and is_layer(activation):
        return _of_layer(use, text, activation, axes)
    settings = dict(getattr(activation, "keywords", None) or {})
    if name == "partial":
        name = getattr(activation.func, "__name__", "")
    if is_layer(activation):
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


def _of_layer(use: StepUse, text: str, layer: Any, axes: TorchAxes) -> str:
    """A layer without weights as an activation."""
    name = type(layer).__name__
    if name == "ReLU":
        return _relu(use, text, layer)
    if name == "Softmax":
        if not isinstance(layer.axis, int):
            raise RefusedError("a Softmax over several axes stands as an activation inside another layer")
        return f"F.softmax({text}, dim={axes.torch(layer.axis)})"
    slope = layer.negative_slope if name == "LeakyReLU" else layer.alpha
    return f"F.{'leaky_relu' if name == 'LeakyReLU' else 'elu'}({text}, {literal(float(slope))})"


def _relu(use: StepUse, text: str, layer: Any) -> str:
    """A ReLU with its slope, its bound and its threshold."""
    slope, bound = float(getattr(layer, "negative_slope", 0) or 0), getattr(layer, "max_value", None)
    threshold = float(getattr(layer, "threshold", 0) or 0)
    if threshold:
        more = f", negative_slope={literal(slope)}" if slope else ""
        more += f", threshold={literal(threshold)}"
        more += f", max_value={literal(float(bound))}" if bound is not None else ""
        return f"{use.helper('bounded_relu')}({text}{more})"
    if bound is not None and slope:
        return f"F.leaky_relu({text}, {literal(slope)}).clamp(max={literal(float(bound))})"
    if bound is None:
        function = f"F.leaky_relu({text}, {use.constant('negative_slope', slope)})" if slope else None
        return function or f"{use.constant('activation', Name('F.relu'))}({text})"
    if float(bound) == 6:
        return f"{use.constant('activation', Name('F.relu6'))}({text})"
    return f"F.hardtanh({text}, 0, {literal(float(bound))})"


def relu(use: StepUse) -> None:
    """The layer ReLU, and the activation with settings."""
    use.give(_relu(use, use.take(use.x), use.layer), use.axes(use.x))


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
    mask = use.args[1] if len(use.args) > 1 else use.kwargs.get("mask")
    if mask is not None:
        if not isinstance(along, int) or not is_tensor(mask) or len(mask.shape) != axes.rank:
            raise RefusedError("a softmax with a mask of another rank, or over several axes")
        scores = use.take(use.x, atom=True)
        hidden = f"{scores}.masked_fill({use.take(mask, axes, atom=True)} == 0, torch.finfo({scores}.dtype).min / 2)"
        return use.give(f"F.softmax({hidden}, dim={axes.torch(along)})", axes)
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
