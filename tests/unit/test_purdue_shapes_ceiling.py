"""The ceiling by occlusion: what is seen, from the seed and from the colours, and its scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.purdue_shapes import Data, DatasetError, generate, save
from datasets.purdue_shapes.__main__ import main
from datasets.purdue_shapes.ceiling import ceiling_of, seen_classes, visible_ceiling
from datasets.purdue_shapes.generator import generate_seen


def test_what_is_seen_is_a_part_of_the_masks() -> None:
    data, seen = generate_seen(300, 5, (40, 72))
    same = generate(300, 5, (40, 72))
    np.testing.assert_array_equal(data.images, same.images)
    np.testing.assert_array_equal(seen == 0, ~data.masks.any(axis=1))
    for c in range(5):
        assert (data.masks[:, c][seen == c + 1] != 0).all()
    hidden = sum(np.count_nonzero((data.masks[:, c] != 0) & (seen != c + 1)) for c in range(5))
    assert hidden > 1000  # classes overlap


def test_the_colours_tell_the_same_as_the_seed() -> None:
    data, seen = generate_seen(300, 11)
    np.testing.assert_array_equal(seen_classes(data), seen)


def test_a_worked_number() -> None:
    """A disk of 4 x 4 pixels, half of it under a rectangle of 4 x 3: 8 of 16 pixels are seen."""
    image = np.zeros((1, 32, 32, 3), np.uint8)
    masks = np.zeros((1, 5, 32, 32), np.uint8)
    masks[0, 2, 4:8, 4:8], masks[0, 0, 4:8, 6:9] = 150, 50
    image[0, 4:8, 4:8], image[0, 4:8, 6:9] = 200, 100
    boxes = [[[[6, 4, 8, 7]], [], [[4, 4, 7, 7]], [], []]]
    found = ceiling_of(Data(image, masks, boxes))
    assert found["iou_per_class"] == {
        "rectangle": 1,
        "triangle": None,
        "disk": 0.5,
        "oval": None,
        "star": None,
    }
    assert found["mean_iou"] == 0.75
    assert found["box_iou_per_class"]["disk"] == 0.5


def test_the_ceiling_is_the_share_of_object_pixels_that_is_seen() -> None:
    """What is seen lies inside the mask, so a class's IoU is its seen pixels over all of its pixels."""
    data, seen = generate_seen(1000, 7)
    found = visible_ceiling(1000, 7)
    for c, score in enumerate(found["iou_per_class"].values()):
        assert score == np.count_nonzero(seen == c + 1) / np.count_nonzero(data.masks[:, c])
    assert 0.969 <= found["mean_iou"] <= 0.973
    # Even the true masks do not give every box: objects of one class that touch are one part.
    assert found["mean_box_iou"] < found["mean_box_iou_of_true_masks"] < 1


def test_a_noisy_picture_is_refused() -> None:
    data = generate(3, 0)
    noisy = data.images.copy()
    noisy[1] ^= np.random.default_rng(0).integers(0, 4, noisy[1].shape, np.uint8)
    with pytest.raises(DatasetError, match=r"in image 1\. Generate images with a seed"):
        ceiling_of(Data(noisy, data.masks, data.boxes))
    with pytest.raises(ValueError, match="count=0"):
        visible_ceiling(0)


def test_the_command_prints_the_same_from_seed_and_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "a.gz", generate(40, 7))
    assert main(["ceiling", "--count", "40", "--seed", "7"]) == 0
    printed = capsys.readouterr().out
    assert main(["ceiling", "--data", str(tmp_path / "a.gz")]) == 0
    assert capsys.readouterr().out == printed
    assert f"IoU{visible_ceiling(40, 7)['mean_iou']:21.4f}" in printed
