"""The same short training run in both packages: one loss curve, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from datasets.segmentation import Recipe
from tests.conftest import needs

STRUCTURE = 1e-9  # relative, in float64; measured: 3e-15 after 50 steps
# Two roundings may have opposite signs, so that the frameworks are up to twice as far apart in float32 as the
# worse of them is from its own float64 run. Measured over four seeds: 0.4 to 1.3 times.
APART = 2.0
# Neither side's own float32 may be this many times worse than the other's. Measured: 4; TF32 would be 1000.
LOPSIDED = 32.0
STEPS = 50


def faults(curves: Any) -> list[str]:
    """What is wrong with four curves; an empty list if nothing is."""
    gaps = benchmark().differences(curves)
    found = []
    if any(values.shape != next(iter(gaps.values())).shape or values.size == 0 for values in gaps.values()):
        return ["the curves must have the same length and hold something"]
    if not all(np.isfinite(values).all() for values in gaps.values()):
        return ["every loss must be finite"]
    first = np.flatnonzero(gaps["float64"] > STRUCTURE)
    if first.size:
        found.append(f"float64 differs from step {first[0] + 1} on: {gaps['float64'][first[0]]:.1e}")
    ours, theirs = gaps["tf rounding"].max(), gaps["torch rounding"].max()
    if gaps["float32"].max() > APART * max(ours, theirs):
        found.append(
            f"float32 is {gaps['float32'].max():.1e} apart, float64 explains {max(ours, theirs):.1e}"
        )
    if max(ours, theirs) > LOPSIDED * min(ours, theirs):
        found.append(f"float32 is {ours:.1e} from float64 in Keras and {theirs:.1e} in PyTorch")
    return found


def benchmark() -> Any:
    needs("keras")
    needs("torch")
    from benchmarks import trajectory

    return trajectory


@pytest.mark.slow
def test_both_packages_have_one_loss_curve() -> None:
    curves = benchmark().trajectories(STEPS)
    assert {pair: curve.shape for pair, curve in curves.items()} == {
        (half, dtype): (STEPS,) for half in ("tf", "torch") for dtype in ("float64", "float32")
    }
    assert faults(curves) == []
    # The run is one that could go wrong: the weights move, and float32 is not float64.
    assert np.ptp(curves["torch", "float64"]) > 100
    assert (curves["tf", "float32"] != curves["tf", "float64"]).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "step"),
    [({"momentum": 0.8}, 3), ({"seed": 1}, 1), ({"learning_rate": 1.00000001e-4}, 2), ({"batch_size": 5}, 1)],
)
def test_a_recipe_changed_on_one_side_is_noticed(change: dict[str, Any], step: int) -> None:
    """Momentum enters the loss at step 3, the learning rate at step 2, the batches at once."""
    curves = benchmark().trajectories(4, depth=2, torch=Recipe(**{"steps": 4, **change}))
    assert f"float64 differs from step {step} on" in faults(curves)[0]
