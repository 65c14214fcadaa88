"""The reconstructed building network: equal halves, what its attention does, and that its levels see one another."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.conftest import needs
from tests.networks import assert_same_outputs, assert_trains_the_same, images, make, parameters, twins

HALVES = ["tf_impl", "torch_impl"]


@pytest.mark.parametrize(("deep_supervision", "size"), [(True, (33, 50)), (False, (64, 16))])
def test_same_outputs(deep_supervision: bool, size: tuple[int, int]) -> None:
    model, module = twins("BuildingNet", num_classes=2, width=4, deep_supervision=deep_supervision)
    found = assert_same_outputs(model, module, images(*size))
    assert [each.shape for each in found] == [(2, *size, 2)] * (5 if deep_supervision else 1)
    assert all(np.abs(one - other).max() > 0 for one, other in pairwise(found))


def test_the_count_stays() -> None:
    """No published count exists; this one says when the reconstruction changes."""
    needs("torch")
    import torch

    with torch.device("meta"):
        assert parameters(make("torch_impl", "BuildingNet")) == 18_595_141
    assert parameters(make("tf_impl", "BuildingNet", width=8)) == parameters(
        make("torch_impl", "BuildingNet", width=8)
    )


@pytest.mark.slow
def test_trains_the_same() -> None:
    assert_trains_the_same("BuildingNet", (32, 50), width=4, deep_supervision=False)


@pytest.mark.parametrize("half", HALVES)
def test_attention_stresses_what_is_undecided(half: str) -> None:
    """Features pass as they are where the prediction is sure, twofold where it is undecided, and in between."""
    block = make(half, "UncertaintyAttention", channels=2)
    features, scores = np.ones((1, 1, 3, 2), np.float32), np.float32([[[[-60.0, -50], [0, 90], [1, 30]]]])
    if half == "torch_impl":
        import torch

        block.refine = torch.nn.Identity()
        x, s = (torch.from_numpy(each.transpose(0, 3, 1, 2).copy()) for each in (features, scores))
        found = block(x, s).numpy().transpose(0, 2, 3, 1)
    else:
        block.refine = lambda x, **_: x
        found = np.asarray(block(features, scores))
    share = 1 / (1 + np.exp(-1.0))
    want = [1, 2, 1 + 4 * share * (1 - share)]
    np.testing.assert_allclose(found[0, 0], np.transpose([want, want]), rtol=1e-6)


def test_the_coarse_prediction_steers_the_finest_one() -> None:
    """A gradient of the finest output alone reaches the coarse prediction's weights, through the attention."""
    needs("torch")
    model = make("torch_impl", "BuildingNet", width=4)
    import torch

    torch.manual_seed(0)
    model(torch.randn(2, 3, 33, 50))[0].square().sum().backward()
    assert model.coarse.weight.grad.abs().sum() > 0
    assert model.heads[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 6}, "width must be a multiple of 4"),
        ({"num_classes": 0}, "num_classes must be at least 1"),
        ({"rates": ()}, "rates must hold numbers"),
    ],
)
def test_refusals(half: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(half, "BuildingNet", **arguments)
