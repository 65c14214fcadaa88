"""The whole table, with every module's rules in it."""

from parity.porting.to_keras.operations import (
    axes_moved,
    extremes,
    images,
    joining,
    making,
    pointwise,
    products,
    reductions,
)
from parity.porting.to_keras.operations.step import RULES

MODULES = (axes_moved, extremes, images, joining, making, pointwise, products, reductions)

__all__ = ["MODULES", "RULES"]
