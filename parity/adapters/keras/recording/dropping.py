"""Dropout that a user wrote: a layer that gives what it takes in inference, and zeros at random in training."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

NOTE = "_parity_drops"
EXAMPLES, LONGEST = 512, 4
"""How large the tensor is that is dropped from, to see what the layer does."""
SIGMAS = 6.0


@dataclass(frozen=True)
class OwnDropout:
    """What a layer drops.

    Attributes:
        rate: the share that is zero.
        examples: whether whole examples are dropped, else single elements.
    """

    rate: float
    examples: bool


def own_dropout(layer: Any, args: tuple[Any, ...] = ()) -> OwnDropout | None:
    """What a layer of the user's drops, seen in two runs; None where it does anything else. Its seeds stay as they were.

    Args:
        layer: any layer.
        args: of its call; needed the first time.
    """
    if NOTE in vars(layer):
        return noted(layer)
    if not _may_drop(layer) or len(args) != 1 or not isinstance(args[0], keras.KerasTensor):
        return None
    shape = (EXAMPLES, *(min(int(n or LONGEST), LONGEST) for n in args[0].shape[1:]))
    before = [(variable, np.array(variable)) for variable in layer.variables]
    try:
        found = _seen(layer, np.random.default_rng(0).uniform(1, 2, shape).astype("float32"))
    except Exception:  # the layer's own code
        found = None
    finally:
        for variable, value in before:
            variable.assign(value)
    object.__setattr__(layer, NOTE, found)
    return found


def noted(layer: Any) -> OwnDropout | None:
    """What `own_dropout` saw of the layer before; None where it was not asked, or saw nothing."""
    found: OwnDropout | None = vars(layer).get(NOTE)
    return found


def _may_drop(layer: Any) -> bool:
    """Whether it is a layer of the user's with the two modes, and nothing that is trained."""
    own = isinstance(layer, keras.layers.Layer) and not type(layer).__module__.startswith("keras.src.layers")
    return bool(
        own
        and not isinstance(layer, keras.Model)
        and not layer.trainable_weights
        and "training" in inspect.signature(layer.call).parameters
    )


def _seen(layer: Any, x: Any) -> OwnDropout | None:
    still, dropped = (np.asarray(layer(x, training=mode)) for mode in (False, True))
    if still.shape != x.shape or not np.array_equal(still, x) or dropped.shape != x.shape:
        return None
    factors = dropped / x
    kept = factors[factors != 0]
    if not 0 < kept.size < factors.size or np.ptp(kept) > 1e-5 * kept[0]:
        return None
    rate = _said(layer, 1 - 1 / float(kept.mean()))
    rows = (factors == 0).reshape(EXAMPLES, -1)
    examples = rows.shape[1] > 1 and bool((rows == rows[:, :1]).all())
    draws = rows[:, 0] if examples else rows
    doubt = SIGMAS * (rate * (1 - rate) / draws.size) ** 0.5
    if not 0 < rate < 1 or abs(float(draws.mean()) - rate) > doubt:
        return None
    if not examples and any((rows == rows[:, :1]).mean(0)[1:] > 0.98):
        return None  # whole channels, or rows
    return OwnDropout(rate, examples)


def _said(layer: Any, rate: float) -> float:
    """The rate as the layer's own attribute has it."""
    known = [value for value in vars(layer).values() if isinstance(value, float)]
    known += [1 - value for value in known]
    return next((value for value in known if abs(value - rate) < 1e-4), round(rate, 4))
