"""One equal pair: two forms of one function, on either side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from tests.attacks.attempt import Weights
from tests.attacks.written import Forward, Layer, Written, conv, images, seeded

CONV: Mapping[str, Layer] = {"c": conv()}


@dataclass(frozen=True)
class Hostile:
    """One row.

    Attributes:
        kind: what is hostile in it.
        name: of the pair.
        keras: the form that the Keras side computes.
        torch: the form that the torch side computes.
        inputs: what both sides are given, in the Keras layout.
        alike: a change to the weights of both sides.
    """

    kind: str
    name: str
    keras: Written
    torch: Written
    inputs: tuple[np.ndarray, ...] = field(default_factory=lambda: (images(),))
    alike: Callable[[Weights], None] | None = None
    swapped: bool = False

    @property
    def id(self) -> str:
        """Its name for pytest."""
        return f"{self.kind}: {self.name}{', forms exchanged' if self.swapped else ''}"

    def report(self, dtype: str = "float64") -> Any:
        """What `parity.compare` says, after the weights were carried from torch to Keras."""
        seeded()
        inputs = list(self.inputs)
        model, module = self.keras.in_keras(inputs), self.torch.in_torch()
        randomise(adapt(module), 1)
        if self.alike:
            self.alike(Weights(module))
        parity.transfer(module, model, inputs=inputs)
        return parity.compare(model, module, inputs if len(inputs) > 1 else inputs[0], dtype=dtype)


def both_ways(
    kind: str,
    name: str,
    first: Forward,
    second: Forward,
    layers: Mapping[str, Layer] = CONV,
    live: bool = False,
    **more: Any,
) -> Iterator[Hostile]:
    """The first form in Keras and the second in torch, and the other way round."""
    forms = Written(first, layers, live), Written(second, layers, live)
    yield Hostile(kind, name, *forms, **more)
    if first is not second:
        yield Hostile(kind, name, *reversed(forms), swapped=True, **more)
