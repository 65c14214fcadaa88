"""The layers of `tf_impl.layers` where a port may import them: torch's arguments under torch's names."""

from __future__ import annotations

from typing import Any

from parity.porting.library import from_library
from parity.porting.to_keras.leaves.setting import Leaf, Settings, spread
from parity.porting.to_keras.leaves.table import TABLE

MODULE = "tf_impl.layers"
_STEPS = {"stride": 1, "padding": 0}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "Conv2d": {**_STEPS, "dilation": 1, "groups": 1, "bias": True},
    "ConvTranspose2d": {**_STEPS, "output_padding": 0, "dilation": 1, "groups": 1, "bias": True},
    "MaxPool2d": {"stride": None, "padding": 0},
    "BatchNorm2d": {"affine": True},
}
"""By layer: the arguments that may be left out, with the defaults that both frameworks' layers have."""
_FIRST = {
    "Conv2d": ("in_channels", "out_channels", "kernel_size"),
    "ConvTranspose2d": ("in_channels", "out_channels", "kernel_size"),
    "MaxPool2d": ("kernel_size",),
    "BatchNorm2d": ("num_features",),
}
"""By layer: the arguments that it always has, in order."""
_INSTEAD = {
    "PaddedConv2D": "Conv2d",
    "TransposedConv2D": "ConvTranspose2d",
    "PaddedMaxPooling": "MaxPool2d",
    "keras.layers.BatchNormalization": "BatchNorm2d",
    "Resize": "UpSampling2d",
}
"""What a port has without the library, and the layer of the library that may stand there.

Keras' own BatchNormalization is among them because its running variance is another one than torch's.
"""


def layer_for(settings: Settings) -> Leaf:
    """What stands for a layer of torch: the library's layer in place of a helper, where a port may have it.

    Raises:
        NoCounterpartError: Keras has none.
    """
    found = TABLE[settings.kind](settings)
    name = _INSTEAD.get(found.callee, "")
    if not from_library(name):
        return found
    if name == "UpSampling2d":
        return _upsampling(settings) or found
    if settings.kind != name or not _fits(name, settings):
        return found
    arguments = [settings[key].text for key in _FIRST[name]]
    for key, default in _ARGUMENTS[name].items():
        arguments += settings.optional(key, key, default)
    return _made(name, arguments)


def _fits(name: str, settings: Settings) -> bool:
    """Whether the layer of the library computes what torch's does with these settings."""
    if any(settings[key].text == "None" for key in _FIRST[name]):  # known by value alone
        return False
    if name == "Conv2d":
        padding, mode = settings["padding"], settings["padding_mode"]
        named = padding.text[:1] in "'\"" or any(isinstance(value, str) for value in padding.values)
        return not named and (mode.fixed("zeros") or mode.always("zeros"))
    if name == "MaxPool2d":
        return settings["dilation"].fixed(1, (1, 1)) and settings["ceil_mode"].fixed(False)
    if name == "BatchNorm2d":
        return settings["eps"].fixed(1e-5) and settings["momentum"].fixed(0.1)
    return True


def _upsampling(settings: Settings) -> Leaf | None:
    """Bilinear upsampling by whole factors, with the centres of pixels at half numbers."""
    factor = settings.by_name.get("scale_factor")
    if settings.kind != "Upsample" or factor is None or not factor.values or settings.rank != 4:
        return None
    whole = all(isinstance(one, int) for value in factor.values for one in spread(value, 2))
    bilinear = settings["mode"].always("bilinear") and not settings["align_corners"].always(True)
    if not (whole and bilinear and settings["size"].always(None)):
        return None
    return _made("UpSampling2d", [factor.text, 'mode="bilinear"'])


def _made(name: str, arguments: list[str]) -> Leaf:
    return Leaf(f"{MODULE}.{name}", tuple(arguments), takes="channels", gives="channels")
