"""U-Net's weight map against equation 2 worked out by hand, and what it does at the edges of its meaning."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from datasets.training.weight_map import weight_map


def two_objects() -> np.ndarray:
    """Columns 0-2 and 7-9 of a strip; four columns of background between them."""
    labels = np.zeros((6, 10), np.int32)
    labels[:, :3], labels[:, 7:] = 4, 9
    return labels


def test_by_hand() -> None:
    found = weight_map(two_objects(), w0=10.0, sigma=5.0)
    assert found.dtype == np.float32
    background = 1 / (2 * 0.4)
    # at column 3 the objects are 1 and 4 pixels away: 5 in all, as at every column between them
    np.testing.assert_allclose(found[:, 3:7], background + 10 * np.exp(-25 / 50), rtol=1e-6)
    np.testing.assert_allclose(found[:, :3], 1 / (2 * 0.6), rtol=1e-6)


def test_every_pixel_against_the_definition() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((17, 23), np.int64)
    for label in (3, 5, 8):
        row, column = rng.integers(0, 14), rng.integers(0, 20)
        labels[row : row + 3, column : column + 3] = label
    found = weight_map(labels, w0=7.0, sigma=3.0)
    share = (labels > 0).mean()
    present = [label for label in (3, 5, 8) if (labels == label).any()]
    for (row, column), label in np.ndenumerate(labels):
        want = 1 / (2 * share) if label else 1 / (2 * (1 - share))
        if not label:
            near = sorted(
                min(np.hypot(row - r, column - c) for r, c in np.argwhere(labels == each)) for each in present
            )
            want += 7 * np.exp(-((near[0] + near[1]) ** 2) / 18)
        assert found[row, column] == pytest.approx(want, rel=1e-6)


def test_classes_weigh_the_same_in_all() -> None:
    labels = np.zeros((10, 10), np.uint8)
    labels[0, :3] = 1
    found = weight_map(labels)
    assert found[labels > 0].sum() == pytest.approx(found[labels == 0].sum(), rel=1e-6)
    assert found.mean() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_alone_has_weight_one(value: int) -> None:
    np.testing.assert_array_equal(weight_map(np.full((4, 5), value)), 1)


@pytest.mark.parametrize(
    ("labels", "arguments", "message"),
    [
        (np.zeros((2, 3, 1), int), {}, "instances must be"),
        (np.zeros((2, 3)), {}, "instances must be"),
        (np.full((2, 3), -1), {}, "instances must be"),
        (np.zeros((2, 3), int), {"sigma": 0.0}, "sigma above 0"),
    ],
)
def test_refusals(labels: np.ndarray, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weight_map(labels, **arguments)
