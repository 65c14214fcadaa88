"""Every change of one call that is tried, the plainest first."""

from __future__ import annotations

from collections.abc import Iterator

from parity.adapters.torch.edits.axes import changed_axes
from parity.adapters.torch.edits.edit import Called, Edit
from parity.adapters.torch.edits.functions import changed_functions
from parity.adapters.torch.edits.images import changed_padding, changed_pooling
from parity.adapters.torch.edits.norms import changed_statistics
from parity.adapters.torch.edits.orders import changed_orders
from parity.adapters.torch.edits.positions import changed_positions
from parity.adapters.torch.edits.sampling import changed_sampling, changed_windows

KINDS = (
    changed_functions, changed_axes, changed_statistics, changed_padding, changed_pooling, changed_sampling, changed_windows,
    changed_positions, changed_orders,
)  # fmt: skip


def alternatives(step: Called) -> Iterator[Edit]:
    """Every change of one call, numbers aside."""
    for kind in KINDS:
        yield from kind(step)
