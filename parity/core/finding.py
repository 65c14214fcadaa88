"""One difference between two models: where, of what kind, why, and what mends it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Any

from parity.core.types import Array

KINDS = {
    "layer": "the layer's own result differs on identical inputs",
    "wiring": "what arrives at the layer differs although every layer before it agrees",
    "missing-call": "the Keras model runs the layer, the torch model does not",
    "extra-call": "the torch model runs the layer, the Keras model does not",
    "output": "the last step, from the last paired layer to the output, differs",
    "shape": "the shapes cannot agree",
    "unmatched": "a layer or tensor has no counterpart",
    "non-finite": "NaN or infinity",
    "constant-output": "the output does not depend on the input, so that equality would prove nothing",
    "not-repeatable": "one side gives different results for the same input",
    "precision": "one side is far less exact than its dtype allows",
    "gradient": "the loss's gradient differs although the outputs agree",
    "training": "equal in inference, and apart in training",
    "error": "one side raised an error",
}


@dataclass(frozen=True)
class Finding:
    """One difference.

    Attributes:
        keras: path of the Keras layer, None where there is none.
        torch: path of the torch module, None where there is none.
        kind: one of KINDS.
        cause: identifier of the known cause, None where none is proven.
        evidence: what was measured.
        fix: what to change, None where not known.
        fix_verified: whether the fix was tried and the layer then agreed.
        tensors: what the evidence was read from, by "keras_input.0", "torch_output.0" and the like, each in its
            own framework's layout. Not part of the dictionary, nor of equality.
        blueprint: how to build the layer of either side anew (parity.report.repro), where it is one that both know.
    """

    keras: str | None
    torch: str | None
    kind: str
    cause: str | None
    evidence: str
    fix: str | None = None
    fix_verified: bool = False
    tensors: dict[str, Array] = field(default_factory=dict, compare=False, repr=False)
    blueprint: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        apart = {"tensors"} if self.blueprint else {"tensors", "blueprint"}
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name not in apart}

    @property
    def place(self) -> str:
        """The Keras path and the torch path, once where they are the same."""
        if self.keras and self.torch and self.keras != self.torch:
            return f"{self.keras} / {self.torch}"
        return self.keras or self.torch or "output"

    def __str__(self) -> str:
        """One line: kind, place, evidence, cause and fix."""
        cause = f" [{self.cause}]" if self.cause else ""
        fix = f" Fix{' (verified)' if self.fix_verified else ''}: {self.fix}" if self.fix else ""
        return f"{self.kind} at {self.place}{cause}: {self.evidence}{fix}"


def in_a_line(error: BaseException) -> str:
    """An error's type and the start of its message, without terminal colours."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    return f"{type(error).__name__}: {text[:300]}"
