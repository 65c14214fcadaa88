"""The pooling behind two images is found, and what is computed once a kernel never changes what is found."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from parity.adapters.torch import reference
from parity.causes.steps import equality, pooling
from parity.causes.steps.budget import Budget
from parity.causes.steps.equality import same
from parity.causes.steps.pooling import poolings
from parity.core.tolerance import difference

LIMIT = 10**9
CASES = [
    # kind, spatial sizes, kernel, stride, pads, padding counted
    (kind, sizes, (kernel,) * len(sizes), (stride,) * len(sizes), [pads] * len(sizes), count)
    for kind, sizes, kernel, stride, pads, count in (
        *itertools.product(
            ("max", "avg"),
            ((11, 14),),
            (2, 3),
            (1, 2),
            ((0, 0), (0, 1)),
            (False, True),
        ),
        *itertools.product(("max", "avg"), ((11, 14),), (3,), (1, 2), ((1, 1),), (False, True)),
        ("avg", (3, 2), 2, 2, (1, 1), True),  # every window touches the padding
        ("avg", (17,), 5, 3, (2, 2), False),
        ("max", (7, 6, 9), 3, 2, (1, 1), False),
    )
]


def found(x: Any, y: Any) -> tuple[list[tuple[str, Any]], int]:
    """What is found, and the work that it took."""
    budget = Budget(LIMIT)
    with budget.shared(1):
        steps = [(name, settings) for name, settings, _ in poolings(x, y, ())]
    return steps, LIMIT - budget.left


@pytest.mark.parametrize("case", CASES, ids=str)
def test_windows_computed_once_change_nothing(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, sizes, *rest, count = case
    x = np.random.default_rng(0).standard_normal((2, 3, *sizes))
    y = reference.pool(x, kind, *rest, count)
    quick = found(x, y)
    (step,) = poolings(x, y, ())
    np.testing.assert_allclose(step[2](x), y, rtol=1e-12, atol=1e-12)
    assert step[1]["pool"] == kind
    monkeypatch.setattr(pooling._InnerWindows, "may_be", lambda *arguments: True)
    assert found(x, y) == quick


def test_what_is_no_pooling_is_none_and_costs_no_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = (np.random.default_rng(seed).standard_normal((2, 3, 12, 10)) for seed in (0, 1))
    calls: list[Any] = []
    pool = reference.pool
    monkeypatch.setattr(reference, "pool", lambda *arguments: calls.append(0) or pool(*arguments))
    quick = found(x, y)
    assert quick[0] == []
    assert len(calls) <= len(pooling.POOL_KERNELS), "one for each kernel"
    monkeypatch.setattr(pooling._InnerWindows, "may_be", lambda *arguments: True)
    assert found(x, y) == quick
    assert len(calls) > 100


@pytest.mark.parametrize("gap", [0.0, 0.9e-11, 1.1e-11, 3e-11, 1.0, np.nan, np.inf])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e9, np.inf])
def test_far_apart_is_never_said_of_the_same(gap: float, scale: float) -> None:
    a = np.array([1.0, -3.0, 0.0]) * (scale if np.isfinite(scale) else 1.0)
    if np.isinf(scale):
        a[1] = -np.inf
    b = a.copy()
    b[0] += 3.0 * gap * (scale if np.isfinite(scale) else 1.0)
    assert same(a, b) == (difference(a, b).within() and bool(np.isfinite(a).all()))
    if equality._far_apart(a, b):
        assert not difference(a, b).within()
