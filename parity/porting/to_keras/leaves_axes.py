"""What torch's own layers need of the order of their input's axes, and the order they give."""

from __future__ import annotations

import inspect
import re
from typing import Any

from parity.porting.to_keras.layout.axes import HeldOrder, channels_last, identity, without

IMAGES = re.compile(
    r"(Lazy)?(Conv\d|ConvTranspose\d|BatchNorm|SyncBatchNorm|InstanceNorm|GroupNorm|.*Pool\dd|Upsample|UpsamplingNearest2d"
    r"|UpsamplingBilinear2d|PixelShuffle|PixelUnshuffle|.*Pad\dd|Dropout[123]d|FeatureAlphaDropout|ChannelShuffle"
    r"|LocalResponseNorm|Unfold|Softmax2d|PReLU)"
)
POINTWISE = re.compile(
    r"(ReLU6?|LeakyReLU|RReLU|ELU|CELU|SELU|GELU|SiLU|Mish|Sigmoid|LogSigmoid|Tanh|Tanhshrink|Hardtanh|Hardswish"
    r"|Hardsigmoid|Hardshrink|Softplus|Softshrink|Softsign|Threshold|Identity|Dropout|AlphaDropout|Softmax|LogSoftmax"
    r"|Softmin|DropPath|StochasticDepth|GLU)"
)


def torch_name(module: Any) -> str | None:
    """The name of the first class of torch's that a module is one of; None for a module of the user's."""
    for base in type(module).__mro__:
        if base.__module__.startswith("torch.nn") and base.__name__ != "Module":
            return base.__name__
    return None


def is_sequence(cls: Any) -> bool:
    """Whether a class is nn.Sequential, or one that keeps its forward."""
    base = next(
        (b for b in cls.__mro__ if b.__name__ == "Sequential" and b.__module__.startswith("torch.nn")), None
    )
    return base is not None and cls.forward is base.forward


def is_row(cls: Any) -> bool:
    """Whether a class derives from nn.Sequential, and runs its layers in a way of its own."""
    named = (base.__name__ for base in cls.__mro__ if base.__module__.startswith("torch.nn"))
    return "Sequential" in named and not is_sequence(cls)


def leaf_order(module: Any, order: HeldOrder, rank_after: int) -> tuple[HeldOrder, HeldOrder]:
    """(the order that a layer needs of its first input, the order of what it gives)."""
    name = torch_name(module) or type(module).__name__
    rank = len(order)
    if POINTWISE.fullmatch(name):
        return order, order
    if IMAGES.match(name):
        return channels_last(rank), channels_last(rank_after)
    if name in ("Linear", "LazyLinear", "RMSNorm"):
        wanted = order if order and order[-1] == rank - 1 else identity(rank)
        return wanted, wanted
    if name == "LayerNorm":
        count = len(module.normalized_shape)
        fits = order[rank - count :] == tuple(range(rank - count, rank))
        return (order, order) if fits else (identity(rank), identity(rank))
    if name == "Embedding":
        return order, (*order, rank)
    if name == "Unflatten" and rank == 2:
        return identity(rank), channels_last(rank_after)
    if name in ("AdaptiveAvgPool1d", "AdaptiveMaxPool1d"):
        return channels_last(rank), channels_last(rank_after)
    if rank_after < rank:
        return identity(rank), without(identity(rank), range(rank_after, rank))
    return identity(rank), identity(rank_after)


_CONVOLUTIONS = {
    "stride": "strides",
    "dilation": "dilation_rate",
    "kernel_size": "kernel_size",
    "groups": "groups",
}
"""Settings of convolutions that Keras' layers have in the same form, and what these call them."""


def setting_text(module: Any, name: str) -> str | None:
    """What a body reads of the Keras layer where it reads a setting of torch's; None where that is no plain setting.

    A setting that Keras' layer has not is the number itself.
    """
    kind, value = torch_name(module) or "", getattr(module, name, None)
    plain = isinstance(value, int | float | str) or (
        isinstance(value, tuple) and all(isinstance(item, int | float | str) for item in value)
    )
    if not plain or name == "training":
        return None
    if kind == "Linear" and name in ("in_features", "out_features"):
        return "units" if name == "out_features" else "kernel.shape[0]"
    if re.fullmatch(r"Conv\dd", kind) and name == "out_channels" and module.groups == 1:
        return "filters"
    if re.fullmatch(r"Conv(Transpose)?\dd", kind) and name in _CONVOLUTIONS:
        return _CONVOLUTIONS[name]
    if re.match(r"(Batch|Layer|Group)Norm", kind) and name == "eps":
        return "epsilon"
    if re.fullmatch(r"(Alpha)?Dropout\d?d?", kind) and name == "p":
        return "rate"
    if kind == "Embedding" and name in ("num_embeddings", "embedding_dim"):
        return "input_dim" if name == "num_embeddings" else "output_dim"
    return repr(value)


def sets_itself(cls: Any, name: str) -> bool:
    """Whether a class that derives from one of torch's sets an attribute in its own code."""
    for base in cls.__mro__:
        if base.__module__.startswith("torch.nn"):
            return False
        try:
            source = inspect.getsource(base)
        except (OSError, TypeError):
            return True
        if re.search(rf"\bself\.{name}\b[^=\n]*=(?!=)", source):
            return True
    return True


_NORMS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def weight_of(module: Any, name: str) -> tuple[str, HeldOrder] | None:
    """(the attribute, the order of axes) in which the Keras layer for a module has one of its weights.

    None where the module is no layer of torch's, so that the weight has its own name and shape.
    """
    kind = torch_name(module) or ""
    tensor = getattr(module, name, None)
    if tensor is None:
        return None
    rank = tensor.ndim
    if (
        re.fullmatch(r"(BatchNorm|InstanceNorm)\dd|SyncBatchNorm|LayerNorm|GroupNorm", kind)
        and name in _NORMS
    ):
        return _NORMS[name], identity(rank)
    if kind == "Embedding" and name == "weight":
        return "embeddings", identity(rank)
    if re.fullmatch(r"Linear|NonDynamicallyQuantizableLinear|Conv\dd|ConvTranspose\dd", kind):
        if name == "weight":
            return "kernel", (*range(2, rank), 1, 0)
        if name == "bias":
            return "bias", identity(rank)
    return None
