"""The rates and kinds of what is random on either side: dropout, noise, branches left out."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TypeVar

from parity.core.finding import Finding, Fix, Kind
from parity.core.trainer import Dropped
from parity.core.types import Both
from parity.training.bench import TrainingResult

T = TypeVar("T")
RATE_DIGITS = 12
"""Digits of a rate: one side computes 1 - 0.7 where the other was given 0.3."""


def compare_rates(dropped: Both[list[Dropped]], result: TrainingResult) -> list[Finding]:
    """Random layers that differ in their kind or rate, or are on one side alone; they are added to the result."""
    if dropped.keras or dropped.torch:
        result.notes.append(
            f"what is random was switched off in training mode: {len(dropped.keras)} places in Keras, "
            f"{len(dropped.torch)} in torch (the rates are compared)"
        )
    kinds = [[(round(item.rate, RATE_DIGITS), item.kind) for item in items] for items in dropped]
    matcher = SequenceMatcher(None, kinds[0], kinds[1], autojunk=False)
    found = []
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag != "equal":
            a, b = dropped.keras[i:j], dropped.torch[k:m]
            pairs = zip(_padded(a, len(b)), _padded(b, len(a)), strict=True)
            found += [_another_rate(keras, torch) for keras, torch in pairs]
    result.findings += found
    return found


def _another_rate(keras: Dropped | None, torch: Dropped | None) -> Finding:
    """A random layer that has another kind or rate on the other side, or no counterpart there."""
    one = keras or torch
    assert one is not None
    names = [_described(item) if item else "none" for item in (keras, torch)]
    paths = keras.path if keras else None, torch.path if torch else None
    text = f"{names[0]} in Keras, {names[1]} in torch"
    if keras and torch and keras.kind != torch.kind:
        fix = Fix(
            f"{names[1]} in Keras",
            f"{names[0]} in torch",
            f"{names[0]} on the torch side too, or {names[1]} in Keras",
        )
        return Finding(*paths, Kind.TRAINING, "dropout-kind", text, fix)
    fix = Fix(
        f"rate {torch.rate:g} in Keras" if torch else f"leave out {names[0]} in Keras",
        f"rate {keras.rate:g} in torch" if keras else f"leave out {names[1]} in torch",
        f"rate {one.rate:g} on both sides" if keras and torch else "the same random layer on both sides",
    )
    return Finding(*paths, Kind.TRAINING, "dropout-rate", text, fix)


RANDOM_KINDS = {
    "element": "dropout of single elements (Dropout)",
    "channel": "dropout of whole channels (SpatialDropout, nn.Dropout1d to 3d)",
    "example": "dropout of whole examples (a branch left out at random)",
    "alpha": "alpha dropout (AlphaDropout)",
    "alpha channel": "alpha dropout of whole channels (nn.FeatureAlphaDropout)",
    "gaussian": "multiplication by Gaussian noise (GaussianDropout)",
    "noise": "addition of Gaussian noise (GaussianNoise)",
}
"""What is random in a layer, for readers."""


def _described(item: Dropped) -> str:
    """A random layer in words: its kind and its rate."""
    strength = "with a deviation" if item.kind == "noise" else "at a rate"
    return f"{RANDOM_KINDS.get(item.kind, f'dropout of {item.kind}s')} {strength} of {item.rate:g}"


def _padded(items: Sequence[T], length: int) -> list[T | None]:
    """The items, followed by None up to this length."""
    return [*items, *[None] * (length - len(items))]
