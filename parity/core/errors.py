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

import re
from collections.abc import Sequence


class ParityError(AssertionError):
    """The two models are not proven equal; the message lists every finding."""


class UsageError(ValueError):
    """The request cannot be carried out; the message says what must hold, what came and what to do."""


class PairingError(UsageError):
    """Layers or tensors of the two models could not be paired.

    Args:
        problems: one line for each problem, all of them.
        text: the message: the problems by kind, the first few of each, and what to do next.
    """

    def __init__(self, problems: Sequence[str], text: str) -> None:
        self.problems = tuple(problems)
        super().__init__(text)

    def __reduce__(self) -> tuple[type[PairingError], tuple[tuple[str, ...], str]]:
        """How it comes back from another process, whole."""
        return type(self), (self.problems, str(self))


class CheckpointError(UsageError):
    """A weight file cannot be read or written, or does not fit the model."""


def in_a_line(error: BaseException, most: int = 300) -> str:
    """An error's type and the start of its message, without terminal colours and what frameworks put around it.

    Args:
        error: that was raised.
        most: characters of the message; it ends behind a word.
    """
    plain = re.sub(
        r"\x1b\[[0-9;]*m|\{\{function_node [^}]*\}\}", "", str(error)
    )  # colours, and TensorFlow's own names
    plain = re.sub(r"Exception encountered when calling (\S+?)\.call\(\)\.", r"\1:", plain)
    text = " ".join(plain.split())
    if len(text) > most:
        text = f"{text[: most - 4].rsplit(' ', 1)[0]} ..."
    return f"{type(error).__name__}: {text}"
