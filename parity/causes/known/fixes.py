"""The fix of each cause on either side: what to change in Keras where torch is right, and the other way round."""

from __future__ import annotations

from parity.causes.known.fixes_between import BETWEEN
from parity.causes.known.fixes_of_layers import LAYERS
from parity.core.finding import Fix


def fix_of(name: str) -> Fix:
    """The fix of a cause, in words for Keras and for torch.

    Args:
        name: of the cause.

    Raises:
        KeyError: no cause has this name.
    """
    return Fix(*{**LAYERS, **BETWEEN}[name])
