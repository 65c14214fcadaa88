"""Copies of transposed views: the values of a plain copy, whatever the shape, order and type."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from parity.adapters import reorder
from parity.adapters.reorder import contiguous, copy_into
from tests.conftest import needs

SHAPES = [
    (257, 391),
    (65, 40, 3, 3),
    (3, 3, 41, 66),
    (5, 7, 11, 13, 2),
    (1, 400, 1, 300),
    (2, 3),
    (),
    (7,),
    (0, 5),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "float16", "bool"])
def test_every_order(shape: tuple[int, ...], dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reorder, "SMALL", 1)
    source = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    orders = list(permutations(range(len(shape))))
    for order in orders[:: max(1, len(orders) // 12)]:
        view = source.transpose(order)
        out = np.zeros(view.shape, dtype)
        copy_into(out, view)
        np.testing.assert_array_equal(out, view)
        fresh = contiguous(view)
        np.testing.assert_array_equal(fresh, view)
        assert fresh.flags.c_contiguous
        assert fresh.dtype == view.dtype
        assert fresh.ctypes.data % 64 == 0 or fresh.size == 0


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1].T,
        lambda a: a[::2, 1:].T,
        lambda a: np.broadcast_to(a[:1], a.shape).T,
        lambda a: a[:, ::-1],
    ],
)
def test_reversed_stepped_and_broadcast_views(view: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reorder, "SMALL", 1)
    source = view(np.random.default_rng(0).standard_normal((500, 700)))
    np.testing.assert_array_equal(contiguous(source), source)


def test_a_large_kernel_takes_blocks_and_not_much_room() -> None:
    import tracemalloc

    kernel = np.random.default_rng(0).standard_normal((512, 512, 3, 3), dtype=np.float32)
    out = np.zeros((3, 3, 512, 512), np.float32)
    tracemalloc.start()
    copy_into(out, kernel.transpose(2, 3, 1, 0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(out, kernel.transpose(2, 3, 1, 0))
    assert peak < kernel.nbytes / 2


@pytest.mark.parametrize("kind", ["as it is", "read-only", "not aligned", "flipped", "contiguous"])
def test_a_large_kernel_arrives_in_keras_however_it_lies_in_memory(kind: str) -> None:
    """And it is a copy: what the source becomes later does not matter."""
    needs("keras")
    import keras

    from parity.adapters import adapt

    model = keras.Sequential([keras.Input((8, 8, 96)), keras.layers.Conv2D(80, 3, name="c")])
    memory = np.random.default_rng(0).standard_normal(80 * 96 * 9 + 1).astype(np.float32)
    kernel = (memory[1:] if kind == "not aligned" else memory[:-1]).reshape(80, 96, 3, 3)
    if kind == "flipped":
        kernel = kernel[:, :, ::-1]
    value = kernel.transpose(2, 3, 1, 0)
    if kind == "contiguous":
        value = np.ascontiguousarray(value)
    wanted = value.copy()
    value.flags.writeable = kind != "read-only"
    assert value.size > reorder.SMALL
    adapter = adapt(model)
    adapter.write("c.kernel", value)
    memory[:] = 0
    np.testing.assert_array_equal(adapter.read("c.kernel"), wanted, strict=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_same_values(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reorder, "SMALL", 1)
    source = np.random.default_rng(0).standard_normal(shape)
    source.reshape(-1)[: source.size // 2 : 3] = np.nan
    orders = list(permutations(range(len(shape))))
    for order in orders[:: max(1, len(orders) // 12)]:
        view = source.transpose(order)
        known = np.array(view, order="C")
        assert reorder.same_values(known, view)
        if known.size:
            known.reshape(-1)[known.size // 2] = 7.0
            assert not reorder.same_values(known, view)
    assert not reorder.same_values(source, source.astype(np.float32)[None])
