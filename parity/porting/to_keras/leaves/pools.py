"""Pooling: Keras' own where there is no padding and nothing is rounded up, and the padded ones elsewhere."""

from __future__ import annotations

from parity.porting.to_keras.leaves.setting import Argument, Leaf, Settings


def _plain(settings: Settings, *names: str) -> bool:
    """Whether all these settings have torch's defaults, as constants of the text."""
    defaults = {
        "padding": (0, (0, 0)),
        "dilation": (1, (1, 1)),
        "ceil_mode": (False,),
        "divisor_override": (None,),
    }
    return all(settings[name].fixed(*defaults[name]) for name in names)


def _sizes(settings: Settings) -> list[str]:
    """The size of the windows, and the strides where they are others."""
    stride = settings["stride"]
    more = [] if stride.fixed(None) or stride.always(None) else [f"strides={stride.text}"]
    return [settings["kernel_size"].text, *more]


def max_pool(settings: Settings) -> Leaf:
    """nn.MaxPool1d, nn.MaxPool2d and nn.MaxPool3d."""
    settings.refuse("return_indices", False)
    arguments = _sizes(settings)
    if _plain(settings, "padding", "dilation", "ceil_mode"):
        return _native(f"keras.layers.MaxPooling{settings.kind[-2]}D", arguments)
    for name, default in (("padding", 0), ("dilation", 1), ("ceil_mode", False)):
        arguments += settings.optional(name, name, default)
    return _helper("PaddedMaxPooling", arguments)


def average_pool(settings: Settings) -> Leaf:
    """nn.AvgPool1d, nn.AvgPool2d and nn.AvgPool3d."""
    override = {"divisor_override"} & settings.by_name.keys()
    arguments = _sizes(settings)
    if _plain(settings, "padding", "ceil_mode", *override):
        return _native(f"keras.layers.AveragePooling{settings.kind[-2]}D", arguments)
    for name, default in (("padding", 0), ("ceil_mode", False), ("count_include_pad", True)):
        arguments += settings.optional(name, name, default)
    for name in override:
        arguments += settings.optional(name, name, None)
    return _helper("PaddedAveragePooling", arguments)


def power_pool(settings: Settings) -> Leaf:
    """nn.LPPool1d, nn.LPPool2d and nn.LPPool3d."""
    arguments = [settings["norm_type"].text, *_sizes(settings)]
    return _helper("PowerPooling", [*arguments, *settings.optional("ceil_mode", "ceil_mode", False)])


def adaptive_pool(settings: Settings) -> Leaf:
    """nn.AdaptiveAvgPool1d, 2d, 3d and nn.AdaptiveMaxPool1d, 2d, 3d."""
    average, rank = settings.kind.startswith("AdaptiveAvg"), int(settings.kind[-2])
    if not average:
        settings.refuse("return_indices", False)
    size = settings["output_size"]
    if _is_one(size, rank):
        name = f"keras.layers.Global{'Average' if average else 'Max'}Pooling{rank}D"
        return _native(name, ["keepdims=True"])
    return _helper("AdaptiveAveragePooling" if average else "AdaptiveMaxPooling", [size.text])


def _is_one(size: Argument, rank: int) -> bool:
    """Whether the output always has one entry along each axis, as a constant or in every instance."""
    ones = (1, (1,) * rank, [1] * rank)
    return size.fixed(*ones) or size.always(*ones)


def _native(name: str, arguments: list[str]) -> Leaf:
    return Leaf(name, tuple(arguments), takes="channels", gives="channels")


def _helper(name: str, arguments: list[str]) -> Leaf:
    return Leaf(name, tuple(arguments), frozenset({name}), "channels", "channels")
