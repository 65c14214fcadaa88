"""Which of several hypotheses is named: the first that another input and other weights bear out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice

import numpy as np

from parity.causes.case import Explanation, Hypothesis
from parity.core.layout import aligned
from parity.core.tolerance import difference
from parity.core.types import Array

MOST = 8
"""Hypotheses that are tried at one place."""

FEW = 8
"""Differing elements, on both inputs together, that are too few to tell one cause from another."""

PLENTY = 32
"""Differing elements of the one input that name a cause although another input shows no difference there."""

UNTRIED = "this was seen on one input alone, so the fix is not verified"

HoldsAgain = Callable[[Hypothesis], bool | None]
"""Whether a hypothesis holds on another input and other weights; None where these say nothing of it."""


def chosen(hypotheses: Iterable[Hypothesis], holds: HoldsAgain, elements: int) -> list[Explanation]:
    """What is named of a difference; nothing where every hypothesis fails elsewhere.

    Args:
        hypotheses: the likeliest first.
        holds: tries one of them again.
        elements: how many elements differ on the first input.
    """
    open_question: Hypothesis | None = None
    for hypothesis in islice(hypotheses, MOST):
        answer = holds(hypothesis)
        if answer:
            return list(hypothesis.explanations)
        if answer is None and open_question is None:
            open_question = hypothesis
    if open_question is None or elements < PLENTY:
        return []
    return [unverified(item) for item in open_question.explanations]


def unverified(item: Explanation) -> Explanation:
    """The same explanation, its fix not verified, and the text says so."""
    return replace(item, verified=False, evidence=f"{item.evidence}; {UNTRIED}")


def enough(*pairs: tuple[Array, Array]) -> bool:
    """Whether enough elements differ in these pairs of tensors, or most of them."""
    differing = [differing_elements(keras, torch) for keras, torch in pairs]
    size = sum(keras.size for keras, _ in pairs)
    return sum(differing) >= min(FEW, max(size // 2, 1))


def differing_elements(keras: Array, torch: Array) -> int:
    """How many elements of a Keras tensor are not those of torch's; all where the shapes do not correspond."""
    fit = aligned(keras, torch)
    if fit is None:
        return keras.size
    gap = difference(keras, np.asarray(fit[0]))
    return gap.mismatched
