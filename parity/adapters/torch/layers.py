"""How a torch module is put together: its submodules by path, and the parameters and buffers that each one owns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from parity.adapters.torch.recurrent.part import RecurrentPart, aliases_of, family_of, parts_of
from parity.core.adapter import joined
from parity.core.types import TRAINED_BUFFERS, LayerInfo, TensorInfo

CLASSES: tuple[tuple[tuple[type, ...], str], ...] = (
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), "conv_transpose"),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), "conv"),
    ((nn.Linear,), "dense"),
    ((nn.modules.batchnorm._BatchNorm,), "batchnorm"),
    ((nn.LayerNorm,), "layernorm"),
    ((nn.GroupNorm,), "groupnorm"),
    ((nn.Embedding,), "embedding"),
    ((nn.PReLU,), "prelu"),
    ((nn.LSTMCell,), "lstm"),
    ((nn.GRUCell,), "gru"),
    ((nn.RNNCell,), "simple_rnn"),
    ((nn.Sequential,), "sequence"),
)
ATTENTION = (nn.MultiheadAttention,)
COMPOSITES = (*ATTENTION, nn.RNNBase)
"""Modules that are one step whatever is inside: they read the weights of their parts themselves."""
SETTINGS = (
    "stride", "padding", "output_padding", "dilation", "groups", "padding_mode", "eps", "momentum",
    "num_groups", "negative_slope", "kernel_size", "ceil_mode", "count_include_pad", "scale_factor", "mode",
    "align_corners", "approximate", "p", "dim", "max_norm",
)  # fmt: skip
# Bookkeeping with no counterpart in Keras: with momentum set, torch counts batches but never uses the count.
IGNORED_BUFFERS = {"num_batches_tracked"}


def layers_of(module: nn.Module) -> tuple[dict[str, nn.Module], dict[str, list[str]]]:
    """Every module by its path, and by the same path its aliases; a shared module is listed once."""
    paths: dict[int, list[str]] = {}
    for path, child in module.named_modules(remove_duplicate=False):
        paths.setdefault(id(child), []).append(path)
    modules: dict[str, nn.Module] = {}
    aliases: dict[str, list[str]] = {}
    for path, child in module.named_modules():
        modules[path], aliases[path] = child, paths[id(child)][1:]
        parts = parts_of(child)
        for name, part in parts.items():
            modules[joined(path, name)] = part
            aliases[joined(path, name)] = aliases_of(path, parts, name)
    return modules, aliases


def layer_info(path: str, module: nn.Module, aliases: list[str]) -> LayerInfo:
    """What parity knows of one module."""
    if isinstance(module, RecurrentPart):
        return _part_info(path, module, aliases)
    apart = family_of(module) is not None
    return LayerInfo(
        path=path,
        kind=type(module).__name__,
        family=next((family for classes, family in CLASSES if isinstance(module, classes)), None),
        tensors=tuple(
            TensorInfo(
                joined(path, name),
                name,
                tuple(value.shape),
                str(value.dtype).removeprefix("torch."),
                fixed=name in module._buffers and name not in TRAINED_BUFFERS,
            )
            for name, value in (() if apart else _own_tensors(module))
        ),
        leaf=not (apart or any(True for _ in module.children())),
        aliases=tuple(aliases),
        settings={name: getattr(module, name) for name in SETTINGS if _has(module, name)},
        whole=is_composite(module),
    )


def is_composite(module: nn.Module) -> bool:
    """Whether a module is one step although it has modules inside, or could be taken apart otherwise."""
    return isinstance(module, COMPOSITES) and family_of(module) is None


def _part_info(path: str, part: RecurrentPart, aliases: list[str]) -> LayerInfo:
    """One layer of a recurrent module in one direction; its tensors have the paths that they have in the module."""
    stem = path.rpartition(".")[0]
    return LayerInfo(
        path=path,
        kind=type(part.rnn).__name__,
        family=family_of(part.rnn),
        tensors=tuple(
            TensorInfo(
                joined(stem, name + part.suffix),
                name,
                tuple(value.shape),
                str(value.dtype).removeprefix("torch."),
            )
            for name, value in part._parameters.items()
        ),
        leaf=True,
        aliases=tuple(aliases),
        settings={"nonlinearity": part.rnn.nonlinearity} if isinstance(part.rnn, nn.RNN) else {},
    )


def _has(module: nn.Module, name: str) -> bool:
    """`hasattr`; where torch has its own way to say no, which is slow, without asking it."""
    if getattr(type(module), "__getattr__", None) is not nn.Module.__getattr__:
        return hasattr(module, name)
    places = vars(module), module._parameters, module._buffers, module._modules
    return any(name in place for place in places) or hasattr(type(module), name)


def _own_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers that the module itself owns, by name; buffers that are not saved are left out."""
    saved = set(module._buffers) - module._non_persistent_buffers_set - IGNORED_BUFFERS
    buffers = {name: module._buffers[name] for name in module._buffers if name in saved}
    for name, value in {**module._parameters, **buffers}.items():
        if value is not None:
            yield name, value


def plain_tensors(module: nn.Module) -> dict[str, Any]:
    """Attributes that hold a floating tensor which is neither a parameter nor a buffer."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }


EVERY = frozenset(vars(nn.Module()))
"""Attributes that every module has."""


def attributes(module: nn.Module) -> dict[str, Any]:
    """What a module holds of its own: its attributes that not every module has, and its buffers."""
    own = {
        name: value
        for name, value in vars(module).items()
        if name not in EVERY or ("_hooks" in name and value)
    }
    return {**own, **module._buffers}
