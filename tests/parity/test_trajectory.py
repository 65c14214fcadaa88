"""The same short training run in both packages: one loss curve, step by step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from datasets.training.recipe import Recipe
from tests.conftest import needs

STEPS = 50
PAIRS = [(half, dtype) for half in ("tf", "torch") for dtype in ("float64", "float32")]
STRUCTURE = 1e-9  # relative, in float64; measured 3e-15 after 50 steps
# How far a float32 run may be from its own float64 run, in units of what one unit roundoff in the initial weights
# does (benchmarks/trajectory.py). Measured 0.5 to 10 over three seeds, one and two threads, AVX2 and AVX-512; a side
# that computes with fewer digits (TF32, bfloat16) is thousands of them off. The distance between the two sides in
# float32 is bounded by this and by the float64 check (triangle inequality): a bound of its own would test luck.
ROUNDOFFS = 64.0


def trajectory() -> Any:
    needs("keras")
    needs("torch")
    from benchmarks import trajectory

    return trajectory


def first_apart(gaps: Any) -> int | None:
    """The first step, from 1, at which the float64 losses are not equal."""
    beyond = np.flatnonzero(~(gaps <= STRUCTURE))  # NaN is not equal either
    return int(beyond[0]) + 1 if beyond.size else None


def faults(curves: Any, effect: float) -> list[str]:
    """What contradicts "one loss curve" in four curves; `effect` is that of one unit roundoff."""
    if sorted(curves) != sorted(PAIRS) or any(curve.shape != (STEPS,) for curve in curves.values()):
        return ["there must be four curves of every step"]
    if not all(np.isfinite(curve).all() for curve in curves.values()):
        return ["every loss must be finite"]
    gaps, found = trajectory().differences(curves), []
    if step := first_apart(gaps["float64"]):
        found.append(f"float64 differs from step {step} on")
    for half in ("tf", "torch"):
        if gaps[f"{half} rounding"].max() > ROUNDOFFS * effect:
            found.append(f"{half} has fewer digits than float32")
    return found


@pytest.mark.slow
def test_both_packages_have_one_loss_curve() -> None:
    curves = trajectory().trajectories(STEPS)
    assert faults(curves, trajectory().roundoff_effect(STEPS)) == []
    # The run is one that could have gone wrong: the losses change, and float32 is not float64.
    assert np.ptp(curves["torch", "float64"]) > 100
    assert all((curves[half, "float32"] != curves[half, "float64"]).any() for half in ("tf", "torch"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "step"), [({"momentum": 0.8}, 3), ({"learning_rate": 1.00000001e-4}, 2), ({"seed": 1}, 1)]
)
def test_a_recipe_changed_on_one_side_is_noticed(change: dict[str, Any], step: int) -> None:
    """The learning rate enters the loss at step 2, momentum at step 3, another batch order at once."""
    changed = Recipe(**{"steps": 4, **change})
    curves = {**same_recipe(), **short(halves=("torch",), torch=changed)}
    gaps = np.abs(curves["tf", "float64"] - curves["torch", "float64"]) / curves["torch", "float64"]
    assert first_apart(gaps) == step


def short(**arguments: Any) -> Any:
    return trajectory().trajectories(4, depth=2, dtypes=("float64",), **arguments)


@functools.cache
def same_recipe() -> Any:
    """Both curves of the recipe that is not changed: one curve."""
    curves = short()
    gaps = np.abs(curves["tf", "float64"] - curves["torch", "float64"]) / curves["torch", "float64"]
    assert first_apart(gaps) is None
    return curves


def alike() -> Any:
    """Four curves as an honest run gives them: one curve, and float32's rounding on each side, alike in part."""
    rng = np.random.default_rng(0)
    exact, noise = rng.uniform(300, 3000, STEPS), rng.normal(size=STEPS)
    unit = {"float64": 1e-15, "float32": 1e-6}
    share = {"tf": 1.0, "torch": 0.6}
    return {(half, dtype): exact * (1 + noise * share[half] * unit[dtype]) for half, dtype in PAIRS}


def at_step_7(curve: Any, value: Callable[[float], float]) -> Any:
    return np.array([*curve[:6], value(curve[6]), *curve[7:]])


NOISE = 1e-3 * np.random.default_rng(1).normal(size=STEPS)
FAULTS: dict[str, tuple[tuple[str, str], Callable[[Any], Any], list[str]]] = {
    "none": (("tf", "float64"), lambda curve: curve, []),
    "one loss off": (
        ("tf", "float64"),
        lambda curve: at_step_7(curve, lambda loss: loss * (1 + 2e-9)),
        ["float64 differs from step 7 on"],
    ),
    "not a number": (
        ("torch", "float64"),
        lambda curve: at_step_7(curve, lambda loss: float("nan")),
        ["every loss must be finite"],
    ),
    "fewer digits": (
        ("torch", "float32"),
        lambda curve: curve * (1 + NOISE),
        ["torch has fewer digits than float32"],
    ),
    "a step short": (
        ("tf", "float32"),
        lambda curve: curve[:-1],
        ["there must be four curves of every step"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_one_curve_is_noticed(fault: str) -> None:
    pair, damage, expected = FAULTS[fault]
    curves = alike()
    assert faults({**curves, pair: damage(curves[pair])}, effect=1e-6) == expected
