"""Activations and dropout: Keras' own by name, or with settings."""

from __future__ import annotations

from parity.porting.to_keras.leaves.setting import Leaf, NoCounterpartError, Settings

BY_NAME = {
    "SiLU": "silu",
    "Hardswish": "hard_swish",
    "Hardsigmoid": "hard_sigmoid",
    "Mish": "mish",
    "SELU": "selu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softsign": "softsign",
    "Tanhshrink": "tanh_shrink",
    "LogSigmoid": "log_sigmoid",
}
"""Activations without settings, and Keras' names of them."""


def by_name(settings: Settings) -> Leaf:
    """An activation without settings."""
    return Leaf("keras.layers.Activation", (f'"{BY_NAME[settings.kind]}"',))


def relu(settings: Settings) -> Leaf:
    """nn.ReLU."""
    return Leaf("keras.layers.ReLU")


def relu6(settings: Settings) -> Leaf:
    """nn.ReLU6."""
    return Leaf("keras.layers.ReLU", ("max_value=6",))


def identity(settings: Settings) -> Leaf:
    """nn.Identity, whatever its arguments."""
    return Leaf("keras.layers.Identity")


def gelu(settings: Settings) -> Leaf:
    """nn.GELU."""
    approximate = settings["approximate"]
    if approximate.always("none") or approximate.fixed("none"):
        return Leaf("keras.layers.Activation", ('"gelu"',))
    if approximate.always("tanh") or approximate.fixed("tanh"):
        return Leaf("GELU", ("approximate=True",), frozenset({"GELU"}))
    return Leaf("GELU", (f'approximate={approximate.text} == "tanh"',), frozenset({"GELU"}))


def leaky_relu(settings: Settings) -> Leaf:
    """nn.LeakyReLU."""
    return Leaf("keras.layers.LeakyReLU", (f"negative_slope={settings['negative_slope'].text}",))


def elu(settings: Settings) -> Leaf:
    """nn.ELU."""
    return Leaf("keras.layers.ELU", tuple(settings.optional("alpha", "alpha", 1.0)))


def hardtanh(settings: Settings) -> Leaf:
    """nn.Hardtanh."""
    if settings["min_val"].fixed(0, 0.0):
        return Leaf("keras.layers.ReLU", (f"max_value={settings['max_val'].text}",))
    return _helper(settings, "Clip", ("min_val", -1.0), ("max_val", 1.0))


def softplus(settings: Settings) -> Leaf:
    """nn.Softplus."""
    return _helper(settings, "Softplus", ("beta", 1.0), ("threshold", 20.0))


def celu(settings: Settings) -> Leaf:
    """nn.CELU."""
    if settings["alpha"].fixed(1.0):
        return Leaf("keras.layers.Activation", ('"celu"',))
    return _helper(settings, "CELU", ("alpha", 1.0))


def softshrink(settings: Settings) -> Leaf:
    """nn.Softshrink."""
    if settings["lambd"].fixed(0.5):
        return Leaf("keras.layers.Activation", ('"soft_shrink"',))
    return _helper(settings, "Softshrink", ("lambd", 0.5))


def hardshrink(settings: Settings) -> Leaf:
    """nn.Hardshrink."""
    if settings["lambd"].fixed(0.5):
        return Leaf("keras.layers.Activation", ('"hard_shrink"',))
    return _helper(settings, "Hardshrink", ("lambd", 0.5))


def threshold(settings: Settings) -> Leaf:
    """nn.Threshold."""
    arguments = (settings["threshold"].text, settings["value"].text)
    return Leaf("Threshold", arguments, frozenset({"Threshold"}))


def rrelu(settings: Settings) -> Leaf:
    """nn.RReLU."""
    return _helper(settings, "RandomizedLeakyReLU", ("lower", 1 / 8), ("upper", 1 / 3))


def _helper(settings: Settings, name: str, *known: tuple[str, float]) -> Leaf:
    arguments = [text for setting, default in known for text in settings.optional(setting, setting, default)]
    return Leaf(name, tuple(arguments), frozenset({name}))


def prelu(settings: Settings) -> Leaf:
    """nn.PReLU."""
    if settings.rank is None:
        raise NoCounterpartError(
            "torch.nn.PReLU has inputs of several ranks, and Keras' layer is made for one"
        )
    one = settings["num_parameters"].always(1) or settings["num_parameters"].fixed(1)
    shared = list(range(1, settings.rank if one else settings.rank - 1))
    takes = "any" if one else "channels"
    return Leaf("keras.layers.PReLU", (f"shared_axes={shared}",) if shared else (), takes=takes)


def along_axis(settings: Settings) -> Leaf:
    """nn.Softmax, nn.LogSoftmax, nn.Softmin and nn.GLU, along an axis of torch's order."""
    name = {"Softmax": "keras.layers.Softmax", "LogSoftmax": "LogSoftmax", "Softmin": "Softmin", "GLU": "GLU"}
    helpers = frozenset() if settings.kind == "Softmax" else frozenset({settings.kind})
    axis = settings["dim"].one
    if axis is None:
        raise NoCounterpartError(
            f"torch.nn.{settings.kind} without dim chooses an axis by the rank of its input"
        )
    rank = settings.rank
    if axis == -1 or (rank is not None and axis == rank - 1):
        return Leaf(name[settings.kind], (), helpers, "last")
    if axis == 1 and rank is not None:
        return Leaf(name[settings.kind], (), helpers, "channels")
    return Leaf(name[settings.kind], (f"axis={settings['dim'].text}",), helpers, "torch")


def softmax_of_channels(settings: Settings) -> Leaf:
    """nn.Softmax2d."""
    return Leaf("keras.layers.Softmax", takes="channels")


def dropout(settings: Settings) -> Leaf:
    """nn.Dropout and nn.AlphaDropout."""
    return Leaf(f"keras.layers.{settings.kind}", (settings["p"].text,))


def spatial_dropout(settings: Settings) -> Leaf:
    """nn.Dropout1d, nn.Dropout2d and nn.Dropout3d."""
    return Leaf(f"keras.layers.SpatialDropout{settings.kind[-2]}D", (settings["p"].text,), takes="channels")
