"""Every rule for layers by the name of the class."""

from __future__ import annotations

from collections.abc import Callable

from parity.porting.to_torch.leaves import (
    activations,
    attention,
    convolutions,
    dense,
    merging,
    pooling,
    preprocessing,
    sequences,
    shaping,
)
from parity.porting.to_torch.use import StepUse

RULES: dict[str, Callable[[StepUse], None]] = {
    **activations.RULES, **attention.RULES, **convolutions.RULES, **dense.RULES, **merging.RULES, **pooling.RULES,
    **preprocessing.RULES, **sequences.RULES, **shaping.RULES,
}  # fmt: skip
