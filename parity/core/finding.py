"""One difference between two models: where it is, of what kind, why, and what fixes it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from parity.core.types import Array, Side

ROOT = "(the model itself)"
"""What a finding calls a model that is a single layer, whose path is empty."""


class Kind(StrEnum):
    """What sort of difference a finding is.

    Attributes:
        meaning: one sentence, for readers.
        proves: whether a finding of this kind proves that the two models differ. A kind that proves nothing
            leaves the question open: the verdict is then INCONCLUSIVE.
    """

    meaning: str
    proves: bool

    LAYER = "layer", "the layer's own result differs on identical inputs", True
    WIRING = "wiring", "what arrives at the layer differs although every layer before it agrees", True
    MISSING_CALL = "missing-call", "the Keras model runs the layer, the torch model does not", True
    EXTRA_CALL = "extra-call", "the torch model runs the layer, the Keras model does not", True
    OUTPUT = "output", "the last step, from the last paired layer to the output, differs", True
    SHAPE = "shape", "the shapes cannot agree", True
    NON_FINITE = "non-finite", "NaN or infinity", True
    PRECISION = "precision", "one side is far less exact than its dtype allows", True
    GRADIENT = "gradient", "the loss's gradient differs although the outputs agree", True
    TRAINING = "training", "the models agree in inference and differ in training", True
    WEIGHT = "weight", "paired tensors hold different values, which this input does not show", True
    UNMATCHED = "unmatched", "a layer or tensor has no counterpart", False
    ROUND_TRIP = "round-trip", "a tensor that was copied over and back is not what it was", False
    NOISE = (
        "noise",
        "rounding alone moves the output by a part of itself, so that equality would prove nothing",
        False,
    )
    HIDDEN = (
        "hidden",
        "a step gives labels, masks or rounded values, and what it is given could not be found on the other side",
        False,
    )
    CONSTANT_OUTPUT = (
        "constant-output",
        "the output ignores the input, so that equality would prove nothing",
        False,
    )
    NOT_REPEATABLE = "not-repeatable", "one side gives different results for the same input", False
    NOT_COMPARED = (
        "not-compared",
        "something that changes the training is not compared, since one side alone states it or its rule is not known",
        False,
    )
    ERROR = "error", "one side raised an error", False

    def __new__(cls, value: str, meaning: str, proves: bool) -> Kind:
        """A member is its identifier; meaning and proves are attributes."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning, member.proves = meaning, proves
        return member


class Fix(str):
    """What to change, in words, as it is done on either side.

    The text itself is what is said where no side is the reference.

    Args:
        keras: what to change in Keras, where torch is right.
        torch: what to change in torch, where Keras is right.
        text: what to say of both; None joins the two.

    Attributes:
        keras, torch: as above.
    """

    keras: str
    torch: str

    def __new__(cls, keras: str, torch: str, text: str | None = None) -> Fix:
        """A string with both sides' own words."""
        fix = super().__new__(cls, f"{keras}, or {torch}" if text is None else text)
        fix.keras, fix.torch = keras, torch
        return fix

    @property
    def otherwise(self) -> str:
        """The other side's words, where the text says one side's alone; empty where it says both."""
        if self.keras == self.torch or str(self) not in (self.keras, self.torch):
            return ""
        side, text = ("torch", self.torch) if str(self) == self.keras else ("Keras", self.keras)
        return text if side in text else f"in {side}: {text}"

    def __reduce__(self) -> tuple[type[Fix], tuple[str, str, str]]:
        """Copies and pickles keep both sides' words."""
        return Fix, (self.keras, self.torch, str(self))


@dataclass(frozen=True)
class Finding:
    """One difference.

    Attributes:
        keras: path of the Keras layer, None where there is none.
        torch: path of the torch module, None where there is none.
        kind: what sort of difference it is.
        cause: identifier of the known cause, None where none is proven.
        evidence: what was measured.
        fix: what to change, None where not known; a `Fix` where it says so for either side.
        fix_verified: whether the fix was tried, on another input and other weights too, and both sides then agreed.
        tensors: what the evidence was read from, by "keras_input.0", "torch_output.0" and the like, each in its
            own framework's layout. Not part of the dictionary, nor of equality.
        blueprint: how to build the layer of either side anew (parity.report.repro), where both sides know it.
        keras_at: file:line of the user's code on the Keras side, None where no source says it.
        torch_at: the same on the torch side.
        effect: the greatest difference at this place, relative to the scale there; None where there is no such number.
        problem: what could not be paired (parity.pairing.problems), for faces that group findings of this kind.
    """

    keras: str | None
    torch: str | None
    kind: Kind
    cause: str | None
    evidence: str
    fix: str | None = None
    fix_verified: bool = False
    tensors: dict[str, Array] = field(default_factory=dict, compare=False, repr=False)
    blueprint: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    problem: Any = field(default=None, compare=False, repr=False)
    keras_at: str | None = field(default=None, compare=False)
    torch_at: str | None = field(default=None, compare=False)
    effect: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Take a kind's identifier for the kind; refuse any other word."""
        object.__setattr__(self, "kind", Kind(self.kind))  # type: ignore[call-arg]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        left_out = {"tensors", "problem"} | (set() if self.blueprint else {"blueprint"})
        left_out |= {name for name in ("keras_at", "torch_at", "effect") if getattr(self, name) is None}
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in left_out}
        if isinstance(self.fix, Fix):
            values["fixes"] = {"keras": self.fix.keras, "torch": self.fix.torch}
        return {**values, "kind": self.kind.value}

    def for_reference(self, reference: Side) -> Finding:
        """The finding with its fix written for the side that is not the reference, and where that is written."""
        if not isinstance(self.fix, Fix):
            return self
        text, at = (
            (self.fix.torch, self.torch_at) if reference == "keras" else (self.fix.keras, self.keras_at)
        )
        return replace(self, fix=f"{text} ({at})" if at else text)

    @property
    def place(self) -> str:
        """The Keras path and the torch path, once where they are the same."""
        if self.keras and self.torch and self.keras != self.torch:
            return f"{self.keras} / {self.torch}"
        return self.keras or self.torch or "output"

    @property
    def written(self) -> str:
        """file:line on both sides, Keras first; empty where no source says it."""
        return " / ".join(dict.fromkeys(filter(None, (self.keras_at, self.torch_at))))

    def __str__(self) -> str:
        """One line: kind, place, where that is written, evidence, cause and fix."""
        cause = f" ({self.written})" if self.written else ""
        cause += f" [{self.cause}]" if self.cause else ""
        fix = f" Fix{' (verified)' if self.fix_verified else ''}: {self.fix}" if self.fix else ""
        return f"{self.kind} at {self.place}{cause}: {self.evidence}{fix}"
