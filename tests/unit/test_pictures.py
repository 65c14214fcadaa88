"""What predictions are written as: ids, overlays, run lengths, boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datasets.errors import RunError
from datasets.prediction.pictures import (
    class_colours,
    class_ids,
    described,
    from_run_lengths,
    outline,
    overlay,
    run_lengths,
    save_ids,
    save_picture,
)

NAMES = ("ring", "corner", "none")


def masks() -> np.ndarray:
    """A ring, a corner that overlaps it, and nothing, in 6 x 9 pixels."""
    found = np.zeros((3, 6, 9), bool)
    found[0, 1:5, 2:7] = True
    found[0, 2:4, 4] = False
    found[1, 3:, 5:] = True
    return found


# ---- run lengths --------------------------------------------------------------------------------------------


def test_run_lengths_by_hand() -> None:
    """Columns first, beginning with pixels outside, as COCO has it."""
    mask = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [1, 1, 0, 1]], bool)
    # column 0: out out in; column 1: in in in; column 2: in out out; column 3: out out in
    assert run_lengths(mask) == {"size": [3, 4], "counts": [2, 5, 4, 1]}
    assert run_lengths(mask[:, 1:2]) == {"size": [3, 1], "counts": [0, 3]}
    assert run_lengths(~mask) == {"size": [3, 4], "counts": [0, 2, 5, 4, 1]}
    assert run_lengths(np.zeros((2, 3), bool)) == {"size": [2, 3], "counts": [6]}


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 1])
def test_run_lengths_come_back(share: float) -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 7), (5, 1), (13, 8)):
        mask = rng.uniform(size=shape) < share
        encoded = run_lengths(mask)
        assert sum(encoded["counts"][1::2]) == mask.sum()
        np.testing.assert_array_equal(from_run_lengths(encoded), mask, strict=True)


@pytest.mark.parametrize("counts", [[1, 2], [7], [-1, 7]])
def test_counts_that_do_not_add_up_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="must add up to 6 pixels"):
        from_run_lengths({"size": [2, 3], "counts": counts})


# ---- ids ----------------------------------------------------------------------------------------------------


def test_the_greatest_score_among_the_predicted_wins() -> None:
    predicted = np.array([[[1, 1, 0, 0, 1]], [[1, 0, 1, 0, 1]]], bool)
    scores = np.array([[[0.6, 0.6, 0.9, 0.1, 0.7]], [[0.8, 0.9, 0.6, 0.2, 0.7]]])
    np.testing.assert_array_equal(class_ids(predicted, scores), [[2, 1, 2, 0, 1]], strict=False)
    assert class_ids(predicted, scores).dtype == np.uint8


def test_ids_beyond_a_byte_are_refused() -> None:
    with pytest.raises(RunError, match="256 classes"):
        class_ids(np.zeros((256, 1, 1), bool), np.zeros((256, 1, 1)))
    everything = np.ones((255, 1, 1), bool)
    assert class_ids(everything, np.arange(255)[:, None, None])[0, 0] == 255


def test_the_picture_of_ids_holds_the_ids(tmp_path: Path) -> None:
    from PIL import Image

    ids = np.arange(256, dtype=np.uint8).reshape(8, 32)
    save_ids(tmp_path / "a.png", ids)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), ids)
        shown = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    np.testing.assert_array_equal(shown[0], 0)
    np.testing.assert_array_equal(shown[1:], class_colours(255))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_colours_are_unlike() -> None:
    for count in (1, 5, 7, 40):
        colours = class_colours(count)
        assert colours.shape == (count, 3)
        assert len({tuple(colour) for colour in colours}) == count
        np.testing.assert_array_equal(colours, class_colours(60)[:count])  # a class keeps its colour


# ---- overlays -----------------------------------------------------------------------------------------------


def test_an_outline_is_the_masks_own_edge() -> None:
    mask = np.zeros((6, 6), bool)
    mask[1:5, 1:6] = True
    expected = mask.copy()
    expected[2:4, 2:6] = False  # the right side lies at the image's border: no edge
    np.testing.assert_array_equal(outline(mask, 1), expected)
    np.testing.assert_array_equal(outline(mask, 2), mask)


def test_an_overlay_tints_outlines_and_names() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    predicted = np.zeros((3, 300, 400), bool)
    predicted[0, 50:200, 100:300] = predicted[2, 100:250, 200:350] = True
    picture = overlay(image, predicted, NAMES)
    colours = class_colours(3)
    assert picture.shape[0] == 300
    assert picture.shape[1] > 400
    outside = ~predicted.any(axis=0)
    np.testing.assert_array_equal(picture[:, :400][outside], image[outside])
    for index, (y, x) in {0: (50, 150), 2: (249, 300)}.items():
        np.testing.assert_array_equal(picture[y, x], colours[index])
    expected = 0.55 * image[120, 150] + 0.45 * colours[0]
    np.testing.assert_allclose(picture[120, 150], expected, atol=0.51)
    legend = {tuple(pixel) for pixel in picture[:, 400:].reshape(-1, 3)}
    assert {tuple(colours[0]), tuple(colours[2])} <= legend
    assert tuple(colours[1]) not in legend  # not found, not named


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (64, 64), (20, 31)])
def test_overlays_of_any_size(size: tuple[int, int], tmp_path: Path) -> None:
    image = np.full((*size, 3), 90, np.uint8)
    for share in (False, True):
        picture = overlay(image, np.full((3, *size), share), NAMES)
        enlarged = max(1, 512 // max(size))
        assert picture.shape[0] >= size[0] * enlarged
        assert picture.shape[1] > size[1] * enlarged
        assert (picture != 255).any(axis=-1)[:, size[1] * enlarged :].any()  # a legend in any case
    save_picture(tmp_path / "a.png", picture)
    assert (tmp_path / "a.png").stat().st_size > 0


# ---- the description ----------------------------------------------------------------------------------------


def test_a_description_by_hand() -> None:
    predicted = masks()
    predicted[1, 0, 0] = True  # a second part
    scores = np.zeros(predicted.shape)
    scores[0], scores[1], scores[1, 0, 0] = 0.75, 1.5, 0.4
    found = described(predicted, scores, NAMES)
    assert (found["height"], found["width"]) == (6, 9)
    assert list(found["classes"]) == ["ring", "corner"]
    ring, corner = found["classes"]["ring"], found["classes"]["corner"]
    assert ring == {
        "area": 18,
        "score": 0.75,
        "boxes": [[2, 1, 6, 4]],
        # 12 pixels of columns 0 and 1 and one more; column 4 has its two holes
        "mask": {"size": [6, 9], "counts": [13, 4, 2, 4, 2, 1, 2, 1, 2, 4, 2, 4, 13]},
    }
    assert corner["boxes"] == [[0, 0, 0, 0], [5, 3, 8, 5]]
    assert corner["score"] == pytest.approx((12 + 0.4) / 13, abs=1e-6)  # above 1 counts as 1
    assert described(predicted, scores, NAMES, 2)["classes"]["corner"]["boxes"] == [[5, 3, 8, 5]]
    for name, mask in zip(NAMES[:2], predicted, strict=False):
        np.testing.assert_array_equal(from_run_lengths(found["classes"][name]["mask"]), mask)
