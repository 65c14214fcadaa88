"""Differences behind casts to float32: lifting the casts on both sides must not lift the difference with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.attacks.attempt import Attempt, attempts
from tests.attacks.written import Written, dense, images

KIND = "differences behind float32"
LAYERS = {"a": dense(6, 8), "b": dense(8, 5)}
INPUTS = {"inputs": (images(shape=(4, 7, 6)),)}


def single(xp: Any, x: Any) -> Any:
    """In float32, and back in the dtype that it had."""
    return xp.like(xp.cast(x, "float32") if xp.side == "keras" else x.float(), x)


def normal(xp: Any, x: Any, eps: float = 1e-6, power: float = -0.5) -> Any:
    """An RMS normalisation in float32."""
    y = xp.cast(x, "float32") if xp.side == "keras" else x.float()
    return xp.like(y * (xp.mean(y * y, axis=-1, keepdims=True) + eps) ** power, x)


def networks(**faults: Any) -> Written:
    """A network with float32 within; `inside` changes what is computed there, `behind` what follows it."""
    inside = faults.get("inside", lambda xp, x: normal(xp, x))
    behind = faults.get("behind", lambda xp, x: x)
    return Written(lambda xp, m, x: m.b(behind(xp, inside(xp, m.a(x)))), LAYERS, live=True)


def in_float32(xp: Any, x: Any) -> bool:
    y = xp.cast(x, "float32") if xp.side == "keras" else x.float()
    return xp.dtype_of(y) == "float32"


FAULTS: dict[str, dict[str, Any]] = {
    "an epsilon of 1e-5 for 1e-6": {"inside": lambda xp, x: normal(xp, x, eps=1e-5)},
    "an epsilon of 1.1e-6 for 1e-6": {"inside": lambda xp, x: normal(xp, x, eps=1.1e-6)},
    "a power of -0.50001": {"inside": lambda xp, x: normal(xp, x, power=-0.50001)},
    "a factor of 1 + 1e-8 behind": {"behind": lambda xp, x: x * (1.0 + 1e-8)},
    "an offset of 1e-9 behind": {"behind": lambda xp, x: x + 1e-9},
    "its own rounding, a thousand times": {
        "inside": lambda xp, x: normal(xp, x) + 1e3 * (x - single(xp, x)),
    },
    "its own rounding, a million times": {
        "inside": lambda xp, x: normal(xp, x) + 1e6 * (x - single(xp, x)),
    },
    "another factor where float32 is given": {
        "inside": lambda xp, x: normal(xp, x) * (1.001 if in_float32(xp, x) else 1.0),
    },
    "another factor where float64 is given": {
        "inside": lambda xp, x: normal(xp, x) * (1.0 if in_float32(xp, x) else 1.001),
    },
    "another factor in float32, for one example": {
        "inside": lambda xp, x: normal(xp, x) * (1.001 if in_float32(xp, x) and x.shape[0] == 1 else 1.0),
    },
    "a tanh for the rounding": {"inside": lambda xp, x: normal(xp, single(xp, xp.tanh(x)))},
}  # fmt: skip


def rows() -> Iterator[Attempt]:
    for name, faults in FAULTS.items():
        yield from attempts(KIND, name, networks(), networks(**faults), **INPUTS)
