"""Softmax written out, each step moved: so that what its backward pass rounds shows, where one element takes all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from parity.adapters.torch.recurrent.stepwise import StepMoved


def written_out(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], moved: StepMoved
) -> torch.Tensor | None:
    """The same result in steps; None for other functions, dtypes and arguments.

    The gradient of a softmax p is p * (g - sum(p * g)). Where p is one, both terms are the same, and their rounding is all
    that is left. In one function nothing of it shows, whatever weights and results are moved.

    Args:
        name: of the function: softmax, log_softmax, scaled_dot_product_attention.
        args: what it was called with.
        kwargs: likewise.
        moved: what is done with the result of every step.
    """
    if not args or not all(one.dtype == torch.float64 for one in args if isinstance(one, torch.Tensor)):
        return None
    if name == "scaled_dot_product_attention":
        return _attention(args, kwargs, moved)
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if (
        name not in ("softmax", "log_softmax")
        or not isinstance(axis, int)
        or kwargs.get("dtype")
        or len(args) > 3
    ):
        return None
    return _softmax(args[0], axis, moved, name == "log_softmax")


def _softmax(value: torch.Tensor, axis: int, moved: StepMoved, logarithm: bool = False) -> torch.Tensor:
    shifted = moved(value - value.detach().amax(axis, keepdim=True))
    exponents = moved(shifted.exp())
    total = moved(_back(exponents, moved).sum(axis, keepdim=True))
    if logarithm:
        return moved(_back(shifted, moved) - moved(total.log()))
    return moved(_back(exponents, moved) / total)


def _back(value: torch.Tensor, moved: StepMoved) -> torch.Tensor:
    """The same tensor, whose gradient alone is moved: a function of moved steps has a gradient that is exact."""
    seen = value.view_as(value)
    if seen.requires_grad:
        seen.register_hook(moved)
    return seen


def _attention(args: Sequence[Any], kwargs: Mapping[str, Any], moved: StepMoved) -> torch.Tensor | None:
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    if given.get("is_causal") or given.get("enable_gqa") or not {"query", "key", "value"} <= given.keys():
        return None
    query, mask, scale = given["query"], given.get("attn_mask"), given.get("scale")
    scores = moved(query @ given["key"].transpose(-2, -1)) * (
        query.shape[-1] ** -0.5 if scale is None else scale
    )
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return moved(_softmax(scores, -1, moved) @ given["value"])
