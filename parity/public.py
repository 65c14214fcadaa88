"""The public names with what they need; `import parity` loads this at the first use of one of them."""

from parity.core.errors import CheckpointError, PairingError, ParityError, UsageError
from parity.core.finding import Finding
from parity.porting.port import Port, port
from parity.report.result import Report
from parity.verdict.compare import assert_parity, compare
from parity.weights.models import pair
from parity.weights.optimizer_state import transfer_optimizer
from parity.weights.transfer import TransferResult, transfer

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
