"""The losses in NumPy, by their short name: `datasets.scores.losses`."""

from __future__ import annotations

from datasets.scores.losses import (
    bce_dice,
    check_average,
    check_weights,
    cross_entropy,
    cross_entropy_dice,
    mse,
)

__all__ = ["bce_dice", "check_average", "check_weights", "cross_entropy", "cross_entropy_dice", "mse"]
