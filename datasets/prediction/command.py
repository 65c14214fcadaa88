"""Prediction on pictures and data sets, the same in both halves: flags, configuration, and one run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from datasets.claims import claimed
from datasets.errors import SettingsError
from datasets.prediction.reading import Network, Reading
from datasets.prediction.sources import read_data
from datasets.prediction.writing import FIGURE, write_predictions
from datasets.training.flags import DTYPES
from datasets.training.networks import NETWORKS
from datasets.training.runs import read_config

Opened = Callable[[argparse.Namespace, dict[str, Any], Reading], AbstractContextManager[Network]]
"""Of the command line, the configuration and the reading: a context with the network and its checkpoint's weights."""


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
    run.add_argument("--config", type=Path, help="default: config.json next to the checkpoint")
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
    """The run's configuration; flags that are given now replace its entries.

    Returns: what config.json holds; "model" with "name" and "arguments", "dtype" float32 or float64, and
        "multiple", which height and width must be multiples of.
    Raises:
        DataError, SettingsError: no configuration next to the checkpoint, or one that cannot be read.
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
    if dtype not in DTYPES:
        raise SettingsError(
            f"dtype must be one of {', '.join(DTYPES)}; got {ascii(dtype)[:80]}. Give --dtype."
        )
    return {
        **config,
        "model": {**model, "arguments": {**model["arguments"], **given}},
        "dtype": "float32" if dtype == "bfloat16" else dtype,  # whose weights are float32
        "multiple": NETWORKS[model["name"]].multiple,
    }


def check_options(options: argparse.Namespace, reading: Reading) -> None:
    """Refuse flags without a meaning before the network is built.

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


def run(options: argparse.Namespace, opened: Opened) -> None:
    """Carry out one command line of a half's prediction script.

    Args:
        options: from prediction_flags.
        opened: the half's own: builds the network, reads the checkpoint, and gives its outputs for raw images.
    Raises:
        RunError: settings, data or a checkpoint that do not fit, or a missing package.
    """
    config = configuration(options)
    reading = Reading.of(config)
    check_options(options, reading)
    data = read_data(options.data)
    with claimed(options.out), opened(options, config, reading) as network:
        write_predictions(options, data, reading, network, config["multiple"])
