"""ResNet of both halves: parameter counts, equal features, dilation that computes what the stride did."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import needs
from tests.networks import assert_same_outputs, images, make, outputs, parameters, twins

HALVES = ["tf_impl", "torch_impl"]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("ResNet", {}, 11_689_512),
        ("ResNet", {"num_classes": None}, 11_176_512),
        ("ResNetV2", {}, 11_687_848),
    ],
)
def test_parameter_counts(half: str, name: str, arguments: dict[str, Any], count: int) -> None:
    assert parameters(make(half, name, **arguments)) == count


@pytest.mark.parametrize(("depth", "count"), [(50, 25_557_032), (101, 44_549_160)])
def test_the_deeper_ones_have_their_counts(depth: int, count: int) -> None:
    needs("torch")
    import torch

    with torch.device("meta"):  # shapes alone
        assert parameters(make("torch_impl", "ResNet", depth=depth)) == count


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ResNet", {"depth": 18, "num_classes": 7}),
        ("ResNet", {"depth": 34, "num_classes": None, "output_stride": 16, "multi_grid": (1, 2, 3)}),
        ("ResNet", {"depth": 50, "num_classes": None, "output_stride": 8}),
        ("ResNetV2", {"num_classes": 7}),
        ("ResNetV2", {"num_classes": None, "output_stride": 8}),
    ],
)
def test_same_outputs(name: str, arguments: dict[str, Any]) -> None:
    model, module = twins(name, width=4, **arguments)
    found = assert_same_outputs(model, module, images(65, 98))
    if arguments["num_classes"] is None:
        strides = [min(stride, arguments["output_stride"]) for stride in (4, 8, 16, 32)]
        assert [each.shape[1:3] for each in found] == [(-(-65 // s), -(-98 // s)) for s in strides]
    again = type(model).from_config(model.get_config())
    assert [v.shape for v in again.variables] == [v.shape for v in model.variables]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(("name", "depth"), [("ResNet", 18), ("ResNet", 50), ("ResNetV2", 18)])
def test_dilation_computes_the_same_at_more_places(half: str, name: str, depth: int) -> None:
    """At every fourth place, stride 8 gives the features of stride 32: the definition of atrous convolution."""
    plain = make(half, name, depth=depth, num_classes=None, width=4)
    dense = make(half, name, depth=depth, num_classes=None, width=4, output_stride=8)
    if half == "torch_impl":
        dense.load_state_dict(plain.state_dict())
        plain, dense = plain.eval(), dense.eval()
    else:
        dense.set_weights(plain.get_weights())
    coarse, fine = (outputs(model, images(65, 98, dtype="float32"))[-1] for model in (plain, dense))
    assert coarse.shape[1:3] == (3, 4)
    assert fine.shape[1:3] == (9, 13)
    np.testing.assert_allclose(fine[:, ::4, ::4], coarse, rtol=0, atol=1e-5 * float(np.abs(coarse).max()))


def test_rates_of_the_last_stage() -> None:
    """torchvision's rule at stride 8, and a multi-grid of (1, 2, 4) at stride 16 as DeepLab v3 prints it."""

    def rates(**arguments: Any) -> list[tuple[int, int]]:
        blocks = make("torch_impl", "ResNet", depth=50, num_classes=None, width=4, **arguments).layer4
        return [block.conv2.dilation[0] for block in blocks]

    assert rates(output_stride=8) == [2, 4, 4]
    assert rates(output_stride=16) == [1, 2, 2]
    assert rates(output_stride=16, multi_grid=(1, 2, 4)) == [2, 4, 8]
    assert rates(output_stride=8, multi_grid=(1, 2, 4)) == [4, 8, 16]
    assert rates() == [1, 1, 1]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("ResNet", {"depth": 20}, "depth must be one of"),
        ("ResNet", {"output_stride": 4}, "output_stride must be 8, 16 or 32"),
        ("ResNet", {"multi_grid": (1, 2, 4)}, "each of the last stage's 2 blocks"),
        ("ResNet", {"width": 0}, "width must be at least 1"),
        ("ResNetV2", {"depth": 50}, "Use ResNet for bottlenecks"),
    ],
)
def test_refusals(half: str, name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(half, name, **arguments)


@pytest.mark.parametrize("half", HALVES)
def test_first_values_have_he_s_variance(half: str) -> None:
    """He et al.'s normal distribution over the fan of the output: 2 / (7 * 7 * 64)."""
    conv = make(half, "ResNet", num_classes=None).conv1
    kernel = np.asarray(conv.kernel) if half == "tf_impl" else conv.weight.detach().numpy()
    assert kernel.var() == pytest.approx(2 / (49 * 64), rel=0.1)
    assert abs(kernel.mean()) < 0.002
