"""Parity: weight transfer and proof of equality between any Keras model and any torch module."""

from parity.errors import CheckpointError, PairingError, ParityError, UsageError
from parity.finding import Finding
from parity.optimizer_state import transfer_optimizer
from parity.verdict import Report, assert_parity, compare
from parity.weights import TransferResult, transfer

__all__ = [
    "CheckpointError",
    "Finding",
    "PairingError",
    "ParityError",
    "Report",
    "TransferResult",
    "UsageError",
    "assert_parity",
    "compare",
    "transfer",
    "transfer_optimizer",
]
