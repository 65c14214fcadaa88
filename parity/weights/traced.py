"""One traced pass of a side, with what the operations do with weights whose layers' classes are not known."""

from __future__ import annotations

from parity.core.adapter import Adapter
from parity.core.trace import Trace
from parity.core.types import Array
from parity.pairing.uses.read import unknown, uses_of


def traced(model: Adapter, values: list[Array]) -> Trace:
    """The graph of a forward pass; further passes look inside layers of unknown classes, and inside attention layers.

    Args:
        model: the side.
        values: inputs in its own layout.
    """
    trace, layers = model.trace(values)[1], model.layers()
    composite = any(layer.whole for layer in layers.values())
    if composite:
        trace.expanded = model.trace(values, attention=True)[1]
    if composite or any(map(unknown, layers.values())):
        trace.uses = uses_of(model.trace(values, inside=True)[1], layers)
    return trace
