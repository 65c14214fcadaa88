"""The seven-row picture of predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.prediction.figure import BOX_COLOUR, CLASS_COLOUR, save_figure, seven_rows
from datasets.purdue_shapes import MASK_VALUES, generate

SIZE = (32, 40)
BANDS = [(25, 85), (65, 135), (115, 185), (165, 230), (210, float("inf"))]


def test_the_seven_rows_pixel_by_pixel() -> None:
    """Against the definition, one pixel at a time, on outputs of every size and sign."""
    rng = np.random.default_rng(1)
    data = generate(4, 5, SIZE)
    outputs = rng.uniform(-60, 320, (4, 5, *SIZE))
    rows = seven_rows(data.images, outputs, data.boxes)
    assert rows.shape == (7, 4, *SIZE, 3)
    assert rows.dtype == np.uint8
    np.testing.assert_array_equal(rows[1], data.images)
    coloured = [0] * 5
    for image, y, x in np.ndindex(4, *SIZE):
        on_box = any(on_border(box, x, y) for of_class in data.boxes[image] for box in of_class)
        level = round(min(max(outputs[image, :, y, x].max(), 0), 255))
        expected = BOX_COLOUR if on_box else (level,) * 3
        assert tuple(rows[0, image, y, x]) == expected
        for index, (low, high) in enumerate(BANDS):
            value = outputs[image, index, y, x]
            level = round(min(max(value / MASK_VALUES[index], 0), 1) * 255)
            inside = low < value < high
            assert tuple(rows[2 + index, image, y, x]) == (CLASS_COLOUR if inside else (level,) * 3)
            coloured[index] += inside
    assert min(coloured) > 0


def on_border(box: list[int], x: int, y: int) -> bool:
    left, top, right, bottom = box
    across, down = left <= x <= right, top <= y <= bottom
    return (across and y in (top, bottom)) or (down and x in (left, right))


def test_the_true_masks_fill_their_own_rows() -> None:
    data = generate(6, 0, SIZE)
    rows = seven_rows(data.images, data.masks.astype(float), data.boxes)
    for index in range(5):
        found = (rows[2 + index] == CLASS_COLOUR).all(axis=-1)
        np.testing.assert_array_equal(found, data.masks[:, index] > 0)
        assert found.any()


@pytest.mark.parametrize("count", [1, 4])
def test_the_figure_is_a_png(count: int, tmp_path: Path) -> None:
    from matplotlib.image import imread

    data = generate(count, 0, SIZE)
    save_figure(tmp_path / "a.png", seven_rows(data.images, data.masks.astype(float), data.boxes), "MSE 0.0")
    picture = imread(tmp_path / "a.png")
    assert picture.shape[0] > 800
    colours = np.rint(picture[..., :3] * 255).astype(np.uint8)
    for colour in (BOX_COLOUR, CLASS_COLOUR):
        assert (colours == colour).all(axis=-1).sum() > 50
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
