"""Every rule for operations by the name of the class."""

from __future__ import annotations

from collections.abc import Callable

from parity.porting.to_torch.operations import convolutions, elementwise, norms, products, shapes
from parity.porting.to_torch.use import StepUse

RULES: dict[str, Callable[[StepUse], None]] = {
    **elementwise.RULES, **shapes.RULES, **products.RULES, **convolutions.RULES, **norms.RULES,
}  # fmt: skip
