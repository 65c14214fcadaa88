"""Another function of single elements, another order of operands, a cast or a step left out, and one step more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from parity.adapters.torch.edits.edit import Called, Edit, of_first, with_given
from parity.adapters.torch.edits.numbers import adds_epsilon
from parity.adapters.torch.edits.tape import CallChange
from parity.adapters.torch.reference import ACTIVATIONS
from parity.adapters.torch.tensors import leaves_of

OWN_NAMES = {
    "relu": "relu", "relu_": "relu", "relu6": "relu6", "sigmoid": "sigmoid", "tanh": "tanh", "silu": "silu",
    "gelu": "gelu by erf", "hardsigmoid": "hard sigmoid x/6+0.5", "hardswish": "hard swish x/6+0.5", "elu": "elu",
    "selu": "selu", "softplus": "softplus", "mish": "mish", "softsign": "softsign", "leaky_relu": "leaky ReLU",
    "logsigmoid": "log-sigmoid", "celu": "celu", "hardtanh": "hardtanh", "prelu": "prelu", "exp": "exp", "erf": "erf",
}  # fmt: skip
"""Activations as torch calls them."""
SOFTMAXES: dict[str, Callable[..., torch.Tensor]] = {"softmax": F.softmax, "log_softmax": F.log_softmax}
SWAPPED = {
    "sub",
    "subtract",
    "div",
    "divide",
    "true_divide",
    "truediv",
    "rsub",
    "rtruediv",
    "rdiv",
    "pow",
    "atan2",
}
CASTS = {"float", "half", "bfloat16", "to", "type", "type_as"}
EXTREMES = {"max": "amax", "amax": "amax", "min": "amin", "amin": "amin"}


def changed_functions(step: Called) -> Iterator[Edit]:
    """Another function in the same place, or none."""
    x, out = step.x, step.out
    if x is None or out is None:
        return
    if step.name in OWN_NAMES:
        yield from _activations(step)
    elif step.name in SOFTMAXES:
        yield from _softmaxes(step)
    elif step.name in SWAPPED:
        yield from _exchanged(step)
    elif step.name in {"mean", "sum", "amax", "max"}:
        yield from _reduced(step, x)
    elif step.name == "embedding_bag":
        yield from _bags(step)
    yield from _uncast(step, x, out)
    if step.name not in OWN_NAMES and not adds_epsilon(step):
        yield from _left_out(step, out)


def _activations(step: Called) -> Iterator[Edit]:
    own = OWN_NAMES[step.name]
    if step.name == "gelu" and step.given("approximate", 1, "none") == "tanh":
        own = "gelu by tanh"
    for name, function in ACTIVATIONS.items():
        if name != own:
            yield Edit(_kind_of(own, name), name, own, of_first(function))
    if step.name == "softplus":
        yield from _threshold(step)
    yield Edit("activation-missing", "no activation", own, of_first(lambda z: z))


EXACT_FROM = 40
"""From here on softplus and its input are one number of float64."""


def _threshold(step: Called) -> Iterator[Edit]:
    """torch's softplus gives its input as it is above a threshold."""
    beta, threshold = step.given("beta", 1, 1), step.given("threshold", 2, 20)
    if isinstance(threshold, int | float) and threshold < EXACT_FROM:
        change = of_first(lambda z: F.softplus(z, beta, EXACT_FROM))
        yield Edit(
            "softplus-threshold",
            f"softplus(threshold={EXACT_FROM})",
            f"softplus(threshold={threshold:g})",
            change,
        )


def _softmaxes(step: Called) -> Iterator[Edit]:
    dim = step.given("dim", 1)
    if not isinstance(dim, int):
        return
    for name, function in SOFTMAXES.items():
        if name != step.name:
            yield Edit("activation-kind", name, step.name, of_first(lambda z, f=function: f(z, dim)))
    yield Edit("activation-missing", f"no {step.name}", step.name, of_first(lambda z: z))
    if step.kwargs.get("dtype") is not None:
        change = with_given("dtype", 9, None)
        yield Edit("softmax-precision", "in the dtype of what goes in", f"in {step.kwargs['dtype']}", change)


def _exchanged(step: Called) -> Iterator[Edit]:
    if len(step.args) < 2:
        return

    def change(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        second = (
            args[1] if isinstance(args[1], torch.Tensor) else torch.as_tensor(args[1], dtype=args[0].dtype)
        )
        return function(second, args[0], *args[2:], **kwargs)

    yield Edit("operand-order", f"{step.name} with its operands exchanged", step.name, change)


def _reduced(step: Called, x: torch.Tensor) -> Iterator[Edit]:
    """A maximum in place of a mean, or the other way round, over the same axes."""
    dims, keep = step.given("dim", 1), bool(step.given("keepdim", 2, False))
    if isinstance(dims, torch.Tensor):
        return
    axes = tuple(range(x.ndim)) if dims is None else dims
    kinds: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "mean": lambda z: z.mean(axes, keepdim=keep),
        "amax": lambda z: z.amax(axes, keepdim=keep),
        "sum": lambda z: z.sum(axes, keepdim=keep),
    }
    own = EXTREMES.get(step.name, step.name)
    for name, function in kinds.items():
        if name != own:
            yield Edit("pool-kind", f"{name} over {dims}", f"{step.name} over {dims}", of_first(function))


def _bags(step: Called) -> Iterator[Edit]:
    """The rows of each bag added, averaged, or their greatest."""
    own = step.given("mode", 6, "mean")
    for mode in ("mean", "sum", "max"):
        if mode != own:
            yield Edit(
                "pool-kind", f"the {mode} of each bag", f"the {own} of each bag", with_given("mode", 6, mode)
            )


def _uncast(step: Called, x: torch.Tensor, out: torch.Tensor) -> Iterator[Edit]:
    """A cast to a smaller dtype left out, or put in."""
    floats = out.is_floating_point() and x.is_floating_point()
    if step.name in CASTS and floats and x.dtype == torch.float64 and out.dtype == torch.float32:
        yield Edit(
            "float32-cast", f"computed in {_plain(x)}", f"cast to {_plain(out)}", of_first(lambda z: z)
        )


def _plain(x: torch.Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


ADDED = {"add", "iadd", "radd", "add_"}


def _left_out(step: Called, out: torch.Tensor) -> Iterator[Edit]:
    """One operand handed on as it is."""
    for number, operand in enumerate(step.tensors):
        if operand.shape == out.shape and operand.dtype == out.dtype and not torch.equal(operand, out):
            alone = len(step.tensors) == 1
            cause = "skip-missing" if step.name in ADDED and not alone else "step-missing"
            text = f"no {step.name}" if alone else f"operand {number} alone"
            yield Edit(cause, text, step.name, _operand(number))


def _operand(number: int) -> CallChange:
    def change(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return [leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, torch.Tensor)][number]

    return change


def further(x: torch.Tensor) -> Iterator[Edit]:
    """One step more behind a tensor."""
    for name, function in ACTIVATIONS.items():
        yield Edit("activation-missing", name, "no activation", of_first(function))
    if is_mask(x):
        yield Edit("sequence-mask", "every position counts", "the mask's positions alone count",
                   of_first(torch.ones_like))  # fmt: skip
    for axis in range(1, x.ndim):
        if not (
            x != x.narrow(axis, 0, 1)
        ).any():  # of what is the same along an axis, all these are constants
            continue
        yield Edit("step-missing", f"reversed along axis {axis}", "not reversed",
                   of_first(lambda z, axis=axis: z.flip(axis)))  # fmt: skip
        yield Edit("step-missing", f"vectors along axis {axis} made of length 1", "no such step",
                   of_first(lambda z, axis=axis: F.normalize(z, 2.0, axis)))  # fmt: skip
        yield Edit("step-missing", f"less its mean along axis {axis}", "no such step",
                   of_first(lambda z, axis=axis: z - z.mean(axis, keepdim=True)))  # fmt: skip
        for text, softmax in SOFTMAXES.items():
            yield Edit("activation-missing", f"{text} over axis {axis}", f"no {text}",
                       of_first(lambda z, f=softmax, axis=axis: f(z, axis)))  # fmt: skip


def is_mask(x: torch.Tensor) -> bool:
    """Whether a floating tensor holds zeros and ones alone, and both."""
    ones = x == 1.0
    return bool(ones.any() and (x == 0.0).any() and (ones | (x == 0.0)).all())


def factor(value: float) -> Edit:
    """A factor behind a tensor."""
    return Edit(
        "constant-value", f"multiplied by {value:.12g}", "no such factor", of_first(lambda z: z * value)
    )


# --- functions that are written out ---------------------------------------------------------------


def made_of(x: torch.Tensor, y: torch.Tensor) -> str | None:
    """The activation or softmax that makes one tensor of another; None where none of the list does."""
    if x.shape != y.shape or x.dtype != y.dtype or not x.is_floating_point() or x.numel() < 8:
        return None
    for name, function in written().items():
        if torch.allclose(function(x), y, rtol=1e-11, atol=1e-13):
            return name
    for name, axis in _softmaxes_of(x.shape):
        if torch.allclose(SOFTMAXES[name](x, axis), y, rtol=1e-11, atol=1e-13):
            return f"{name} over axis {axis}"
    return None


def written() -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """The activations that are written out by hand."""
    return {name: function for name, function in ACTIVATIONS.items() if name != "exp"}


def _softmaxes_of(shape: Sequence[int]) -> list[tuple[str, int]]:
    """Softmaxes over axes that have more than one value: over one it is 1 whatever goes in."""
    return [(name, axis) for name in SOFTMAXES for axis in range(1, len(shape)) if shape[axis] > 1]


def in_place_of(own: str, shape: Sequence[int]) -> Iterator[Edit]:
    """Another function in place of the one that was made out."""
    for name, function in written().items():
        if name != own:
            yield Edit(_kind_of(own, name), name, own, of_first(function))
    for name, axis in _softmaxes_of(shape):
        text = f"{name} over axis {axis}"
        if text != own:
            cause = "softmax-axis" if own.startswith(f"{name} ") else "activation-kind"
            yield Edit(cause, text, own, of_first(SOFTMAXES[name], dim=axis))
    yield Edit("activation-missing", "no activation", own, of_first(lambda z: z))


def _kind_of(own: str, name: str) -> str:
    """What it is called where one activation stands for another: two forms of one have a cause of their own."""
    forms = [(" by ", "gelu-approximation"), (" x/6", "hard-sigmoid-form"), (" 0.2x", "hard-sigmoid-form")]

    def head(text: str) -> tuple[str, str]:
        return next(((text.split(mark)[0], cause) for mark, cause in forms if mark in text), (text, ""))

    return head(own)[1] or "activation-kind" if head(own) == head(name) else "activation-kind"
