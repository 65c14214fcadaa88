"""Networks written for other runtimes, the same in both halves: flags, inputs to try, whole files, and one run."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.claims import claimed
from datasets.errors import DataError, SettingsError
from datasets.export.agreement import Agreement, Floats
from datasets.prediction.command import configuration
from datasets.prediction.reading import Reading
from datasets.purdue_shapes import generate

STEP = (16, 48)
"""Rows and columns that the second input has more than the first: all networks' sizes allow them."""


def check_samples(samples: Sequence[Floats], fixed: bool) -> None:
    """Refuse inputs that a network cannot be exported with.

    Shapes: each (N, H, W, C).
    Raises:
        DataError: none, one image alone in the first, or several sizes for a file of one size.
    """
    shapes = [sample.shape for sample in samples]
    if not shapes or any(len(shape) != 4 for shape in shapes) or shapes[0][0] < 2:
        raise DataError(
            f"samples must be images (N, H, W, C), the first of at least two; got shapes={shapes}. Give more."
        )
    if any(sample.dtype != np.float32 for sample in samples):
        raise DataError(
            f"samples must be float32; got {[str(each.dtype) for each in samples]}. Convert them first."
        )
    if fixed and len({shape[1:3] for shape in shapes}) > 1:
        raise DataError(
            f"samples must have one size for a file of one size; got shapes={shapes}. Leave fixed out."
        )


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write a file or a folder to. It replaces `path` when the block ends without an error.

    Raises:
        SettingsError: `path` is a folder that holds something other than an earlier SavedModel.
    """
    if path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").exists():
        raise SettingsError(
            f"--out must be new, or hold an earlier export; got the folder {path}. Choose another."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, before = (path.with_name(prefix + path.name) for prefix in ("partial-", "before-"))
    _remove(partial)
    try:
        yield partial
        if path.is_dir():
            os.replace(path, before)
        os.replace(partial, path)
    finally:
        _remove(partial)
        if before.exists() and not path.exists():
            os.replace(before, path)
        _remove(before)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason")


def export_flags(package: str, formats: Sequence[str]) -> argparse.ArgumentParser:
    """The flags of `python -m tf_impl.export` and `python -m torch_impl.export`."""
    parser = argparse.ArgumentParser(
        f"python -m {package}.export",
        description="Write a trained network for another runtime, run what was written there, and compare.",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        help="weights of either framework (.pt .pth .safetensors .weights.h5 .keras)",
    )
    parser.add_argument("--config", type=Path, help="default: config.json next to the checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="file or folder to write")
    parser.add_argument("--format", choices=tuple(formats), default=formats[0], help="default: %(default)s")
    parser.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="pixels to try it with; default: 64x96, or 188x236 for U-Net",
    )
    parser.add_argument(
        "--fixed", action="store_true", help="for images of that size alone; default: any size"
    )
    # What datasets.prediction.command.configuration needs in addition.
    parser.set_defaults(dtype="float32", depth=None, head=None, schedule=None, skip_connections=None)
    return parser


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.lower().split("x"))
        if min(height, width) < 32:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"a size is HxW with at least 32 pixels each way, as 64x96; got {text!r}"
        ) from None
    return height, width


def sample_images(config: dict[str, Any], size: tuple[int, int] | None, fixed: bool) -> list[Floats]:
    """Two generated images, and one of another size, as the run's network takes them.

    Shapes: returns (2, H, W, 3) and (1, H + 16, W + 48, 3), or the second of the first's size with `fixed`.
    """
    arguments = config["model"]["arguments"]
    valid = config["model"]["name"] == "UNet" and not arguments.get("padded", False)
    size = size or ((188, 236) if valid else (64, 96))
    other = size if fixed else (size[0] + STEP[0], size[1] + STEP[1])
    reading = Reading.of(config)
    return [
        np.asarray(reading.scaled(generate(count, seed, each).images, "float32"))
        for count, seed, each in ((2, 0, size), (1, 1, other))
    ]


def said(path: Path, config: dict[str, Any], found: Sequence[Agreement], fixed: bool) -> Iterator[str]:
    """What the script prints of an export."""
    for one in found:
        yield str(one)
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    reading = Reading.of(config)
    sizes = "{}x{} pixels".format(*found[0].shape[1:3]) if fixed else "images of any size"
    yield (
        f"{path}: {sum(each.stat().st_size for each in files) / 1e6:.1f} MB, any batch, {sizes}; "
        f"inputs: {reading.inputs}, outputs: {reading.activation}"
    )


def run(
    options: argparse.Namespace,
    opened: Callable[[Path, dict[str, Any]], Any],
    export: Callable[..., list[Agreement]],
) -> None:
    """Carry out one command line of a half's export script.

    Args:
        options: from `export_flags`.
        opened: the half's own: builds the network of a configuration, and reads a checkpoint into it.
        export: the half's own.
    Raises:
        RunError: a checkpoint that does not fit, what the format cannot express, or outputs that differ.
    """
    config = configuration(options)
    model = opened(options.checkpoint, config)
    samples = sample_images(config, options.size, options.fixed)
    with claimed(options.out, folder=False):
        found = export(model, options.out, samples, options.format, options.fixed)
    print(*said(options.out, config, found, options.fixed), sep="\n")
