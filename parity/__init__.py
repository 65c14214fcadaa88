"""Parity: weight transfer and proof of equality between any Keras model and any torch module."""

from parity.adapters.triton_import import watch_triton
from parity.core import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` alone takes longer than all that a command needs to refuse its arguments
    from typing import Any

    from parity.core.errors import CheckpointError, PairingError, ParityError, UsageError
    from parity.core.finding import Finding
    from parity.porting.port import Port, port
    from parity.report.result import Report
    from parity.verdict.compare import assert_parity, compare
    from parity.weights.models import pair
    from parity.weights.optimizer_state import transfer_optimizer
    from parity.weights.transfer import TransferResult, transfer

watch_triton()  # here, so that it holds in every import order

__all__ = [
    "CheckpointError",
    "Finding",
    "PairingError",
    "ParityError",
    "Port",
    "Report",
    "TransferResult",
    "UsageError",
    "__version__",
    "assert_parity",
    "compare",
    "pair",
    "port",
    "transfer",
    "transfer_optimizer",
]
_ROOMS = {
    "adapters",
    "causes",
    "core",
    "pairing",
    "porting",
    "probes",
    "replay",
    "report",
    "training",
    "verdict",
    "weights",
}


def __getattr__(name: str) -> "Any":
    """A public name, or a room behind one, at its first use: a command that needs none of them starts at once."""
    if name not in __all__ and name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from parity import public

    globals().update({each: getattr(public, each) for each in public.__all__})
    return globals()[name]


def __dir__() -> list[str]:
    """What can be completed."""
    return sorted({*globals(), *__all__})
