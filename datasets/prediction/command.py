"""Prediction on pictures and data sets, the same in both packages: flags, what is read, what is written."""

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
from datasets.training.networks import NETWORKS
from datasets.training.runs import read_config, write_json
from datasets.voc.folder import Voc

FIGURE = 4  # images in it, unless told otherwise


def prediction_flags(package: str) -> argparse.ArgumentParser:
    """The flags of `python -m tf_impl.predict` and `python -m torch_impl.predict`."""
    parser = argparse.ArgumentParser(
        f"python -m {package}.predict",
        description="Segment pictures with a trained network; on a data set, measure how well.",
    )
    run = parser.add_argument_group("the run")
    run.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        help="weights of either framework (.pt .pth .safetensors .weights.h5 .keras)",
    )
    run.add_argument("--config", type=Path, help="default: config.json beside the checkpoint")
    run.add_argument(
        "--data",
        type=Path,
        required=True,
        help="a picture, a folder of pictures, a data-set file, a folder with one *test*.gz, or one in VOC's layout",
    )
    run.add_argument("--out", type=Path, required=True, help="folder for what is written")
    run.add_argument("--limit", type=int, help="only the first so many images")
    run.add_argument("--batch-size", type=int, default=4, help="images at a time; default: %(default)s")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    found = parser.add_argument_group("what counts as found")
    found.add_argument(
        "--threshold", type=float, help="least score of a class, 0..1; default: 0.5, or the greatest class"
    )
    found.add_argument("--classes", nargs="+", metavar="NAME", help="write these classes alone")
    found.add_argument(
        "--min-area", type=int, default=1, help="least pixels of a part with a box; default: %(default)s"
    )
    written = parser.add_argument_group("what is written")
    for name in ("masks", "overlays"):
        written.add_argument(
            f"--{name}", action=argparse.BooleanOptionalAction, default=True, help="default: yes"
        )
    written.add_argument("--count", type=int, help=f"images in the figure; default: {FIGURE}")
    model = parser.add_argument_group("mUnet, where the configuration says otherwise")
    model.add_argument("--depth", type=int, help="the lecture's depth")
    model.add_argument("--head", choices=("dlstudio", "dense"), help="dense reaches every pixel")
    model.add_argument("--schedule", choices=("released", "printed", "intended"), help="order of the blocks")
    model.add_argument("--skip-connections", action=argparse.BooleanOptionalAction, help="inside the blocks")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--dtype", choices=("float32", "float64"), help="of computation")
    machine.add_argument("--device", choices=("cpu", "gpu"), help="default: a GPU where there is one")
    return parser


def configuration(options: argparse.Namespace) -> dict[str, Any]:
    """The run's configuration, with the flags given now in place of its own.

    Returns: what config.json holds; "model" with "name" and "arguments", "dtype" float32 or float64, and
        "multiple", of which the network wants height and width.
    Raises:
        DataError, SettingsError: no configuration beside the checkpoint, or none that can be read.
    """
    config = read_config(options.config or options.checkpoint.with_name("config.json"))
    model = config["model"]
    if "arguments" not in model:  # of a run from before networks had names
        model = {"name": "mUnet", "arguments": model}
    flags = ("skip_connections", "depth", "head", "schedule")
    given = {name: getattr(options, name) for name in flags if getattr(options, name) is not None}
    if model["name"] not in NETWORKS or (given and model["name"] != "mUnet"):
        raise SettingsError(
            f"model must be one of {', '.join(NETWORKS)}, and {', '.join(flags)} are mUnet's; "
            f"got model={model['name']}, {given}. Leave them out."
        )
    dtype = options.dtype or config["dtype"]
    return {
        **config,
        "model": {**model, "arguments": {**model["arguments"], **given}},
        "dtype": "float32" if dtype == "bfloat16" else dtype,  # whose weights are float32
        "multiple": NETWORKS[model["name"]].multiple,
    }


def check_options(options: argparse.Namespace, reading: Reading) -> None:
    """Refuse flags that nothing can be made of, before the network is built.

    Raises:
        SettingsError: a value out of range, or a class that the network does not know.
    """
    for name in ("batch_size", "min_area", "limit", "count"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise SettingsError(f"{name} must be at least 1; got {name}={value}. Give a larger one.")
    if options.threshold is not None and not 0 < options.threshold < 1:
        raise SettingsError(f"threshold must be between 0 and 1; got threshold={options.threshold}. Try 0.5.")
    unknown = sorted(set(options.classes or ()) - set(reading.classes))
    if unknown:
        raise SettingsError(
            f"classes must be some of {', '.join(reading.classes)}; got {', '.join(unknown)}. Check the spelling."
        )


def write_predictions(
    options: argparse.Namespace, data: Source, reading: Reading, network: Network, multiple: int
) -> None:
    """Predict on all the data and write what was found.

    Args:
        options: from prediction_flags.
        data: from read_data.
        reading: how the network's outputs are understood.
        network: gives outputs for raw images.
        multiple: of which the network wants height and width.
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
        print(f"mean IoU: {_told(result['mean_iou'])} on {total} images")
    else:
        print(f"{total} images: {options.out / 'predictions.json'}")


def _figure(wanted: int | None, total: int) -> int:
    """Images in the figure."""
    if wanted is not None and wanted > total:
        raise SettingsError(f"count must be in 1..{total}; got count={wanted}. Give another one.")
    return min(total, FIGURE) if wanted is None else wanted


def _write_lines(path: Path, head: dict[str, Any], images: list[dict[str, Any]]) -> None:
    """One JSON file with one line an image, so that it can be read by eye and line by line."""
    start = json.dumps(head, indent=2).removesuffix("\n}")
    lines = ",\n".join("    " + json.dumps(image) for image in images)
    with replacing(path) as partial:
        partial.write_text(f'{start},\n  "images": [\n{lines}\n  ]\n}}\n', encoding="utf-8")


def _scored(data: Source, reading: Reading) -> tuple[str, ...]:
    """The classes that are scored: the network's; where labels exclude each other the background's too, as in training.

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


def _told(score: float | None) -> str:
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
    iou = _told(result["mean_iou"])
    print(f"mean IoU: {iou}")
    drawn = slice(len(shown))
    rows = seven_rows(data.images[drawn], np.stack([shown[key] for key in sorted(shown)]), data.boxes[drawn])
    save_figure(options.out / "predictions.png", rows, f"MSE {result['mse']:.1f}, mean IoU {iou}")
