"""The lecture's maximum-likelihood pixel classifier: what a pixel's own values can give, as a baseline.

`python -m datasets.pixel_classifier --data FOLDER` learns it from the training images and scores it on the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.exits import exit_code
from datasets.pixel_classifier.features import FEATURES, features_of
from datasets.pixel_classifier.model import (
    KINDS,
    NONE,
    PRIORS,
    Bytes,
    Floats,
    PixelClassifier,
    label_map,
)
from datasets.purdue_shapes import Data
from datasets.scores.metrics import SegmentationMetrics, one_hot
from datasets.training.runs import load_part
from datasets.voc.folder import Voc

BATCH = 64  # images at a time
Batch: TypeAlias = tuple[Bytes, NDArray[np.bool_], NDArray[np.bool_]]
"""Images (n, H, W, 3), where each class is (n, C, H, W), the pixels that count (n, H, W)."""


def _shapes(data: Data, count: int, foreground: bool) -> Iterator[Batch]:
    for start in range(0, count, BATCH):
        images, masks = (array[start : min(start + BATCH, count)] for array in (data.images, data.masks))
        target = masks > 0
        if foreground:
            target = np.logical_or.reduce(target, axis=1, keepdims=True)
        yield images, target, np.ones(target[:, 0].shape, bool)


def _voc(data: Voc, count: int, foreground: bool) -> Iterator[Batch]:
    for index in range(count):
        image, labels = data.load(index)
        target, valid = one_hot(labels[None], len(data.classes))
        target = target[:, 1:]
        if foreground:
            target = np.logical_or.reduce(target, axis=1, keepdims=True)
        yield image[None], target, valid


class _Part:
    """One part of a data set, batch by batch, as often as it is asked for."""

    def __init__(self, path: Path, part: str, limit: int | None, foreground: bool) -> None:
        self.foreground = foreground
        self.data: Data | Voc
        if (path / "ImageSets").is_dir():
            self.data = Voc(path, {"test": "val"}.get(part, part), crop=(1, 1))
            self.classes: tuple[str, ...] = self.data.classes[1:]
        else:
            self.data = load_part(path, part)
            self.classes = self.data.classes
        self.classes = ("foreground",) if foreground else self.classes
        self.count = len(self.data) if limit is None else min(limit, len(self.data))

    def __iter__(self) -> Iterator[Batch]:
        data = self.data
        if isinstance(data, Voc):
            return _voc(data, self.count, self.foreground)
        return _shapes(data, self.count, self.foreground)


def _train(options: argparse.Namespace, part: _Part) -> PixelClassifier:
    def batches() -> Iterator[tuple[Floats, Bytes]]:
        for images, target, valid in part:
            labels = label_map(target.astype(np.uint8))
            labels[~valid] = NONE
            yield features_of(images, options.features), labels

    return PixelClassifier.fit(
        batches(),
        ("background", *part.classes),
        kind=options.kind,
        priors=options.priors,
        regularisation=options.regularisation,
    )


def _score(options: argparse.Namespace, classifier: PixelClassifier, part: _Part) -> dict[str, Any]:
    metrics = SegmentationMetrics(part.classes)
    for images, target, valid in part:
        labels = classifier.predict(features_of(images, options.features))
        predicted, _ = one_hot(labels, len(classifier.classes), None)
        metrics.update(predicted[:, 1:], target, valid)
    return metrics.result()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 when done, 2 when it could not be."""
    parser = argparse.ArgumentParser("python -m datasets.pixel_classifier", description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with one *train*.gz and one *test*.gz, or VOC2012's"
    )
    parser.add_argument("--kind", choices=KINDS, default="quadratic", help="default: %(default)s")
    parser.add_argument(
        "--features", default="colour", help=f"of {', '.join(FEATURES)}, joined by +; default: %(default)s"
    )
    parser.add_argument("--priors", choices=PRIORS, default="equal", help="default: %(default)s")
    parser.add_argument("--regularisation", type=float, default=0.0, help="default: %(default)s")
    parser.add_argument("--foreground", action="store_true", help="all classes as one, as the lecture has it")
    parser.add_argument("--train", type=_count, metavar="N", help="learn from the first N images only")
    parser.add_argument("--test", type=_count, metavar="N", help="score on the first N images only")
    return exit_code(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> None:
    """Learn, score, and print the scores."""
    train = _Part(options.data, "train", options.train, options.foreground)
    test = _Part(options.data, "test", options.test, options.foreground)
    classifier = _train(options, train)
    found = _score(options, classifier, test)
    print(
        f"{options.kind}, {options.features}, {options.priors} priors; {train.count:,} and {test.count:,} images"
    )
    print(f"{'class':14} {'IoU':>7} {'Dice':>7} {'boundary IoU':>13}")
    keys = ("iou", "dice", "boundary_iou")
    rows = {name: [found[f"{key}_per_class"][name] for key in keys] for name in test.classes}
    for name, values in {**rows, "mean": [found[f"mean_{key}"] for key in keys]}.items():
        cells = ["-" if value is None else f"{value:.4f}" for value in values]
        print(f"{name:14} {cells[0]:>7} {cells[1]:>7} {cells[2]:>13}")
    print(f"pixel accuracy {found['pixel_accuracy']:.4f}, {found['pixels']:,} pixels")


def _count(text: str) -> int:
    """Read an integer of 1 or more."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"must be 1 or more; got {text}")
    return int(text)
