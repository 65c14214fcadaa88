"""Parity: weight transfer and proof of equality between any Keras model and any torch module."""

from parity.adapters.triton_import import watch_triton
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
    "assert_parity",
    "compare",
    "pair",
    "port",
    "transfer",
    "transfer_optimizer",
]
