"""Faults that are seeded in the torch side of a pair: each with its cause, and the places at which it may be named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Seed = Callable[[nn.Module], Any]
"""Takes the torch module; a context manager while which the fault is there."""


@dataclass(frozen=True)
class Fault:
    """One mutant: in which victim, what is done, its cause, and the torch paths that may be named first.

    A step between layers is named by the layer that it feeds, or, behind the last, by None.
    """

    cause: str
    victim: str
    name: str
    seed: Seed
    places: tuple[str | None, ...]


@contextmanager
def attribute(target: Any, name: str, value: Any) -> Iterator[None]:
    own = name in vars(target)
    before = getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        if not own and name in vars(target):  # the class has it
            delattr(target, name)
        else:
            setattr(target, name, before)


@contextmanager
def edited(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[None]:
    before = [tensor.detach().clone() for tensor, _ in pairs]
    assert not all(torch.equal(old, value) for old, (_, value) in zip(before, pairs, strict=True))
    values = [value.detach().clone() for _, value in pairs]
    for (tensor, _), value in zip(pairs, values, strict=True):
        tensor.data.copy_(value)
    try:
        yield
    finally:
        for (tensor, _), old in zip(pairs, before, strict=True):
            tensor.data.copy_(old)


# --- what is done to one layer --------------------------------------------------------------------


def setting(path: str, name: str, value: Any) -> Seed:
    return lambda module: attribute(module.get_submodule(path), name, value)


def kernel(path: str, change: Callable[[torch.Tensor, nn.Module], torch.Tensor], bias: bool = False) -> Seed:
    def seed(module: nn.Module) -> Any:
        layer = module.get_submodule(path)
        pairs = [(layer.weight, change(layer.weight.detach(), layer))]
        if bias:
            pairs.append((layer.bias, change(layer.bias.detach(), layer)))
        return edited(pairs)

    return seed


def flip(weight: torch.Tensor, _: nn.Module) -> torch.Tensor:
    return weight.flip(2, 3)


def hw(weight: torch.Tensor, _: nn.Module) -> torch.Tensor:
    return weight.transpose(2, 3)


def io(weight: torch.Tensor, _: nn.Module) -> torch.Tensor:
    return weight.transpose(0, 1)


def other_values(weight: torch.Tensor, _: nn.Module) -> torch.Tensor:
    return (
        torch.randn(weight.shape, generator=torch.Generator().manual_seed(5), dtype=weight.dtype)
        * weight.std()
    )


def multiplier_first(weight: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    groups = layer.groups
    return weight.reshape(groups, -1, *weight.shape[1:]).transpose(0, 1).reshape(weight.shape)


def blocks_reversed(weight: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    return weight.reshape(layer.groups, -1, *weight.shape[1:]).flip(0).reshape(weight.shape)


def vectors(path: str, **sources: str) -> Seed:
    """Copy one vector of a layer over another; "zeros" and "random" are sources too."""

    def seed(module: nn.Module) -> Any:
        layer = module.get_submodule(path)
        made = {"zeros": torch.zeros_like, "random": lambda t: other_values(t, layer)}
        return edited([
            (getattr(layer, name), made[source](getattr(layer, name).detach()) if source in made
             else getattr(layer, source).detach())
            for name, source in sources.items()
        ])  # fmt: skip

    return seed


def forward(path: str, change: Callable[[nn.Module, Any], Any]) -> Seed:
    def seed(module: nn.Module) -> Any:
        layer = module.get_submodule(path)
        return attribute(layer, "forward", lambda x: change(layer, x))

    return seed


def plain(layer: nn.Module, x: Any) -> Any:
    return type(layer).forward(layer, x)


def window_moved(layer: nn.Module, x: Any) -> Any:
    """A transposed convolution whose result is cropped one pixel further on, the size as it was."""
    size = plain(layer, x).shape[2:]
    first = layer.padding[0] + 1
    whole = F.conv_transpose2d(x, layer.weight, None, layer.stride, 0, 0, layer.groups, layer.dilation)
    room = F.pad(whole, (0, first + size[1], 0, first + size[0]))
    return room[..., first : first + size[0], first : first + size[1]] + layer.bias[:, None, None]


def input_padded(layer: nn.Module, x: Any) -> Any:
    """The padding of a transposed convolution put around its input."""
    return F.conv_transpose2d(F.pad(x, (1, 1, 1, 1)), layer.weight, layer.bias, layer.stride, 0, 0, layer.groups,
                              layer.dilation)  # fmt: skip


def input_cropped(layer: nn.Module, x: Any) -> Any:
    return F.conv_transpose2d(x[..., 1:-1, 1:-1], layer.weight, layer.bias, layer.stride, 0, 0, layer.groups,
                              layer.dilation)  # fmt: skip


def tf32(value: torch.Tensor) -> torch.Tensor:
    """Rounded to 10 bits of mantissa."""
    mantissa, exponent = torch.frexp(value)
    return torch.ldexp(torch.round(mantissa * 2.0**11) / 2.0**11, exponent)


def few_bits(layer: nn.Module, x: Any) -> Any:
    before = layer.weight.data
    layer.weight.data = tf32(before)
    try:
        return plain(layer, tf32(x))
    finally:
        layer.weight.data = before


def batch_statistics(layer: nn.Module, x: Any) -> Any:
    return F.batch_norm(x, None, None, layer.weight, layer.bias, True, 0.0, layer.eps)


def hard_sigmoid(x: Any) -> Any:
    return torch.clamp(0.2 * x + 0.5, 0, 1)


def flattened_last(x: Any) -> Any:
    return x.permute(0, 2, 3, 1).reshape(len(x), -1)


# --- what is done to a step between layers ----------------------------------------------------------


def function(owner: Any, name: str, change: Callable[..., Any], nth: int = 0) -> Seed:
    """Another function in place of the nth call of a function of torch or torch.nn.functional."""

    @contextmanager
    def seed(module: nn.Module) -> Iterator[None]:
        original, count, inside = getattr(owner, name), [0], [False]
        handle = module.register_forward_pre_hook(lambda *_: count.__setitem__(0, 0))

        def replaced(*args: Any, **kwargs: Any) -> Any:
            if inside[0]:  # torch looks the function up by its name again while a trace is taken
                return original(*args, **kwargs)
            count[0] += 1
            inside[0] = True
            try:
                return change(original, *args, **kwargs) if count[0] == nth + 1 else original(*args, **kwargs)
            finally:
                inside[0] = False

        setattr(owner, name, replaced)
        try:
            yield
        finally:
            setattr(owner, name, original)
            handle.remove()

    return seed


def given(**options: Any) -> Callable[..., Any]:
    return lambda original, *args, **kwargs: original(*args, **{**kwargs, **options})


def at_input(change: Callable[[Any], Any]) -> Seed:
    def seed(module: nn.Module) -> Any:
        return attribute(module, "forward", lambda x: type(module).forward(module, change(x)))

    return seed


def strides_exchanged(block: str) -> Seed:
    @contextmanager
    def seed(module: nn.Module) -> Iterator[None]:
        reduce, spatial = module.get_submodule(f"{block}.reduce"), module.get_submodule(f"{block}.spatial")
        first, second = reduce.stride, spatial.stride
        with attribute(reduce, "stride", second), attribute(spatial, "stride", first):
            yield

    return seed


UPSAMPLER = "skip128usUP.upsampler"  # of mUnet


def skipped(original: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    return x


PATHS = {  # cause -> (victim, path, how)
    "same-padding-asymmetry": [(v, p, setting(p, "symmetric", True))
                               for v, p in (("pyramid", "stem"), ("residual", "down"), ("decoder", "t1"))],
    "padding-size": [("pyramid", "deep", setting("deep", "padding", (0, 0))),
                     ("residual", "mix", setting("mix", "padding", (0, 0))),
                     ("residual", "deep", setting("deep", "padding", (1, 2))),
                     ("decoder", "cells", setting("cells", "padding", (1, 1))),
                     ("decoder", "side", setting("side", "padding", (0, 0)))],
    "stride-value": [("pyramid", "deep", setting("deep", "stride", (2, 2))),
                     ("pyramid", "left", setting("left", "stride", (2, 2))),
                     ("residual", "deep", setting("deep", "stride", (2, 2))),
                     ("decoder", "cells", setting("cells", "stride", (2, 1)))],
    "dilation-value": [("pyramid", "deep", setting("deep", "dilation", (2, 2))),
                       ("pyramid", "left", setting("left", "dilation", (1, 1))),
                       ("residual", "mix", setting("mix", "dilation", (2, 2))),
                       ("decoder", "cells", setting("cells", "dilation", (2, 2)))],
    "stride-placement": [(v, p, strides_exchanged(p)) for v, p in (("pyramid", "neck"), ("residual", "neck"),
                                                                   ("decoder", "squeeze"))],
    "transpose-crop-offset": [("pyramid", "up", setting("up", "first", 1)), ("decoder", "up2", setting("up2", "first", 1)),
                              ("residual", "refine", forward("refine", window_moved)),
                              ("decoder", "up1", forward("up1", window_moved))],
    "output-padding": [("decoder", "up1", setting("up1", "output_padding", (1, 1))),
                       ("residual", "up", setting("up", "output_padding", (1, 0))),
                       ("mUnet", UPSAMPLER, setting(UPSAMPLER, "output_padding", (0, 0)))],
    "transpose-padding-is-crop": [("decoder", "up1", forward("up1", input_padded)),
                                  ("decoder", "up2", forward("up2", input_padded)),
                                  ("pyramid", "up", forward("up", input_padded)),
                                  ("residual", "up", forward("up", input_padded)),
                                  ("mUnet", UPSAMPLER, forward(UPSAMPLER, input_padded)),
                                  ("decoder", "up1", forward("up1", input_cropped))],
    "dilation-stride-grid": [("residual", "up", setting("up", "dilation", (1, 1))),
                             ("decoder", "spread", setting("spread", "dilation", (1, 1))),
                             ("decoder", "spread", forward("spread", window_moved)),
                             ("mUnet", "conv_out", forward("conv_out", window_moved)),
                             ("mUnet", "conv_out", setting("conv_out", "dilation", (1, 1)))],
    "kernel-flip": [(v, p, kernel(p, flip)) for v, p in (("pyramid", "left"), ("residual", "first"), ("decoder", "side"),
                                                         ("decoder", "up1"), ("mUnet", "conv_in"))],
    "kernel-hw-swap": [(v, p, kernel(p, hw)) for v, p in (("pyramid", "grouped"), ("residual", "first"), ("decoder", "fan"),
                                                          ("mUnet", "conv_in"), ("mUnet", "skip64DN_arr.1.conv1"))],
    "kernel-io-swap": [(v, p, kernel(p, io)) for v, p in (("pyramid", "neck.spatial"), ("residual", "gate"),
                                                          ("decoder", "squeeze.spatial"),
                                                          ("mUnet", "skip64DN_arr.0.conv1"))],
    "depthwise-multiplier-order": [(v, p, kernel(p, multiplier_first, bias)) for v, p, bias in (
        ("pyramid", "deep", False), ("residual", "deep", True), ("decoder", "fan", False))],
    "group-layout": [("pyramid", "grouped", kernel("grouped", blocks_reversed)),
                     ("residual", "mix", kernel("mix", multiplier_first)),
                     ("decoder", "cells", kernel("cells", blocks_reversed, bias=True))],
    "missing-bias": [("pyramid", "left", vectors("left", bias="zeros")), ("residual", "gate", vectors("gate", bias="zeros")),
                     ("decoder", "up1", vectors("up1", bias="random")),
        ("mUnet", "conv_in", vectors("conv_in", bias="zeros")),
                     ("residual", "token_norm", vectors("token_norm", bias="zeros"))],
    "weight-not-copied": [(v, p, kernel(p, other_values, bias)) for v, p, bias in (
        ("pyramid", "head", True), ("residual", "hidden", True), ("decoder", "up2", False), ("mUnet", UPSAMPLER, False))],
    "batchnorm-epsilon": [(v, p, setting(p, "eps", e)) for v, p, e in (
        ("pyramid", "stem_bn", 1e-3), ("residual", "norm2", 1e-5), ("decoder", "encoder.3", 1.001e-5),
        ("mUnet", "bn2UP", 1e-3))],
    "batchnorm-slots-swapped": [
        ("pyramid", "stem_bn", vectors("stem_bn", bias="running_mean", running_mean="bias")),
        ("residual", "norm1", vectors("norm1", weight="running_var", running_var="weight")),
        ("decoder", "encoder.3", vectors("encoder.3", running_mean="bias")),
        ("mUnet", "bn1DN", vectors("bn1DN", bias="running_mean", running_mean="bias"))],
    "train-mode-left-on": [
        ("pyramid", "stem_bn", forward("stem_bn", batch_statistics)),
        ("residual", "norm1", forward("norm1", batch_statistics)),
        ("decoder", "encoder.3", forward("encoder.3", batch_statistics)),
        ("residual", "drop", forward("drop", lambda layer, x: F.dropout(x, 0.3, True))),
        ("pyramid", "head", forward("head", lambda layer, x: F.dropout(plain(layer, x), 0.5, True)))],
    "layernorm-epsilon": [(v, p, setting(p, "eps", 1e-3)) for v, p in (("pyramid", "norm"), ("residual", "token_norm"),
                                                                       ("decoder", "tokens"))],
    "groupnorm-epsilon": [(v, p, setting(p, "eps", 1e-3)) for v, p in (("pyramid", "groups"), ("residual", "group"),
                                                                       ("decoder", "groups"))],
    "activation-kind": [("residual", "act4", forward("act4", lambda layer, x: torch.sigmoid(x))),
                        ("decoder", "squeeze.relu1", forward("squeeze.relu1", lambda layer, x: F.silu(x)))],
    "leaky-relu-slope": [("residual", "act1", setting("act1", "negative_slope", 0.01)),
                         ("decoder", "leak", setting("leak", "negative_slope", 0.2))],
    "gelu-approximation": [("residual", "act2", setting("act2", "approximate", "tanh")),
                           ("decoder", "bend", setting("bend", "approximate", "tanh"))],
    "hard-sigmoid-form": [(v, p, forward(p, lambda layer, x: hard_sigmoid(x))) for v, p in (("residual", "gate_act"),
                                                                                           ("decoder", "squash"))],
    "softmax-axis": [("residual", "probabilities", setting("probabilities", "dim", 0)),
                     ("decoder", "t2", setting("t2", "dim", 2))],
    "double-softmax": [(v, p, forward(p, lambda layer, x: plain(layer, plain(layer, x)))) for v, p in (
        ("residual", "probabilities"), ("decoder", "t2"))],
    "pool-count-include-pad": [("residual", "pool", setting("pool", "count_include_pad", True)),
                               ("decoder", "smooth", setting("smooth", "count_include_pad", False))],
    "pool-ceil-mode": [("residual", "shrink", setting("shrink", "ceil_mode", True)),
                       ("decoder", "peak", setting("peak", "ceil_mode", True))],
    "resize-align-corners": [("decoder", "enlarge", setting("enlarge", "align_corners", True))],
    "resize-mode": [("decoder", "enlarge", setting("enlarge", "mode", "nearest"))],
    "flatten-order": [(v, "flat", forward("flat", lambda layer, x: flattened_last(x))) for v in ("residual", "decoder")],
    "activation-missing": [("residual", "act1", forward("act1", lambda layer, x: x)),
                           ("decoder", "squeeze.relu1", forward("squeeze.relu1", lambda layer, x: x)),
                           ("residual", "act4", forward("act4", lambda layer, x: x)),
                           ("decoder", "cells", forward("cells", lambda layer, x: F.relu(plain(layer, x))))],
    "tf32": [(v, p, forward(p, few_bits)) for v, p in (("pyramid", "left"), ("residual", "first"), ("decoder", "cells"),
                                                       ("mUnet", "conv_in"))],
}  # fmt: skip
STEPS = [  # cause, victim, what, the layers that it feeds
    ("activation-missing", "pyramid", function(F, "relu", skipped), ("left", "grouped")),
    ("activation-missing", "mUnet", function(F, "relu", skipped, 2), ("skip64dsDN.downsampler",)),
    ("activation-kind", "pyramid", function(F, "relu", lambda f, x: F.silu(x)), ("left", "grouped")),
    ("activation-kind", "mUnet", function(F, "relu", lambda f, x, *a, **k: F.silu(x), 2), ("skip64dsDN.downsampler",)),
    ("leaky-relu-slope", "pyramid", function(F, "leaky_relu", lambda f, x, s: f(x, 0.2)), ("deep",)),
    ("gelu-approximation", "pyramid", function(F, "gelu", given(approximate="tanh")), ("deep",)),
    ("hard-sigmoid-form", "pyramid", function(F, "hardsigmoid", lambda f, x: hard_sigmoid(x)),
     ("neck.reduce", "neck.shortcut")),
    ("softmax-axis", "pyramid", function(F, "softmax", lambda f, x, dim: f(x, 2)), ("norm", None)),
    ("double-softmax", "pyramid", function(F, "softmax", lambda f, x, dim: f(f(x, dim), dim)), ("norm", None)),
    ("pool-count-include-pad", "pyramid", function(F, "avg_pool2d", given(count_include_pad=True)), ("grouped",)),
    ("pool-ceil-mode", "pyramid", function(F, "max_pool2d", given(ceil_mode=True)),
     ("gate", "neck.reduce", "neck.shortcut")),
    ("resize-align-corners", "pyramid", function(F, "interpolate", given(align_corners=True)), ("head",)),
    ("resize-align-corners", "residual", function(F, "interpolate", given(align_corners=True)), ("group",)),
    ("resize-antialias", "pyramid", function(F, "interpolate", given(antialias=True), 1), ("norm",)),
    ("resize-antialias", "residual", function(F, "interpolate", given(antialias=True)), ("group",)),
    ("resize-antialias", "decoder", function(F, "interpolate", given(antialias=True), 2), ("flat", "out")),
    ("resize-mode", "pyramid", function(F, "interpolate", given(mode="nearest")), ("head",)),
    ("resize-mode", "residual", function(F, "interpolate", given(mode="nearest")), ("group",)),
    ("skip-missing", "pyramid", function(torch, "add", lambda f, x, y: y), ("head",)),
    ("skip-missing", "residual", function(torch, "add", lambda f, x, y: y), ("flat", "hidden")),
    ("skip-missing", "decoder", forward("echo", lambda layer, x: layer.conv(x)), ("up1",)),
    ("flatten-order", "pyramid", function(torch, "flatten", lambda f, x, *a: flattened_last(x)), ("norm",)),
    *(("concat-order", victim, function(torch, "cat", lambda f, xs, *a: f(list(xs)[::-1], *a)), places)
      for victim, places in (("pyramid", ("deep",)), ("residual", ("pool",)), ("decoder", ("tokens",)))),
    *(("channel-order", victim, at_input(lambda x: x.flip(1)), places)
      for victim, places in (("pyramid", ("stem",)), ("residual", ("first",)), ("decoder", ("encoder.0",)),
                             ("mUnet", ("conv_in",)))),
    *(("input-scaling", victim, at_input(lambda x: x / 255.0), places)
      for victim, places in (("pyramid", ("stem",)), ("residual", ("first",)), ("decoder", ("encoder.0",)),
                             ("mUnet", ("conv_in",)))),
]  # fmt: skip

FAULTS = [
    *(Fault(cause, victim, path, seed, (f"{path}.reduce",) if cause == "stride-placement" else (path,))
      for cause, rows in PATHS.items() for victim, path, seed in rows),
    *(Fault(cause, victim, "a step", seed, places) for cause, victim, seed, places in STEPS),
]  # fmt: skip
