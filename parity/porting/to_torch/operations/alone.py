"""Layers of the user's that are one convolution with a kernel of their own: torch has a module for these."""

from __future__ import annotations

from typing import Any

from parity.porting.to_torch.axes import images
from parity.porting.to_torch.leaves.convolutions import POSITIONAL
from parity.porting.to_torch.operations.convolutions import each
from parity.porting.to_torch.use import StepUse, flat
from parity.porting.to_torch.values import is_tensor, is_variable, kinds, short

Found = tuple[str, dict[str, Any]]


def as_convolution(use: StepUse) -> bool:
    """Write a scope as nn.Conv2d or nn.ConvTranspose2d where it is nothing else; whether it is."""
    scope = use.step.scope
    steps = {kinds(step.operation)[0]: step for step in scope.steps}
    if len(steps) != len(scope.steps) or len(use.tensors) != 1 or len(use.x.shape) not in (3, 4, 5):
        return False
    found = _convolution(scope, steps) if "Conv" in steps else _transposed(scope, steps)
    if found is None:
        return False
    kind, settings = found
    made = use.module(kind, POSITIONAL, **settings)
    axes = images(len(use.x.shape))
    use.give(f"{made}({use.as_images(use.x)})", axes)
    return True


def _chained(scope: Any, steps: dict[str, Any], order: tuple[str, ...]) -> tuple[Any, Any] | None:
    """The kernel and the bias, where the steps stand behind one another in this order and end the scope."""
    if not set(steps) <= {*order, "Add", "Reshape"} or getattr(scope.outputs, "shape", None) is None:
        return None
    value, kernel, bias = (
        next((v for v in flat((scope.args, scope.kwargs)) if is_tensor(v)), None),
        None,
        None,
    )
    for name in (*order, "Add"):
        if name not in steps:
            continue
        taken = [v for v in flat((steps[name].args, steps[name].kwargs)) if is_tensor(v)]
        if not taken or taken[0] is not value or len(taken) > 2:
            return None
        if "Conv" in name:
            kernel = taken[1]
        elif name == "Add":
            bias = taken[1] if len(taken) == 2 else None
            if "Reshape" in steps and bias is steps["Reshape"].outputs:
                bias = steps["Reshape"].args[0]
            if bias is None or not is_variable(bias) or len(bias.shape) != 1:
                return None
        value = steps[name].outputs
    own = [one for one in vars(scope.owner).values() if is_variable(one)]
    known = [one for one in (kernel, bias) if one is not None]
    whole = value is scope.outputs and all(any(one is held for held in own) for one in known)
    only = len({id(one) for one in scope.owner.weights}) == len(known)
    return (
        (kernel, bias)
        if whole and only and is_variable(kernel) and bool("Reshape" in steps) <= (bias is not None)
        else None
    )


def _pads(step: Any, rank: int) -> tuple[int, ...] | None:
    """Zeros around the pixels, on both sides alike."""
    operation = step.operation
    constant = step.kwargs.get("constant_values")
    pads = [tuple(map(int, pair)) for pair in getattr(operation, "pad_width", ())]
    value = constant if constant is not None else 0
    if getattr(operation, "mode", "constant") != "constant" or is_tensor(value) or value != 0:
        return None
    if len(pads) != rank + 2 or any(pads[0]) or any(pads[-1]) or any(one != two for one, two in pads):
        return None
    return tuple(one for one, _ in pads[1:-1])


def _convolution(scope: Any, steps: dict[str, Any]) -> Found | None:
    found = _chained(scope, steps, ("Pad", "Conv"))
    if found is None:
        return None
    kernel, bias = found
    operation, rank = steps["Conv"].operation, len(kernel.shape) - 2
    size = tuple(map(int, kernel.shape[:rank]))
    stride, dilation = each(operation.strides, rank), each(operation.dilation_rate, rank)
    reach = [(k - 1) * spread for k, spread in zip(size, dilation, strict=True)]
    padding: tuple[int, ...] | None = (0,) * rank
    if "Pad" in steps:
        padding = _pads(steps["Pad"], rank)
    if operation.padding == "same" and any(reach):
        if "Pad" in steps or any(step != 1 for step in stride) or any(n % 2 for n in reach):
            return None
        padding = tuple(n // 2 for n in reach)
    channels = int(steps["Conv"].args[0].shape[-1])
    if padding is None or operation.padding == "causal" or operation.data_format == "channels_first":
        return None
    return f"nn.Conv{rank}d", {
        "in_channels": channels, "out_channels": int(kernel.shape[-1]), "kernel_size": short(size),
        "stride": short(stride), "padding": short(padding), "dilation": short(dilation),
        "groups": channels // int(kernel.shape[-2]), "bias": bias is not None,
    }  # fmt: skip


def _transposed(scope: Any, steps: dict[str, Any]) -> Found | None:
    if "ConvTranspose" not in steps:
        return None
    found = _chained(scope, steps, ("ConvTranspose",))
    if found is None:
        return None
    kernel, bias = found
    operation, rank = steps["ConvTranspose"].operation, len(kernel.shape) - 2
    size, stride = tuple(map(int, kernel.shape[:rank])), each(operation.strides, rank)
    gaps = [k - step for k, step in zip(size, stride, strict=True)]
    given = operation.output_padding
    plain = all(one == 1 for one in each(operation.dilation_rate, rank)) and min(gaps) >= 0
    fits = given is None or (operation.padding == "valid" and not any(each(given, rank)))
    if operation.data_format == "channels_first" or not plain or not fits:
        return None
    if operation.padding == "same" and any(gap % 2 for gap in gaps):
        return None
    padding = tuple(gap // 2 if operation.padding == "same" else 0 for gap in gaps)
    return f"nn.ConvTranspose{rank}d", {
        "in_channels": int(kernel.shape[-1]), "out_channels": int(kernel.shape[-2]), "kernel_size": short(size),
        "stride": short(stride), "padding": short(padding), "output_padding": 0, "bias": bias is not None,
    }  # fmt: skip
