"""PReLU with a slope for each position in Keras, and for each channel in torch: refused, named, and the fix tried."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from torch import nn

import parity

SHAPES = {"image": (2, 8, 9, 3), "signal": (2, 12, 3), "volume": (1, 4, 5, 6, 3)}
CASES = ("image", "signal", "volume", "one slope")


def pair(name: str, shared: bool) -> tuple[Any, Any, Any]:
    """Two PReLUs with a convolution between."""
    shape = SHAPES.get(name, SHAPES["image"])
    rank = len(shape) - 2
    axes = list(range(1, rank + (2 if name == "one slope" else 1))) if shared else None
    image = keras.Input(shape[1:])
    x = L.PReLU(shared_axes=axes, name="first")(getattr(L, f"Conv{rank}D")(5, 3, padding="same")(image))
    x = L.PReLU(shared_axes=axes, name="second")(getattr(L, f"Conv{rank}D")(5, 3, padding="same")(x))
    model = keras.Model(image, L.Dense(2)(x))
    convolution = getattr(nn, f"Conv{rank}d")
    count = 1 if name == "one slope" else 5
    module = nn.Sequential(
        convolution(3, 5, 3, padding=1), nn.PReLU(count), convolution(5, 5, 3, padding=1), nn.PReLU(count),
        convolution(5, 2, 1),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(0.3 * rng.standard_normal(variable.shape))
    return model, module, rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_slopes_for_each_position_are_named(name: str) -> None:
    model, module, values = pair(name, shared=False)
    with pytest.raises(parity.PairingError, match=r"shared_axes=\[1"):
        parity.transfer(model, module, inputs=values)
    parity.transfer(model, module, inputs=values, strict=False)
    report = parity.compare(model, module, values)
    assert report.verdict == "DIVERGED", str(report)
    found = [(f.keras, f.torch, f.cause, f.fix_verified) for f in report.findings]
    assert found == [("first", "1", "shared-axes", True), ("second", "3", "shared-axes", True)], str(report)
    axes = list(range(1, values.ndim - (0 if name == "one slope" else 1)))
    assert f"shared_axes={axes} on Keras layer first" in str(report.findings[0].fix)


@pytest.mark.parametrize("name", CASES)
def test_shared_slopes_are_equal(name: str) -> None:
    model, module, values = pair(name, shared=True)
    parity.transfer(model, module, inputs=values)
    report = parity.compare(model, module, values)
    assert report.verdict == "EQUAL", str(report)


def test_another_fault_keeps_its_finding() -> None:
    """Where the slopes are not all that differs, the fix is not called verified, and the rest is still found."""
    model, module, values = pair("image", shared=False)
    parity.transfer(model, module, inputs=values, strict=False)
    module[4].weight.data *= 2.0
    report = parity.compare(model, module, values)
    assert report.verdict == "DIVERGED"
    shared = [f for f in report.findings if f.cause == "shared-axes"]
    assert len(shared) == 2
    assert not any(f.fix_verified for f in shared)
    assert any(f.torch == "4" for f in report.findings), str(report)


def test_weights_that_differ_unseen_stay_findings() -> None:
    """What the fix of the slopes settles on the inputs does not excuse a weight behind a dead channel."""
    image = keras.Input((8, 9, 3))
    x = L.PReLU(name="first")(L.Conv2D(5, 3, padding="same")(image))
    x = L.ReLU()(L.Conv2D(5, 1, name="dead")(x))
    model = keras.Model(image, L.Conv2D(2, 1, name="last")(x))
    module = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.PReLU(5), nn.Conv2d(5, 5, 1), nn.ReLU(), nn.Conv2d(5, 2, 1)
    )
    module[2].bias.data[0] = -1e6
    values = np.random.default_rng(0).standard_normal((2, 8, 9, 3)).astype(np.float32)
    parity.transfer(module, model, inputs=values, strict=False)
    model.get_layer("first").alpha.assign(0.3 * np.random.default_rng(1).standard_normal((8, 9, 5)))
    module[4].weight.data[:, 0] += 3.0
    report = parity.compare(model, module, values)
    found = {(f.kind.value, f.cause, f.torch, f.fix_verified) for f in report.findings}
    assert found == {("layer", "shared-axes", "1", True), ("weight", None, "4", False)}, str(report)
