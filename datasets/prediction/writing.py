"""Predicting on all the data, and writing what is found: class ids, overlays, scores and the lecture's figure."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError, SettingsError
from datasets.files import extra, replacing
from datasets.prediction.figure import save_figure, seven_rows
from datasets.prediction.pictures import FORMAT, class_ids, described, overlay, save_ids, save_picture
from datasets.prediction.reading import Network, Reading, padded
from datasets.prediction.sources import Picture, Source, batches_of_one_size, pictures_of
from datasets.purdue_shapes import Data, constant_mse
from datasets.scores.decisions import Masks
from datasets.scores.metrics import SegmentationMetrics, one_hot
from datasets.training.runs import write_json
from datasets.voc.folder import Voc

FIGURE = 4  # images in the figure, where the command line does not say


def write_predictions(
    options: argparse.Namespace, data: Source, reading: Reading, network: Network, multiple: int
) -> None:
    """Predict on all the data and write what was found.

    Args:
        options: from prediction_flags.
        data: from read_data.
        reading: how the network's outputs are understood.
        network: gives outputs for raw images.
        multiple: the network needs heights and widths that are multiples of this.
    Raises:
        DataError: outputs that do not fit the classes, a picture that cannot be read.
    """
    total = min(len(data), options.limit or len(data))
    figure = _figure(options.count, total) if isinstance(data, Data) else 0
    chosen = np.array([options.classes is None or name in options.classes for name in reading.classes])
    metrics = SegmentationMetrics(_scored(data, reading), min_area=options.min_area)
    entries: dict[int, dict[str, Any]] = {}
    shown: dict[int, NDArray[np.floating]] = {}
    options.out.mkdir(parents=True, exist_ok=True)
    with extra("tqdm").tqdm(total=total, unit="image", disable=True if options.quiet else None) as bar:
        for batch in batches_of_one_size(pictures_of(data, options.limit), options.batch_size):
            outputs = padded(network, np.stack([picture.image for picture in batch]), multiple)
            masks, scores, raw = reading.masks(outputs, options.threshold)
            indices = [picture.index for picture in batch]
            if isinstance(data, Data):
                _measure(metrics, data, indices, masks, raw)
            elif isinstance(data, Voc):
                _measure_labels(metrics, data, indices, masks)
            masks = masks & chosen[:, None, None]
            for picture, mask, score, values in zip(batch, masks, scores, raw, strict=True):
                entries[picture.index] = _write_one(options, picture, mask, score, reading.classes)
                if picture.index < figure:
                    shown[picture.index] = values
            bar.update(len(batch))
    sources = {"checkpoint": str(options.checkpoint), "data": str(options.data)}
    found = {"format": FORMAT, "classes": list(reading.classes), **sources}
    _write_lines(options.out / "predictions.json", found, [entries[key] for key in sorted(entries)])
    if isinstance(data, Data):
        _write_scores(options, data, metrics, sources, shown)
    elif isinstance(data, Voc):
        result = metrics.result()
        write_json(options.out / "metrics.json", {"images": total, **result, **sources})
        print(f"mean IoU: {_shown(result['mean_iou'])} on {total} images")
    else:
        print(f"{total} images: {options.out / 'predictions.json'}")


def _figure(wanted: int | None, total: int) -> int:
    """Images in the figure."""
    if wanted is not None and wanted > total:
        raise SettingsError(f"count must be in 1..{total}; got count={wanted}. Give another one.")
    return min(total, FIGURE) if wanted is None else wanted


def _write_lines(path: Path, head: dict[str, Any], images: list[dict[str, Any]]) -> None:
    """One JSON file with a line for each image, so that people and programs can read it line by line."""
    start = json.dumps(head, indent=2).removesuffix("\n}")
    lines = ",\n".join("    " + json.dumps(image) for image in images)
    with replacing(path) as partial:
        partial.write_text(f'{start},\n  "images": [\n{lines}\n  ]\n}}\n', encoding="utf-8")


def _scored(data: Source, reading: Reading) -> tuple[str, ...]:
    """The classes to score: the network's, and the background where labels exclude each other, as in training.

    Raises:
        DataError: a folder with other classes than the network's.
    """
    if not isinstance(data, Voc):
        return reading.classes
    if data.classes[1:] != reading.classes:
        raise DataError(
            f"the data must have the network's classes, {', '.join(reading.classes)}; got "
            f"{', '.join(data.classes[1:])} in {data.root}. Give the data that it was trained for, or its JPEGImages."
        )
    return "background", *reading.classes


def _measure_labels(metrics: SegmentationMetrics, data: Voc, indices: list[int], masks: Masks) -> None:
    """Score masks (n, C, H, W) by class indices; where no class is predicted, the background is."""
    labels = np.stack([data.load(index)[1] for index in indices])
    target, valid = one_hot(labels, len(data.classes))
    metrics.update(np.concatenate([~masks.any(axis=1, keepdims=True), masks], axis=1), target, valid)


def _shown(score: float | None) -> str:
    return "none" if score is None else f"{score:.4f}"


def _measure(
    metrics: SegmentationMetrics, data: Data, indices: list[int], masks: Masks, raw: NDArray[np.floating]
) -> None:
    targets = data.masks[indices]
    if targets.shape[1] != masks.shape[1]:
        raise DataError(
            f"the data must have the network's classes; got {targets.shape[1]} masks an image, "
            f"{masks.shape[1]} outputs. Give the data that it was trained for."
        )
    boxes = [data.boxes[index] for index in indices]
    metrics.update(masks, targets > 0, outputs=raw, targets=targets, boxes=boxes)


def _write_one(
    options: argparse.Namespace,
    picture: Picture,
    mask: Masks,
    score: NDArray[np.floating],
    classes: tuple[str, ...],
) -> dict[str, Any]:
    """One image's class ids and overlay; returns its entry in predictions.json."""
    entry: dict[str, Any] = {"index": picture.index, **({"file": picture.source} if picture.source else {})}
    for name, wanted in {"masks": options.masks, "overlays": options.overlays}.items():
        if wanted:
            (options.out / name).mkdir(exist_ok=True)
            entry[{"masks": "ids", "overlays": "overlay"}[name]] = f"{name}/{picture.name}.png"
    if options.masks:
        save_ids(options.out / entry["ids"], class_ids(mask, score))
    if options.overlays:
        save_picture(options.out / entry["overlay"], overlay(picture.image, mask, classes))
    return {**entry, **described(mask, score, classes, options.min_area)}


def _write_scores(
    options: argparse.Namespace,
    data: Data,
    metrics: SegmentationMetrics,
    sources: dict[str, str],
    shown: dict[int, NDArray[np.floating]],
) -> None:
    """metrics.json, the lecture's figure of the first images, and a line on the terminal."""
    count = min(len(data), options.limit or len(data))
    result = metrics.result()
    constant = constant_mse(data.masks[:count])
    first = {"images": count, "mse": result["mse"], "mse_of_best_constant": constant}
    write_json(options.out / "metrics.json", {**first, **result, **sources})
    print(f"MSE: {result['mse']:.3f} on {count} images; best constant: {constant:.3f}")
    iou = _shown(result["mean_iou"])
    print(f"mean IoU: {iou}")
    drawn = slice(len(shown))
    rows = seven_rows(data.images[drawn], np.stack([shown[key] for key in sorted(shown)]), data.boxes[drawn])
    save_figure(options.out / "predictions.png", rows, f"MSE {result['mse']:.1f}, mean IoU {iou}")
