"""Kinds of layers: one table names them, and each is known wherever a kind must be known."""

from __future__ import annotations

import pytest

from parity.core.layout import weight_layout
from parity.core.trace import canonical
from parity.core.types import FAMILIES, KERNELS, NORMALISATIONS
from tests.conftest import needs

CONTAINER = {"sequence"}  # no kind of computation: layers in a row
ONE_SIDED = {"depthwise", "separable"}  # torch has no class of its own for them


def test_the_adapters_know_every_family_and_no_other() -> None:
    needs("keras")
    needs("torch")
    from parity.adapters.keras.layers import CLASSES as KERAS
    from parity.adapters.torch.layers import CLASSES as TORCH

    assert {family for _, family in KERAS} == FAMILIES.keys() | CONTAINER
    assert {family for _, family in TORCH} == (FAMILIES.keys() | CONTAINER) - ONE_SIDED
    for table in (KERAS, TORCH):
        for classes, family in table:
            for cls in classes:
                spelled = canonical(cls.__name__.strip("_"))
                assert spelled == family or not FAMILIES.get(family) or not FAMILIES[family].spellings, cls


def test_a_difference_at_a_layer_with_a_kernel_or_a_normalisation_has_an_explainer() -> None:
    from parity.causes.layers import EXPLAINERS

    assert EXPLAINERS.keys() == (KERNELS | NORMALISATIONS) - {"separable"}  # paired as its two parts


def test_spellings_lead_to_one_family() -> None:
    spellings = [(word, family.name) for family in FAMILIES.values() for word in family.spellings.split()]
    assert len(dict(spellings)) == len(spellings)
    assert all(canonical(word) == name for word, name in spellings)


LAYOUTS = {  # the same weight in torch and in Keras
    "conv": ((6, 4, 3, 5), (3, 5, 4, 6)),
    "conv_transpose": ((4, 6, 3, 5), (3, 5, 6, 4)),
    "depthwise": ((8, 1, 3, 5), (3, 5, 4, 2)),
    "dense": ((6, 4), (4, 6)),
    "embedding": ((6, 4), (6, 4)),
    "prelu": ((4,), (1, 1, 4)),
    "lstm": ((12, 5), (5, 12)),
    "gru": ((9, 5), (5, 9)),
    "simple_rnn": ((3, 5), (5, 3)),
    **dict.fromkeys(NORMALISATIONS, ((4,), (4,))),
}


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"separable"}))
def test_every_family_has_a_layout(family: str) -> None:
    torch, keras = LAYOUTS[family]
    layout = weight_layout((family, family), torch, keras)
    assert layout is not None
    assert layout.keras_shape == keras
