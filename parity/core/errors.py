"""Every error that parity raises on purpose.

Exception
├── AssertionError
│   └── ParityError        the two models are not proven equal (assert_parity)
└── ValueError
    └── UsageError         a request that cannot be carried out as it stands
        ├── PairingError   layers or tensors without a counterpart, all listed
        └── CheckpointError  a weight file that cannot be read, written, or does not fit
"""

from __future__ import annotations

from collections.abc import Sequence


class ParityError(AssertionError):
    """The two models are not proven equal; the message lists every finding."""


class UsageError(ValueError):
    """The request cannot be carried out; the message says what must hold, what came and what to do."""


class PairingError(UsageError):
    """Layers or tensors of the two models could not be paired.

    Args:
        problems: one line for each problem, all of them.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(
            f"every layer and tensor must have exactly one counterpart; got {len(self.problems)} "
            f"problem(s):\n{lines}\nPass mapping={{keras path: torch path}} for layers whose names differ, "
            "or strict=False to leave these out."
        )


class CheckpointError(UsageError):
    """A weight file cannot be read or written, or does not fit the model."""
