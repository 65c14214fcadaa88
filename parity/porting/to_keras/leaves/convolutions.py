"""Convolutions: Keras' own where its padding is torch's, and the padded ones where it is not."""

from __future__ import annotations

from itertools import repeat
from typing import Any

from parity.porting.to_keras.leaves.setting import (
    Argument,
    Leaf,
    NoCounterpartError,
    Settings,
    spread,
    wrapped,
)

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def convolution(settings: Settings) -> Leaf:
    """nn.Conv1d, nn.Conv2d and nn.Conv3d."""
    rank = int(settings.kind[-2])
    depthwise = rank < 3 and _is_depthwise(settings)
    padding = _padding(settings, rank)
    strides, dilation = settings["stride"], settings["dilation"]
    plain = padding is not None and _plain_mode(settings) is None
    mixed = not depthwise and not settings["groups"].fixed(1) and _may_be_depthwise(settings)
    if plain and (mixed or not _kept_by_keras(strides, dilation, rank, depthwise)):
        plain = False
    arguments = [settings["kernel_size"].text]
    if not depthwise:
        arguments.insert(0, settings["out_channels"].text)
    arguments += settings.optional("stride", "strides", 1)
    if plain:
        arguments += [f'padding="{padding}"'] if padding == "same" else []
    else:
        text = _explicit_padding(settings, rank)
        arguments += [] if text == "0" else [f"padding={text}"]
    arguments += settings.optional("dilation", "dilation_rate", 1)
    if depthwise:
        arguments += _multiplier(settings)
    elif not settings["groups"].fixed(1):
        arguments.append(f"groups={settings['groups'].text}")
    if (mode := _plain_mode(settings)) is not None:
        arguments.append(f'padding_mode="{mode}"')
    arguments += settings.optional("bias", "use_bias", True)
    name = f"{'Depthwise' if depthwise else ''}Conv{rank}D"
    if plain:
        return Leaf(f"keras.layers.{name}", tuple(arguments), takes="channels", gives="channels")
    return Leaf(f"Padded{name}", tuple(arguments), frozenset({f"Padded{name}"}), "channels", "channels")


def _is_depthwise(settings: Settings) -> bool:
    """Whether each channel is convolved by itself, in every instance."""
    groups, channels = settings["groups"], settings["in_channels"]
    if not groups.values:
        return groups.text == channels.text
    same = len(groups.values) == len(channels.values)
    pairs = list(zip(groups.values, channels.values, strict=True)) if same else []
    return (
        bool(pairs)
        and all(g == c for g, c in pairs)
        and any(g != 1 for g, _ in pairs)
        and not groups.fixed(1)
    )


def _may_be_depthwise(settings: Settings) -> bool:
    """Whether some instance convolves single channels, which Keras' grouped convolutions are slow at."""
    groups, channels = settings["groups"].values, settings["in_channels"].values
    return not groups or any(g == c != 1 for g, c in zip(groups, channels, strict=False))


def _multiplier(settings: Settings) -> list[str]:
    """How many outputs each channel has, where that may be more than one."""
    inputs, outputs = settings["in_channels"], settings["out_channels"]
    if inputs.text == outputs.text or (inputs.values and inputs.values == outputs.values):
        return []
    return [f"depth_multiplier={wrapped(outputs.text)} // {wrapped(inputs.text)}"]


def _kept_by_keras(strides: Argument, dilation: Argument, rank: int, depthwise: bool) -> bool:
    """Whether Keras' own layer takes the strides: not with dilation, and depthwise not two different ones."""
    for step, rate in _together(strides, dilation):
        steps, rates = spread(step, rank), spread(rate, rank)
        if max(steps) > 1 and max(rates) > 1:
            return False
        if depthwise and len(set(steps)) > 1:
            return False
    return True


def _together(*settings: Argument) -> list[tuple[Any, ...]]:
    """The values of several settings, instance by instance; a constant counts for every instance."""
    count = max(len(setting.values) for setting in settings)
    columns = []
    for setting in settings:
        if len(setting.values) == count:
            columns.append(list(setting.values))
        elif setting.values and all(value == setting.values[0] for value in setting.values):
            columns.append(list(repeat(setting.values[0], count)))
        else:
            return []
    return list(zip(*columns, strict=True))


def _padding(settings: Settings, rank: int) -> str | None:
    """Keras' name for the padding, where it is torch's in every instance; else None."""
    padding = settings["padding"]
    if padding.fixed("valid", 0) or padding.always("valid"):
        return "valid"
    if padding.fixed("same") or padding.always("same"):
        return "same"
    if not settings["stride"].fixed(1, (1,) * rank):
        return None
    rows = _together(settings["kernel_size"], padding, settings["dilation"])
    if not rows or not all(_is_same(k, p, d, rank) for k, p, d in rows):
        return None
    return "valid" if all(set(spread(k, rank)) == {1} for k, _, _ in rows) and padding.literal else "same"


def _is_same(kernel: Any, padding: Any, dilation: Any, rank: int) -> bool:
    """Whether padding keeps the size, where the stride is one."""
    if isinstance(padding, str):
        return False
    axes = zip(spread(kernel, rank), spread(padding, rank), spread(dilation, rank), strict=True)
    return all(2 * p == d * (k - 1) for k, p, d in axes)


def _plain_mode(settings: Settings) -> str | None:
    """How the padding is filled, where not with zeros."""
    mode = settings["padding_mode"]
    if mode.fixed("zeros") or mode.always("zeros"):
        return None
    return MODES[mode.one]


def _explicit_padding(settings: Settings, rank: int) -> str:
    """The text of the padding in pixels."""
    padding = settings["padding"]
    if not padding.always("same") and not padding.fixed("same", "valid"):
        return padding.text
    if padding.fixed("valid"):
        return "0"
    rows = {
        tuple(_both_ends(k, d) for k, d in zip(spread(size, rank), spread(rate, rank), strict=True))
        for size, rate in _together(settings["kernel_size"], settings["dilation"])
    }
    if len(rows) != 1:
        raise NoCounterpartError(f"torch.nn.{settings.kind} has padding='same' of several widths")
    (row,) = rows
    return repr(row)


def _both_ends(kernel: int, dilation: int) -> tuple[int, int]:
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2


def transposed(settings: Settings) -> Leaf:
    """nn.ConvTranspose1d, nn.ConvTranspose2d and nn.ConvTranspose3d."""
    rank = int(settings.kind[-2])
    settings.refuse("padding_mode", "zeros")
    arguments = [settings["out_channels"].text, settings["kernel_size"].text]
    arguments += settings.optional("stride", "strides", 1)
    padding = _transposed_padding(settings, rank)
    if padding is not None:
        arguments += ['padding="same"'] if padding == "same" else []
        arguments += settings.optional("bias", "use_bias", True)
        return Leaf(
            f"keras.layers.Conv{rank}DTranspose", tuple(arguments), takes="channels", gives="channels"
        )
    for name, keras, default in (
        ("padding", "padding", 0),
        ("output_padding", "output_padding", 0),
        ("dilation", "dilation_rate", 1),
        ("groups", "groups", 1),
        ("bias", "use_bias", True),
    ):
        arguments += settings.optional(name, keras, default)
    name = f"TransposedConv{rank}D"
    return Leaf(name, tuple(arguments), frozenset({name}), "channels", "channels")


def _transposed_padding(settings: Settings, rank: int) -> str | None:
    """Keras' name for the padding of a transposed convolution, where it cuts what torch cuts; else None."""
    names = ("kernel_size", "stride", "padding", "output_padding", "dilation", "groups")
    rows = _together(*(settings[name] for name in names))
    found = set()
    for *numbers, groups in rows:
        axes = list(zip(*(spread(number, rank) for number in numbers), strict=True))
        if groups != 1 or any(more or d != 1 for _, _, _, more, d in axes):
            return None
        if all(p == 0 and k >= s for k, s, p, _, _ in axes):
            found.add("valid")
        elif all(2 * p == k - s for k, s, p, _, _ in axes):
            found.add("same")
        else:
            return None
    return found.pop() if len(found) == 1 else None
