"""What a comparison in training is asked for: optimizers and losses by name, checked before any model is built."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from parity.core.errors import UsageError
from parity.core.rules import CLIPPINGS, NAMES, Hyperparameters

LOSSES = ("mse", "mae", "bce", "cross-entropy")
"""Losses by name: squared and absolute error, and cross-entropies of logits, for two classes and for several."""

DEFAULT_RATES = {"adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3}
OWN = {
    "sgd": ("momentum", "nesterov"),
    "adam": ("betas", "epsilon", "amsgrad"),
    "rmsprop": ("momentum", "rho", "epsilon", "centered"),
}
"""Options of each algorithm."""

COMMON = (
    "weight_decay", *CLIPPINGS, "gradient_accumulation_steps", "ema_momentum", "ema_overwrite_frequency",
    "loss_scale_factor",
)  # fmt: skip
"""Options of every algorithm, by the names that Keras gives them."""


def tolerance_checked(tolerance: Any, dtype: str | None) -> None:
    """Refuse a tolerance that is none, or that would be one of the structure.

    Args:
        tolerance: relative to the output's greatest magnitude; None for none.
        dtype: that is judged in; None for float64 and float32.

    Raises:
        UsageError: it is no number between 0 and 1, or the dtype is float64.
    """
    if tolerance is None:
        return
    number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
    if not number or not 0.0 < float(tolerance) < 1.0:
        raise UsageError(
            f"a tolerance must be a number between 0 and 1, a share of the output's greatest magnitude; got {tolerance!r}."
        )
    if dtype == "float64":
        raise UsageError(
            "a tolerance is for what rounding does in float32, float16 or bfloat16; got dtype 'float64', in which the "
            "structure is judged. Structure has no tolerance: leave it out, or choose another dtype."
        )


def optimizer_checked(wanted: Any) -> None:
    """Refuse an optimizer that is not known, before anything is evaluated.

    Raises:
        UsageError: the name, an option, or a value is not one that can be.
    """
    if wanted is None:
        return
    if isinstance(wanted, tuple | list):
        if len(wanted) != 2:
            raise UsageError(
                f"optimizer must be a name, a dictionary, or a pair (Keras, torch); got {len(wanted)} items."
            )
        return
    if not isinstance(wanted, str | Mapping):
        raise UsageError(
            f"optimizer must be a name, a dictionary, or a pair (Keras, torch); got {type(wanted).__name__}. "
            "Give both sides' optimizers."
        )
    hyperparameters_of(wanted, 1.0)


def loss_checked(wanted: Any) -> None:
    """Refuse a loss that is not known, before anything is evaluated.

    Raises:
        UsageError: the name is not known, or it is neither a name nor a pair.
    """
    if wanted is None:
        return
    if isinstance(wanted, str):
        if wanted not in LOSSES:
            raise UsageError(
                f"loss must be one of {', '.join(LOSSES)}; got {wanted!r}. {close_to(wanted, LOSSES)}"
                "Give a pair (Keras loss, torch loss) for any other."
            )
        return
    if not isinstance(wanted, tuple | list) or not 2 <= len(wanted) <= 3:
        size = f" of {len(wanted)} items" if isinstance(wanted, tuple | list) else ""
        raise UsageError(
            "loss must be a name, or (Keras loss, torch loss[, targets]); "
            f"got {type(wanted).__name__}{size}. Give both sides' losses."
        )


def hyperparameters_of(wanted: str | Mapping[str, Any], sgd_rate: float) -> Hyperparameters:
    """The hyperparameters that a name stands for, or {"name": ..., "lr": number or list, option: value} holds.

    Args:
        wanted: the name or the dictionary.
        sgd_rate: learning rate of SGD where none is given.

    Raises:
        UsageError: an optimizer, option or value that cannot be.
    """
    given = {"name": wanted} if isinstance(wanted, str) else dict(wanted)
    name, rates = given.pop("name", None), given.pop("lr", None)
    if name not in NAMES:
        raise UsageError(
            f"optimizer must be one of {', '.join(NAMES)}; got name={name!r}. {close_to(str(name), NAMES)}"
            "Give a pair (Keras optimizer, torch optimizer or function of the parameters) for any other."
        )
    allowed = {*OWN[name.partition("-")[0].removesuffix("w")], *COMMON}
    unknown = sorted(map(str, set(given) - allowed))
    if unknown:
        hints = "".join(close_to(option, {*allowed, "lr"}) for option in unknown)
        raise UsageError(
            f"options of {name} must be from lr, {', '.join(sorted(allowed))}; got {', '.join(unknown)}. {hints}"
            "Leave out what is not known."
        )
    if sum(bool(given.get(key)) for key in CLIPPINGS) > 1:
        raise UsageError(
            f"one clipping at a time must be given; got {sorted(set(given) & set(CLIPPINGS))}. Leave one."
        )
    for option, value in given.items():
        holds, what = _BOUNDS[option]
        if value is not None and not _passes(holds, value):
            raise UsageError(
                f"{option} must be {what}; got {option}={value!r}. Give such a value, or leave it out."
            )
    if rates is None:
        rates = DEFAULT_RATES.get(name, sgd_rate)
    listed = list(rates) if isinstance(rates, list | tuple) else [rates]
    if not listed or not all(_passes(_positive, rate) for rate in listed):
        raise UsageError(
            f"lr must be a number above zero, or a list with one for each step; got lr={rates!r}. Give such."
        )
    return Hyperparameters(name, tuple(map(float, listed)), {k: v for k, v in given.items() if v is not None})


def close_to(word: str, known: Collection[str]) -> str:
    """A sentence with the known word that is nearest to a mistyped one; empty where none is near."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


# --- what values can be ---------------------------------------------------------------------------------

Holds = Callable[[Any], bool]


def _passes(holds: Holds, value: Any) -> bool:
    try:
        return bool(holds(value))
    except (TypeError, ValueError):
        return False


def _number(value: Any) -> bool:
    return not isinstance(value, bool | str) and bool(np.isfinite(float(value)))


def _positive(value: Any) -> bool:
    return _number(value) and float(value) > 0.0


def _not_negative(value: Any) -> bool:
    return _number(value) and float(value) >= 0.0


def _share(value: Any) -> bool:
    return _number(value) and 0.0 <= float(value) < 1.0


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _two_shares(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_share, value))


_BOUNDS: dict[str, tuple[Holds, str]] = {
    "momentum": (_share, "a number from 0 to below 1"),
    "nesterov": (_flag, "True or False"),
    "betas": (_two_shares, "two numbers from 0 to below 1"),
    "epsilon": (_not_negative, "a number that is not negative"),
    "amsgrad": (_flag, "True or False"),
    "rho": (_share, "a number from 0 to below 1"),
    "centered": (_flag, "True or False"),
    "weight_decay": (_not_negative, "a number that is not negative"),
    **dict.fromkeys(CLIPPINGS, (_not_negative, "a number that is not negative")),
    "gradient_accumulation_steps": (_count, "a whole number of at least 1"),
    "ema_momentum": (_share, "a number from 0 to below 1"),
    "ema_overwrite_frequency": (_count, "a whole number of at least 1"),
    "loss_scale_factor": (_positive, "a number above zero"),
}
