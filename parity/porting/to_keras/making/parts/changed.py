"""Convolutions that the source changed after they were made, such as strides that became dilation."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from parity.adapters.recording.records import MadeModule, Recording
from parity.porting.to_keras.containers import container_kind
from parity.porting.to_keras.leaves.table import leaf_class
from parity.porting.to_keras.names import attribute

SETTINGS = {"stride": "strides", "padding": "padding", "dilation": "dilation_rate"}
HELPER = "change_convolution"


def changes(recording: Recording) -> list[str]:
    """The statements for the end of the model's constructor, which change the layers as the source did."""
    groups: dict[str, list[str]] = {}
    for made in recording.modules.values():
        settings = _changed(made)
        if settings and made.path:
            groups.setdefault(settings, []).append(_layer(recording.module, made.path))
    lines = []
    for settings, layers in groups.items():
        if len(layers) == 1:
            lines.append(f"{HELPER}({layers[0]}, {settings})")
            continue
        lines += ["for layer in (", *(f"    {layer}," for layer in layers), "):"]
        lines.append(f"    {HELPER}(layer, {settings})")
    return lines


def _changed(made: MadeModule) -> str:
    """The settings of a convolution as arguments, where they are others than it was made with; else empty."""
    cls: Any = leaf_class(type(made.module))
    if (
        made.site is None
        or cls is None
        or type(made.module) is not cls
        or not cls.__name__.startswith("Conv")
    ):
        return ""
    if cls.__name__.startswith("ConvTranspose"):
        return ""
    try:
        given = inspect.signature(cls).bind(*made.positional, **made.named)
    except TypeError:  # the call was of a function that makes it
        return ""
    given.apply_defaults()
    rank = len(made.module.kernel_size)
    known = {name: given.arguments[name] for name in SETTINGS}
    if all(isinstance(v, str) or _spread(v, rank) == getattr(made.module, k) for k, v in known.items()):
        return ""
    return ", ".join(f"{keras}={getattr(made.module, name)!r}" for name, keras in SETTINGS.items())


def _spread(value: Any, rank: int) -> tuple[Any, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _layer(module: Any, path: str) -> str:
    """The expression that leads from the model to one of its layers."""
    return "self" + "".join(_steps(module, path))


def _steps(module: Any, path: str) -> Iterator[str]:
    for name in path.split("."):
        kind = container_kind(module)
        if kind == "dict":
            yield f'["{name}"]'
        elif name.isdigit():
            yield f"[{name}]" if kind == "list" else f".layers[{name}]"
        else:
            yield f'.get_layer("{name}")' if kind == "sequence" else f".{attribute(name)}"
        module = module._modules[name]
