"""One run's command line and folder, the same in both packages: flags, config.json, loss.csv, train.log."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from datasets.purdue_shapes import Data, DatasetError, load
from datasets.segmentation import (
    Batch,
    Predict,
    Recipe,
    RunError,
    check_pairs,
    evaluate,
    extra,
    replacing,
    save_figure,
    seven_rows,
)

MODEL_DEFAULTS = {"skip_connections": True, "depth": 16, "head": "dlstudio", "schedule": "released"}


def training_flags(package: str) -> argparse.ArgumentParser:
    """The flags of `python -m tf_impl.train` and `python -m torch_impl.train`."""
    parser = argparse.ArgumentParser(
        f"python -m {package}.train", description="Train mUnet as the lecture does."
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="training file, or a folder with one *train*.gz"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoint, config, losses and log"
    )
    for field in fields(Recipe):
        kind = float if isinstance(field.default, float) else int
        flag = "--" + field.name.replace("_", "-")
        parser.add_argument(flag, type=kind, default=field.default, help="default: %(default)s")
    parser.add_argument("--init", type=Path, help="checkpoint to start from")
    parser.add_argument(
        "--log-every", type=int, default=1000, help="batches per loss line; default: %(default)s"
    )
    _model_flags(parser)
    parser.set_defaults(dtype="float32", **MODEL_DEFAULTS)
    return parser


def prediction_flags(package: str) -> argparse.ArgumentParser:
    """The flags of `python -m tf_impl.predict` and `python -m torch_impl.predict`."""
    parser = argparse.ArgumentParser(f"python -m {package}.predict", description="Test a trained mUnet.")
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="a checkpoint with config.json beside it"
    )
    parser.add_argument("--data", type=Path, required=True, help="test file, or a folder with one *test*.gz")
    parser.add_argument("--out", type=Path, required=True, help="folder for predictions.png and metrics.json")
    parser.add_argument("--count", type=int, default=4, help="images in the figure; default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=4, help="images at a time; default: %(default)s")
    _model_flags(parser)
    return parser


def _model_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--depth", type=int, help="the lecture's depth")
    parser.add_argument("--head", choices=("dlstudio", "dense"), help="dense reaches every pixel")
    parser.add_argument("--schedule", choices=("released", "printed", "intended"), help="order of the blocks")
    parser.add_argument("--skip-connections", action=argparse.BooleanOptionalAction, help="inside the blocks")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="of weights, inputs and loss")
    parser.add_argument("--device", choices=("cpu", "gpu"), help="default: a GPU where there is one")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def exit_code(command: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    """Run a command; an error of the data or of the run is one line on stderr and exit code 2."""
    try:
        command(options)
    except (DatasetError, RunError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


def load_part(path: Path, part: str) -> Data:
    """The data of a file, or of the one file in a folder whose name has the part, train or test, in it."""
    if path.is_dir():
        found = sorted(path.glob(f"*{part}*.gz"))
        if len(found) != 1:
            names = [file.name for file in found]
            raise RunError(
                f"a folder must hold one *{part}*.gz; got {names} in {path}. Give the file itself."
            )
        path = found[0]
    try:
        data = load(path)
    except OSError as error:
        raise RunError(f"--data must be a file that can be read; got {error}. Check the path.") from error
    check_pairs(data.images, data.masks)
    return data


def training_config(
    package: str, options: argparse.Namespace, data: Data, device: str, **versions: str
) -> dict[str, Any]:
    """Everything that fixes a run, and under "device" and "versions" what it happens to run on."""
    model = {name: getattr(options, name) for name in MODEL_DEFAULTS}
    return {
        "package": package,
        "model": {**model, "num_classes": data.masks.shape[1]},
        "recipe": asdict(Recipe.from_options(options)),
        "dtype": options.dtype,
        "data": {"path": str(options.data), "images": len(data.images)},
        "init": options.init and str(options.init),
        "device": device,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, **versions},
    }


def read_config(path: Path) -> dict[str, Any]:
    """A run's config.json."""
    try:
        config = json.loads(path.read_text())
        return {**config, "model": dict(config["model"]), "dtype": str(config["dtype"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"a run's folder must hold its config.json; got {type(error).__name__} at {path}. "
            "Give a folder that the training script wrote."
        ) from error


def prediction_config(options: argparse.Namespace) -> dict[str, Any]:
    """The configuration beside a checkpoint, with the model's flags given now in place of its own."""
    config = read_config(options.checkpoint.with_name("config.json"))
    given = {name: getattr(options, name) for name in MODEL_DEFAULTS if getattr(options, name) is not None}
    return {**config, "model": {**config["model"], **given}, "dtype": options.dtype or config["dtype"]}


class RunLog:
    """Writes one run's config.json, loss.csv and train.log, prints the lecture's loss lines, shows progress.

    Args:
        folder: where the files go; made if missing.
        config: the run's configuration, from training_config.
        log_every: batches per loss line; an epoch shorter than that gets one line at its end.
        quiet: show no progress bar; there is none either when stderr is no terminal.
    Raises:
        RunError: the folder holds a run of another configuration.
    Source: lecture, "Training mUnet with MSE Loss".
    """

    def __init__(
        self, folder: Path, config: dict[str, Any], log_every: int = 1000, quiet: bool = False
    ) -> None:
        recipe, count = Recipe(**config["recipe"]), config["data"]["images"]
        total = recipe.total_steps(count)
        if log_every < 1:
            raise RunError(f"log_every must be at least 1; got log_every={log_every}. Try 1000.")
        self.log_every = min(log_every, recipe.steps_per_epoch(count), total)
        _claim(folder, config)
        self._files = contextlib.ExitStack()
        self._csv = self._files.enter_context(open(folder / "loss.csv", "w", newline="", buffering=1))  # noqa: SIM115
        self._log = self._files.enter_context(open(folder / "train.log", "w", buffering=1))  # noqa: SIM115
        self._rows = csv.writer(self._csv)
        self._rows.writerow(["step", "epoch", "loss"])
        self._window: list[float] = []
        disable = True if quiet else None  # None: tqdm's "only on a terminal"
        self._bar = self._files.enter_context(extra("tqdm").tqdm(total=total, unit="step", disable=disable))

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self._files.close()

    def __call__(self, batch: Batch, loss: float) -> None:
        """Record one step's loss; every log_every batches print their mean."""
        if batch.number == 1:
            self._window.clear()
        self._window.append(loss)
        self._rows.writerow([batch.step, batch.epoch, repr(loss)])
        self._bar.set_postfix_str(f"loss {loss:.1f}", refresh=False)
        self._bar.update()
        if batch.number % self.log_every == 0:
            line = f"[epoch:{batch.epoch},batch:{batch.number:5d}] MSE loss: {np.mean(self._window):.3f}"
            self._bar.write(line, file=sys.stdout)
            self._log.write(line + "\n")
            self._window.clear()


def _claim(folder: Path, config: dict[str, Any]) -> None:
    """Write config.json, unless another run's is there."""
    path = folder / "config.json"
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        there = read_config(path)
        fixed = [key for key in config if key not in ("device", "versions")]
        differ = {key: (there.get(key), config[key]) for key in fixed if there.get(key) != config[key]}
        if differ:
            key, (old, new) = next(iter(differ.items()))
            raise RunError(
                f"--out must be a new folder or one of the same run; got {key}={new}, but {old} in {path}. "
                "Choose another folder."
            )
    write_json(path, config)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write one JSON file, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")


def write_results(options: argparse.Namespace, data: Data, predict: Predict) -> None:
    """Test a network on all the data: print its error, write metrics.json and the figure of the first images.

    Args:
        options: from prediction_flags.
        data: the test data.
        predict: gives the network's raw outputs (n, C, H, W) for raw images (n, H, W, 3).
    Raises:
        RunError: more images wanted in the figure than there are.
    """
    if not 1 <= options.count <= len(data.images):
        raise RunError(
            f"count must be in 1..{len(data.images)}; got count={options.count}. Give another one."
        )
    metrics = evaluate(predict, data.images, data.masks, options.batch_size, options.quiet)
    constant = metrics["mse_of_best_constant"]
    print(f"MSE: {metrics['mse']:.3f} on {metrics['images']} images; best constant: {constant:.3f}")
    options.out.mkdir(parents=True, exist_ok=True)
    sources = {"checkpoint": str(options.checkpoint), "data": str(options.data)}
    write_json(options.out / "metrics.json", {**metrics, **sources})
    shown = slice(options.count)
    rows = seven_rows(data.images[shown], predict(data.images[shown]), data.boxes[shown])
    save_figure(options.out / "predictions.png", rows, f"MSE {metrics['mse']:.1f}")
