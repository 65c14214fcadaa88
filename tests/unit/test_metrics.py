"""The metrics' definition in NumPy: worked numbers, other people's code, brute force, and the device's versions."""

from __future__ import annotations

import itertools
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.scores.boxes import matched, overlaps
from datasets.scores.metrics import (
    SegmentationMetrics,
    boundary,
    boundary_distance,
    boxes_of,
    decide,
    flat,
    one_hot,
    raw_values,
)

NAMES = ("a", "b", "c")
VALUES = (50, 100, 250)


def masks_of(text: str) -> np.ndarray:
    """Masks (1, C, H, W) from rows of classes, one picture a class; # is the class."""
    pictures = [picture.split() for picture in text.split("|")]
    return np.array([[[letter == "#" for letter in row] for row in picture] for picture in pictures])[None]


def random_case(seed: int, n: int = 5, size: tuple[int, int] = (9, 13)) -> dict[str, Any]:
    """Blobs of three classes that overlap, with outputs in mask values, ignored pixels and boxes."""
    rng = np.random.default_rng(seed)
    raw = rng.random((2, n, 3, *(-(-side // 3) for side in size))).repeat(3, -1).repeat(3, -2)
    predicted, target = raw[..., : size[0], : size[1]] > 0.6
    scale = np.array(VALUES, float)[:, None, None]
    return {
        "predicted": predicted,
        "target": target,
        "valid": rng.random((n, *size)) > 0.2,
        "outputs": rng.normal(60, 70, predicted.shape),
        "targets": target * scale,
        "boxes": [[boxes_of(mask) for mask in image] for image in target],
    }


def result_of(**case: Any) -> dict[str, Any]:
    metrics = SegmentationMetrics(NAMES[: case["target"].shape[1]])
    metrics.update(**case)
    return metrics.result()


# ---- worked numbers -----------------------------------------------------------------------------------------


def test_worked_numbers_of_two_overlapping_classes() -> None:
    target = masks_of("##.. ##.. .... | .##. .##. ....")
    predicted = masks_of("###. #... .... | .##. .### ....")
    found = result_of(predicted=predicted, target=target)
    # a: 4 predicted, 4 true, 3 in both; b: 5 predicted, 4 true, 4 in both.
    assert found["iou_per_class"] == {"a": 3 / 5, "b": 4 / 5}
    assert found["mean_iou"] == pytest.approx(0.7)
    assert found["dice_per_class"] == {"a": 6 / 8, "b": 8 / 9}
    # Wrong: (0, 2) and (1, 1) for a, (1, 3) for b.
    assert found["pixel_accuracy"] == 9 / 12
    assert found["pixels"] == 12
    assert "mse" not in found
    assert "mean_box_iou" not in found


def test_ignored_pixels_enter_no_count() -> None:
    target, predicted = masks_of("##.. ##.. ...."), masks_of("###. #... ....")
    valid = np.ones((1, 3, 4), bool)
    valid[0, 0, 2] = valid[0, 0, 0] = False  # one wrong, one right
    squares = {"outputs": np.where(valid[:, None], 3.0, np.nan), "targets": np.zeros(target.shape)}
    found = result_of(predicted=predicted, target=target, valid=valid, **squares)
    assert (found["pixels"], found["mean_iou"], found["pixel_accuracy"]) == (10, 2 / 3, 9 / 10)
    assert found["mse"] == 9


def test_the_error_is_in_the_lectures_units() -> None:
    target = np.zeros((2, 3, 1, 2), bool)
    targets = np.zeros(target.shape)
    targets[0, 0] = [50, 0]
    outputs = targets + np.array([1, 2, 3.0])[:, None, None]
    found = result_of(predicted=target, target=target, outputs=outputs, targets=targets)
    assert found["mse_per_class"] == {"a": 1, "b": 4, "c": 9}
    assert found["mse"] == pytest.approx(14 / 3)


def test_classes_that_never_occur_have_no_score_and_invented_ones_have_none_right() -> None:
    target = masks_of("#. .. | .. .. | .. ..")
    predicted = masks_of("#. .. | .. .. | .# ..")
    found = result_of(predicted=predicted, target=target, boxes=[[[[0, 0, 0, 0]], [], []]])
    for name in ("iou", "dice", "boundary_iou", "box_iou"):
        assert found[f"{name}_per_class"] == {"a": 1, "b": None, "c": 0}
        assert found[f"mean_{name}"] == 0.5
    assert json.loads(json.dumps(found)) == found


def test_a_class_that_comes_up_in_another_batch_is_scored_over_the_whole_set() -> None:
    metrics = SegmentationMetrics(1)
    full, none = np.ones((1, 1, 2, 2), bool), np.zeros((1, 1, 2, 2), bool)
    metrics.update(none, none)
    assert metrics.result()["mean_iou"] is None
    metrics.update(full, full)
    assert metrics.result()["mean_iou"] == 1
    metrics.update(full, none)
    assert metrics.result()["iou_per_class"] == {"0": 0.5}


def test_nothing_counted_is_no_score() -> None:
    assert SegmentationMetrics(2).result() == {"pixels": 0}
    none = np.zeros((1, 2, 2, 2), bool)
    found = SegmentationMetrics(2)
    found.update(none, none, valid=np.zeros((1, 2, 2), bool))
    assert found.result()["pixel_accuracy"] is None


def test_boundary_worked_number() -> None:
    """A 5 x 5 square against itself moved by one column: of two rings of 16 pixels, 8 are shared."""
    target, predicted = (np.zeros((1, 1, 9, 9), bool) for _ in range(2))
    target[..., 2:7, 2:7] = True
    predicted[..., 2:7, 3:8] = True
    metrics = SegmentationMetrics(1, boundary_width=1)
    metrics.update(predicted, target)
    assert np.count_nonzero(boundary(target, 1)) == 16
    # Shared: rows 2 and 6, columns 3..6, 8 pixels; columns 2, 3, 6, 7 of rows 3..5 are in one ring only.
    assert metrics.result()["mean_boundary_iou"] == 8 / 24


@pytest.mark.parametrize(("size", "distance"), [((64, 64), 2), ((8, 9), 1), ((300, 400), 10)])
def test_the_boundary_is_two_percent_of_the_diagonal(size: tuple[int, int], distance: int) -> None:
    assert boundary_distance(*size) == distance


def test_boxes_worked_numbers() -> None:
    mask = masks_of("##...# ##.... ...#.. ..#..#")[0, 0]
    assert boxes_of(mask) == [[0, 0, 1, 1], [5, 0, 5, 0], [2, 2, 3, 3], [5, 3, 5, 3]]
    assert boxes_of(mask, min_area=2) == [[0, 0, 1, 1], [2, 2, 3, 3]]
    assert boxes_of(np.zeros((3, 4), bool)) == []
    # 2 x 2 pixels against 3 x 2: 4 shared of 6.
    assert overlaps([[0, 0, 1, 1]], [[0, 0, 2, 1], [2, 0, 3, 1]]).tolist() == [[4 / 6, 0]]
    assert overlaps([], [[0, 0, 1, 1]]).shape == (0, 1)


def test_box_score_counts_missed_and_invented_boxes_as_nothing() -> None:
    target = predicted = masks_of("##...# ##.... ...#..")
    true = [[[[0, 0, 2, 1], [3, 2, 3, 2]]]]  # the box at (5, 0) is invented
    found = result_of(predicted=predicted, target=target, boxes=true)
    assert found["mean_box_iou"] == pytest.approx((4 / 6 + 1 + 0) / 3)


def test_the_matching_is_the_best_not_the_greedy_one() -> None:
    """The greatest overlap alone, .8, leaves nothing for the other two boxes; .7 and .25 are more in all."""
    predicted = [[0, 0, 9, 0], [0, 0, 1, 0]]
    true = [[0, 0, 7, 0], [3, 0, 9, 0]]
    np.testing.assert_allclose(overlaps(predicted, true), [[0.8, 0.7], [0.25, 0]])
    assert sorted(matched(predicted, true)) == [0.25, 0.7]


# ---- other people's code and brute force ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_boundary_equals_an_erosion(seed: int) -> None:
    from scipy.ndimage import binary_erosion

    rng = np.random.default_rng(seed)
    masks = rng.random((2, 11, 17)) > 0.1
    for distance in (1, 2, 4, 9):
        eroded = [binary_erosion(mask, np.ones((3, 3)), iterations=distance) for mask in masks]
        np.testing.assert_array_equal(boundary(masks, distance), masks & ~np.array(eroded))


@pytest.mark.parametrize("seed", range(3))
def test_boxes_equal_scikit_images(seed: int) -> None:
    from skimage.measure import label, regionprops

    mask = np.random.default_rng(seed).random((21, 34)) > 0.75
    regions = [region for region in regionprops(label(mask, connectivity=2)) if region.area >= 3]
    expected = [[left, top, right - 1, bottom - 1] for top, left, bottom, right in (r.bbox for r in regions)]
    assert sorted(boxes_of(mask, 3)) == sorted(expected)
    assert len(expected) > 3


@pytest.mark.parametrize("seed", range(3))
def test_counts_equal_loops_over_pixels(seed: int) -> None:
    case = random_case(seed, 2)
    found = result_of(**case)
    n, classes, height, width = case["target"].shape
    places = [p for p in itertools.product(range(n), range(height), range(width)) if case["valid"][p]]
    right = 0
    for i, y, x in places:
        right += all(case["predicted"][i, c, y, x] == case["target"][i, c, y, x] for c in range(classes))
    assert found["pixel_accuracy"] == right / len(places)
    for c, name in enumerate(NAMES):
        pairs = [(case["predicted"][i, c, y, x], case["target"][i, c, y, x]) for i, y, x in places]
        both, either = sum(p and t for p, t in pairs), sum(p or t for p, t in pairs)
        assert found["iou_per_class"][name] == both / either
        assert found["dice_per_class"][name] == pytest.approx(2 * both / (both + either), rel=1e-14)
        errors = [(case["outputs"][i, c, y, x] - case["targets"][i, c, y, x]) ** 2 for i, y, x in places]
        assert found["mse_per_class"][name] == pytest.approx(math.fsum(errors) / len(errors), rel=1e-13)


@pytest.mark.parametrize("seed", range(4))
def test_the_matching_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.integers(0, 12, (2, 5, 2, 2)), axis=2).reshape(2, 5, 4)
    predicted, true = corners[0].tolist(), corners[1, :4].tolist()
    table = overlaps(predicted, true)
    best = max(table[list(rows), range(4)].sum() for rows in itertools.permutations(range(5), 4))
    assert matched(predicted, true).sum() == pytest.approx(best, rel=1e-14)


def test_a_label_map_gives_the_usual_accuracy_and_iou() -> None:
    rng = np.random.default_rng(5)
    labels, guess = rng.integers(0, 3, (2, 4, 6, 7))
    labels[rng.random(labels.shape) < 0.2] = 255
    target, valid = one_hot(labels, 3)
    found = result_of(predicted=one_hot(guess, 3, None)[0], target=target, valid=valid)
    kept = labels != 255
    assert found["pixel_accuracy"] == np.mean(labels[kept] == guess[kept])
    table = np.bincount(labels[kept] * 3 + guess[kept], minlength=9).reshape(3, 3)
    expected = np.diag(table) / (table.sum(0) + table.sum(1) - np.diag(table))
    np.testing.assert_allclose(list(found["iou_per_class"].values()), expected, rtol=1e-14)


# ---- streaming ----------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.sets(st.integers(1, 4)), parts=st.integers(1, 3))
def test_any_split_into_batches_and_processes_gives_the_same(seed: int, cuts: set[int], parts: int) -> None:
    case = random_case(seed)
    edges = [0, *sorted(cuts), 5]
    processes = [SegmentationMetrics(NAMES) for _ in range(parts)]
    in_order = SegmentationMetrics(NAMES)
    for k, (start, stop) in enumerate(itertools.pairwise(edges)):
        batch = {name: value[start:stop] for name, value in case.items()}
        in_order.update(**batch)
        processes[k % parts].update(**batch)
    whole = result_of(**case)
    assert in_order.result() == whole  # to the last bit
    total = SegmentationMetrics(NAMES)
    for one in processes:
        total.merge(pickle.loads(pickle.dumps(one)))
    for name, value in flat(total.result()).items():
        assert value == pytest.approx(flat(whole)[name], rel=1e-13), name


# ---- decisions and errors -----------------------------------------------------------------------------------


def test_where_a_class_is_predicted() -> None:
    outputs = np.array([-1.0, 0, 1, 26, 49, 51, 125, 126]).reshape(1, 2, 1, 4)
    assert decide(outputs).tolist() == [[[[False, False, True, True]], [[True] * 4]]]
    values = decide(outputs, "values", (50, 250))
    assert values.tolist() == [[[[False, False, False, True]], [[False, False, False, True]]]]
    tie = decide(np.array([[2.0, 1], [2, 3]]).reshape(1, 2, 1, 2), "softmax")
    assert tie.tolist() == [[[[True, False]], [[False, True]]]]


def test_raw_values_of_logits_are_probabilities_times_the_value() -> None:
    outputs = np.array([0.0, math.log(3), -1e4, 1e4]).reshape(1, 1, 2, 2)
    np.testing.assert_allclose(raw_values(outputs, "logits", [50]).ravel(), [25, 37.5, 0, 50], rtol=1e-15)
    assert raw_values(outputs, "values", [50]) is outputs


GOOD = {"predicted": np.zeros((2, 3, 4, 5), bool), "target": np.zeros((2, 3, 4, 5), bool)}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "turned masks": ({"predicted": np.zeros((2, 3, 5, 4), bool)}, r"predicted.shape=\(2, 3, 5, 4\)"),
    "channels last": ({name: np.zeros((2, 4, 5, 3), bool) for name in GOOD}, "target must have 3 classes"),
    "probabilities": ({"predicted": np.zeros((2, 3, 4, 5))}, "predicted must be boolean; got dtype=float64"),
    "valid per class": ({"valid": np.zeros((2, 3, 4, 5), bool)}, "valid must be"),
    "half an error": ({"outputs": np.zeros((2, 3, 4, 5))}, "must come together"),
    "boxes of one image": ({"boxes": [[[], [], []]]}, "got 1 images"),
    "boxes the wrong way round": (
        {"boxes": [[[[3, 0, 1, 1]], [], []]] * 2, "predicted": np.ones((2, 3, 4, 5), bool)},
        "min_x <= max_x",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_belong_together_is_refused(name: str) -> None:
    change, told = BAD[name]
    with pytest.raises(ValueError, match=told):
        SegmentationMetrics(NAMES).update(**{**GOOD, **change})


def test_wrong_arguments_are_refused() -> None:
    for classes in ((), 0, ("a", "a")):
        with pytest.raises(ValueError, match="classes must be"):
            SegmentationMetrics(classes)
    with pytest.raises(ValueError, match="boundary_width=-1"):
        SegmentationMetrics(2, boundary_width=-1)
    with pytest.raises(ValueError, match="must have the same classes"):
        SegmentationMetrics(2).merge(SegmentationMetrics(3))
    with pytest.raises(ValueError, match=r"must be in 0..2 or ignore=255; got \[3\] at 1 pixels"):
        one_hot(np.array([[[0, 3, 255]]]), 3)
    with pytest.raises(ValueError, match="min_area=0"):
        boxes_of(np.zeros((2, 2), bool), 0)
    with pytest.raises(ValueError, match="mask must be boolean"):
        boxes_of(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="needs mask_values"):
        decide(np.zeros((1, 2, 2, 2)), "values")
    with pytest.raises(ValueError, match="must be 2, one a class"):
        decide(np.zeros((1, 2, 2, 2)), "values", (1, 2, 3))
    with pytest.raises(ValueError, match="activation='sigmoid'"):
        decide(np.zeros((1, 2, 2, 2)), "sigmoid")


def test_a_width_of_0_leaves_the_boundary_out() -> None:
    metrics = SegmentationMetrics(NAMES, boundary_width=0)
    metrics.update(**GOOD)
    assert not [name for name in metrics.result() if "boundary" in name]
