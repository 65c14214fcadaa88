"""The recipe, its presets, the order of the batches, and what a run's tables hold."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.errors import RunError
from datasets.training.feeding import Arrays, Kept, Section, network_inputs, network_targets
from datasets.training.flags import training_flags
from datasets.training.order import Order, share_of
from datasets.training.recipe import PRESETS, Machine, Recipe
from datasets.training.runlog import Progress, RunLog, finite


def recipe(*flags: str) -> Recipe:
    return Recipe.from_options(training_flags("x").parse_args(["--data", "a", "--out", "b", *flags]))


def test_best_is_the_default_and_every_setting_can_be_given() -> None:
    best = recipe()
    assert best == recipe("--preset", "best")
    for name, value in PRESETS["best"]["recipe"].items():
        assert getattr(best, name) == value != getattr(Recipe(), name), name
    assert recipe("--loss", "mse", "--ema", "0.99", "--no-freeze-batchnorm").loss == "mse"
    assert recipe("--head-bias", "-1.5").head_bias == -1.5
    assert recipe("--preset", "lecture", "--freeze-batchnorm").freeze_batchnorm


def test_help_has_its_groups_and_both_defaults() -> None:
    text = " ".join(training_flags("x").format_help().split())
    for title in (
        "the run",
        "length of the run",
        "data",
        "objective",
        "optimizer",
        "reproduction",
        "the network",
        "machine",
    ):
        assert f"{title}: --" in text, title
    assert "default: 0.0001 (lecture) or 0.001 (best)" in text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"loss": "l1"}, "loss must be one of mse, bce-dice, cross-entropy, cross-entropy-dice; got loss=l1"),
        ({"validation": 1.0}, "validation=1.0"),
        ({"ema": -0.1}, "ema=-0.1"),
        ({"clip": float("inf")}, "clip=inf"),
        ({"accumulate": 3, "check_every": 4}, "multiple of accumulate"),
        ({"patience": 2}, "must have images to check on"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(RunError, match=told):
        Recipe(**change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"devices": 0}, "devices=0"),
        ({"processes": 2}, "must have a coordinator"),
        ({"processes": 2, "process": 2, "coordinator": "a:1"}, "process=2"),
    ],
)
def test_machines_that_make_no_sense_are_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(RunError, match=told):
        Machine(**change)


def test_learning_rates_are_those_of_the_definitions() -> None:
    constant = Recipe(epochs=1, batch_size=1, learning_rate=0.5, warmup=0.5)
    np.testing.assert_allclose(constant.learning_rates(4), [0.25, 0.5, 0.5, 0.5])
    cosine = Recipe(epochs=1, batch_size=1, learning_rate=2.0, lr_schedule="cosine")
    np.testing.assert_allclose(cosine.learning_rates(4), 1 + np.cos(np.pi * np.arange(1, 5) / 4), atol=1e-15)
    cycle = Recipe(epochs=1, batch_size=1, learning_rate=1.0, lr_schedule="one-cycle", warmup=0.25)
    rates = cycle.learning_rates(400)
    assert rates.argmax() == 99
    assert rates[99] == 1
    np.testing.assert_allclose(rates[-1], 1 / 25 / 1e4)
    assert (np.diff(rates[:100]) > 0).all()
    assert (np.diff(rates[99:]) < 0).all()
    assert len(Recipe(epochs=1, batch_size=1, accumulate=4).learning_rates(10)) == 3


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        ({}, [3, 6]),
        ({"steps": 5}, [3, 5]),
        ({"check_every": 2}, [2, 4, 6]),
        ({"check_every": 4}, [4, 6]),
        ({"accumulate": 2}, [4, 6]),
        ({"accumulate": 4}, [4, 8]),
    ],
)
def test_sections_never_cut_an_update(change: dict[str, Any], ends: list[int]) -> None:
    order = Order(10, Recipe(epochs=2, batch_size=4, **change))
    assert [section.stop for section in order.sections] == ends
    assert list(itertools.chain(*order.sections)) == list(range(order.total))
    assert not any(end % order.recipe.accumulate for end in ends)


def test_images_kept_are_never_trained_on() -> None:
    order = Order(20, Recipe(epochs=2, batch_size=4, validation=0.25))
    assert len(order.kept) == 5
    seen = [set(np.concatenate([order.batch(s).indices for s in section])) for section in order.sections]
    assert seen == [set(range(20)) - set(order.kept)] * 2
    with pytest.raises(RunError, match="leave images on both sides"):
        _ = Order(3, Recipe(validation=0.01)).kept


def test_a_batch_is_shared_equally_and_in_order() -> None:
    indices = np.arange(7)
    assert [share_of(indices, rank, 3).tolist() for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]
    assert Order(17, Recipe(batch_size=6)).left_out(3) == 2
    with pytest.raises(RunError, match="shared equally by 3 processes"):
        Order(13, Recipe(batch_size=6)).left_out(3)
    with pytest.raises(RunError, match="batch_size=4"):
        Order(12, Recipe(batch_size=4)).left_out(3)


def test_sections_read_what_the_order_says_and_change_it_by_index_and_epoch() -> None:
    images = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 3), np.uint8)
    masks = images.transpose(0, 3, 1, 2)
    order = Order(10, Recipe(epochs=2, batch_size=4))
    told: list[tuple[list[int], int]] = []

    def augment(images: Any, masks: Any, indices: Any, epoch: int) -> Any:
        told.append((indices.tolist(), epoch))
        return images + 100, masks

    section = Section(Arrays(images, masks), order, order.sections[1], augment, rank=1, world=2)
    parts = [section[number] for number in range(len(section))]
    wanted = [share_of(order.batch(step).indices, 1, 2).tolist() for step in order.sections[1]]
    assert [part[0][:, 0, 0, 0].tolist() for part in parts] == [[n + 100 for n in each] for each in wanted]
    assert told == [(each, 2) for each in wanted]
    kept = Kept(Arrays(images, masks), np.array([1, 5, 6, 7, 9]), 2)
    assert [batch[1][:, 0, 0, 0].tolist() for batch in kept] == [[1, 5], [6, 7], [9]]


def test_inputs_and_targets_are_in_the_units_of_the_loss() -> None:
    images = np.array([[[[0, 51, 255]]]], np.uint8)
    np.testing.assert_array_equal(network_inputs(images, "unit", "float64"), [[[[0, 0.2, 1]]]])
    np.testing.assert_array_equal(network_inputs(images, "raw", "float32"), images.astype("float32"))
    several = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    several[0, :3] = [10, 200, 31]  # most of the first image
    contrast = network_inputs(several, "contrast", "float64")
    np.testing.assert_array_equal(contrast[0], (several[0] - np.array([10.0, 200, 31])) / 64)
    np.testing.assert_array_equal(contrast[1], network_inputs(several[1], "contrast", "float64"))
    assert not np.median(contrast[1], axis=(0, 1)).any()
    assert contrast[1].min() < 0
    even = np.array([[[0, 3]], [[9, 4]]], np.uint8)[None]  # no middle one: halfway
    np.testing.assert_array_equal(
        network_inputs(even, "contrast", "float32"), (even - np.float32([4.5, 3.5])) / np.float32(64)
    )
    masks = np.array([[[[0, 50, 50]], [[0, 0, 100]]]], np.uint8)
    np.testing.assert_array_equal(network_targets(masks, "mse", "float32"), masks.astype("float32"))
    np.testing.assert_array_equal(network_targets(masks, "bce-dice", "float32"), [[[[0, 1, 1]], [[0, 0, 1]]]])
    np.testing.assert_array_equal(network_targets(masks, "cross-entropy", "float32"), [[[0, 1, 2]]])


def run_steps(log: RunLog, order: Order, steps: range, values: dict[str, float]) -> bool:
    for step in steps:
        log(order.batch(step), float(step))
    return log.check(order.batch(steps[-1]), 0.1, values)


def test_tables_go_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    """Rows of steps that are run again are written once."""
    order = Order(12, Recipe(epochs=3, batch_size=4))
    with RunLog(tmp_path, order, Progress(), quiet=True) as log:
        assert run_steps(log, order, order.sections[0], {"val_mean_iou": 0.5, "val_loss": 1.0})
        kept = json.loads(json.dumps(log.progress.to_dict()))
        assert not run_steps(log, order, order.sections[1], {"val_mean_iou": 0.4, "val_loss": 0.5})
        log(order.batch(6), 99.0)
    with RunLog(tmp_path, order, Progress(**kept), quiet=True) as log:
        assert run_steps(log, order, order.sections[1], {"val_mean_iou": 0.6, "val_loss": 0.5})
        assert log.progress.best == 0.6
        assert not run_steps(log, order, order.sections[2], {"val_mean_iou": 0.6, "val_loss": 0.4})
        assert (log.progress.waited, log.progress.sections, log.progress.step) == (1, 3, 9)
    losses = list(csv.DictReader((tmp_path / "loss.csv").read_text().splitlines()))
    assert [(int(row["step"]), float(row["loss"])) for row in losses] == [(n + 1, float(n)) for n in range(9)]
    checks = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [(row["step"], row["val_mean_iou"]) for row in checks] == [
        ("3", "0.5"),
        ("6", "0.6"),
        ("9", "0.6"),
    ]
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) >= 1


def test_without_images_kept_the_training_loss_says_what_is_best() -> None:
    progress = Progress()
    assert [progress.check(n, {"loss": loss}) for n, loss in enumerate([3.0, 4.0, 2.0, float("nan")])] == [
        True,
        False,
        True,
        False,
    ]


def test_a_loss_must_be_finite() -> None:
    with pytest.raises(RunError, match="Lower --learning-rate"):
        finite(float("nan"), Order(4, Recipe()).batch(0))
