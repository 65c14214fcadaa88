"""One call of one paired layer, as the causes are read from it, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from parity.core.layout import activation_to_torch, aligned
from parity.core.tolerance import difference
from parity.core.types import Array
from parity.replay.tensors import WITHIN


@dataclass(frozen=True)
class Explanation:
    """One cause of one finding.

    Attributes:
        cause: identifier of the cause.
        evidence: what shows it, for a person.
        fix: what to change.
        verified: whether the fix was tried, and the layer then agreed.
        strides: of both layers, where these differ.
        layers: paths of two layers without weights that were found to be the place.
        lone: kind of the one step that one side alone takes ("softmax", "activation").
    """

    cause: str
    evidence: str
    fix: str
    verified: bool = False
    strides: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    layers: tuple[str | None, str | None] | None = None
    lone: str | None = None


@dataclass(frozen=True)
class Hypothesis:
    """Causes that explain one difference together.

    Attributes:
        explanations: one for each cause.
        steps: (node, output) of the step on either side that shows them; None for a layer.
        ends: (node, output) of what arrives on either side, for which they are to be the reason.
        seen: what the steps alone claim, where the layer behind them gives it another name.
    """

    explanations: tuple[Explanation, ...]
    steps: tuple[Any, Any] | None = None
    ends: tuple[Any, Any] | None = None
    seen: frozenset[tuple[str, str]] = frozenset()

    @property
    def claims(self) -> frozenset[tuple[str, str]]:
        """What it says, figures of the evidence aside: causes and fixes."""
        return frozenset((item.cause, item.fix) for item in self.explanations)


@dataclass
class Case:
    """One call of one paired layer: what both sides made of identical inputs.

    Attributes:
        keras: path of the Keras layer; torch: path of the torch module.
        families: kinds of the two layers, None where not known.
        settings: of the Keras and the torch layer.
        keras_in, keras_out: in the Keras layout; the result is the one before a built-in activation.
        torch_in, torch_out: in the torch layout.
        weights: of the Keras and the torch layer, by torch's names, in torch's layout.
        images: (C, *space) of images that may have been flattened in front.
        within: the activation that the torch layer applies within, and Keras as a step behind; else None.
        rerun: runs the torch layer on its inputs with other weights (by torch's names) and attributes.
    """

    keras: str
    torch: str
    families: tuple[str | None, str | None]
    settings: tuple[Mapping[str, Any], Mapping[str, Any]]
    keras_in: Sequence[Array]
    keras_out: Array
    torch_in: Sequence[Array]
    torch_out: Array
    weights: tuple[Mapping[str, Array], Mapping[str, Array]]
    images: Sequence[tuple[int, ...]] = ()
    rerun: Callable[[Mapping[str, Array], Mapping[str, Any]], Array | None] = field(
        default=lambda weights, settings: None
    )

    within: str | None = None

    @property
    def channels_first(self) -> tuple[Array, Array]:
        """The Keras input and result, channels first."""
        if self.settings[0].get("data_format") == "channels_first":
            return self.keras_in[0], self.keras_out
        return activation_to_torch(self.keras_in[0]), activation_to_torch(self.keras_out)

    def agrees(self, weights: Mapping[str, Array], settings: Mapping[str, Any]) -> float | None:
        """How well the torch layer itself, so changed, agrees with the Keras result; None where it does not."""
        value = self.rerun(weights, settings)
        wanted = WITHIN[self.within](self.keras_out) if self.within else self.keras_out
        fit = None if value is None else aligned(wanted, value)
        gap = None if fit is None else difference(wanted, fit[0])
        return gap.max_rel if gap is not None and gap.within() else None
