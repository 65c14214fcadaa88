"""Normalisations over other axes, and variances counted otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import torch
from torch.nn import functional as F

from parity.adapters.torch.edits.edit import Called, Edit, given, of_first, positive

SPREADS = {"var", "std", "var_mean", "std_mean"}


def changed_statistics(step: Called) -> Iterator[Edit]:
    """The same normalisation over other axes, in other groups, or with the other variance."""
    x = step.x
    if x is None:
        return
    if step.name in SPREADS:
        yield from _corrected(step)
    elif step.name in {"layer_norm", "group_norm", "instance_norm", "rms_norm"}:
        yield from _normalised(step, x)
    elif step.name == "normalize":
        own = positive(step.given("dim", 2, 1), x.ndim)
        power, eps = step.given("p", 1, 2.0), step.given("eps", 3, 1e-12)
        for axis in range(x.ndim):
            if (axis,) != own:
                yield Edit("normalised-axes", f"vectors along axis {axis} made of length 1",
                           f"vectors along axis {own[0]} made of length 1",
                           of_first(lambda z, axis=axis: F.normalize(z, power, axis, eps)))  # fmt: skip


def _corrected(step: Called) -> Iterator[Edit]:
    plain = {key: value for key, value in step.kwargs.items() if key not in {"unbiased", "correction"}}
    flags = [value for value in step.args[1:] if isinstance(value, bool)]
    unbiased = step.kwargs.get("unbiased", flags[0] if flags else True)
    now = step.kwargs.get("correction", 1 if unbiased else 0)
    now = 1 if now is None else now
    tried = 0 if now else 1

    def change(function: Any, args: tuple[Any, ...], _: Any) -> Any:
        dims = [value for value in args[1:] if not isinstance(value, bool)]
        return function(args[0], *dims[:1], correction=tried, **plain)

    names = {0: "divided by n", 1: "divided by n - 1"}
    shown = names.get(now, f"divided by n - {now}")
    yield Edit("variance-correction", f"{step.name} {names[tried]}", f"{step.name} {shown}", change)


def _normalised(step: Called, x: torch.Tensor) -> Iterator[Edit]:
    """Statistics over every other set of axes; the vectors stay along the axes at which they are."""
    mean, own, said = step.name != "rms_norm", _own(step, x), _said(step, _own(step, x))

    def edit(text: str, normalise: Callable[..., torch.Tensor]) -> Edit:
        def change(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            eps, weight, bias = _settings(step.name, args, kwargs)
            z = normalise(args[0] if args else kwargs["input"], eps)
            z = z if weight is None else z * weight
            return z if bias is None else z + bias

        return Edit("normalised-axes", text, said, change)

    for count in range(1, x.ndim + 1):
        for axes in combinations(range(x.ndim), count):
            if axes != own:
                yield edit(
                    f"normalised over axes {axes}", lambda z, eps, axes=axes: _over(z, axes, eps, mean)
                )
    if step.name in {"group_norm", "instance_norm"}:
        groups = step.given("num_groups", 1, 1) if step.name == "group_norm" else x.shape[1]
        for tried in (n for n in range(1, x.shape[1] + 1) if x.shape[1] % n == 0 and n != groups):
            yield edit(f"channels normalised in {tried} groups",
                       lambda z, eps, tried=tried: F.group_norm(z, tried, None, None, eps))  # fmt: skip
    else:
        text = "the root mean square alone" if mean else "mean and variance"
        yield edit(f"normalised by {text}", lambda z, eps: _over(z, own, eps, not mean))


def _own(step: Called, x: torch.Tensor) -> tuple[int, ...]:
    """The axes of the statistics."""
    if step.name in {"layer_norm", "rms_norm"}:
        return tuple(range(x.ndim - len(tuple(step.given("normalized_shape", 1))), x.ndim))
    return tuple(range(1 if step.name == "group_norm" else 2, x.ndim))


PLACES = {"layer_norm": (2, 3, 4), "rms_norm": (2, 9, 3), "group_norm": (2, 3, 4), "instance_norm": (3, 4, 7)}
"""Where weight, bias and epsilon stand among the arguments."""


def _settings(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[float, Any, Any]:
    """Epsilon, and the vectors along the axes at which they are."""
    x = args[0] if args else kwargs["input"]
    weight, bias, eps = (
        given(args, kwargs, key, place)
        for key, place in zip(("weight", "bias", "eps"), PLACES[name], strict=True)
    )
    if eps is None:
        eps = torch.finfo(x.dtype).eps if name == "rms_norm" else 1e-5
    if name in {"layer_norm", "rms_norm"}:
        return eps, weight, bias
    shape = (x.shape[1], *[1] * (x.ndim - 2))
    return eps, *(None if value is None else value.reshape(shape) for value in (weight, bias))


def _said(step: Called, own: tuple[int, ...]) -> str:
    if step.name == "group_norm":
        return f"group_norm in {step.given('num_groups', 1)} groups"
    return f"{step.name} over axes {own}"


def _over(x: torch.Tensor, axes: tuple[int, ...], eps: float, mean: bool) -> torch.Tensor:
    centred = x - x.mean(axes, keepdim=True) if mean else x
    return centred / torch.sqrt(centred.square().mean(axes, keepdim=True) + eps)
