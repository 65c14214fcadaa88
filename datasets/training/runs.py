"""One run's folder, the same in both halves: its configuration, and the data that it is made on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError, SettingsError
from datasets.files import read_json, replacing
from datasets.purdue_shapes import Data, load


def load_part(path: Path, part: str) -> Data:
    """The data of a file, or of the one file in a folder whose name contains the part, train or test."""
    if path.is_dir():
        found = sorted(path.glob(f"*{part}*.gz"))
        if len(found) != 1:
            names = [file.name for file in found]
            raise DataError(
                f"a folder must hold one *{part}*.gz; got {names} in {path}. Give the file itself."
            )
        path = found[0]
    try:
        data = load(path)
    except OSError as error:
        raise DataError(f"--data must be a file that can be read; got {error}. Check the path.") from error
    check_pairs(data.images, data.masks)
    return data


LARGEST = 16 * 2**20
"""Bytes of the largest config.json."""
CIRCUMSTANCES = ("device", "machine", "versions")
"""What may change where a run goes on."""


def read_config(path: Path) -> dict[str, Any]:
    """A run's config.json.

    Args:
        path: of the file, at most 16 MiB.
    Raises:
        DataError: no such file, one that is too large, or something else in it.
    """
    try:
        config = read_json(path, LARGEST)
        model = config["model"]
        return {
            **config,
            "model": {"name": str(model["name"]), "arguments": dict(model["arguments"])},
            "dtype": str(config["dtype"]),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"a run's folder must hold its config.json; got {type(error).__name__}: {ascii(error)[:200]} at {path}. "
            "Give a folder that the training script wrote."
        ) from error


def claim(folder: Path, config: dict[str, Any]) -> None:
    """Write config.json, unless another run's is there."""
    path = folder / "config.json"
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        there = read_config(path)
        fixed = [key for key in config if key not in CIRCUMSTANCES]
        differ = {key: (there.get(key), config[key]) for key in fixed if there.get(key) != config[key]}
        if differ:
            key, (old, new) = next(iter(differ.items()))
            raise SettingsError(
                f"--out must be a new folder or one of the same run; got {key}={new}, but {old} in {path}. "
                "Choose another folder."
            )
    write_json(path, config)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write one JSON file; it is complete or it does not appear."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")


def check_pairs(images: NDArray[np.uint8], masks: NDArray[np.uint8]) -> None:
    """Refuse images and masks that do not belong together.

    Shapes: images (N, H, W, 3); masks (N, C, H, W).
    Raises:
        DataError: no image, or shapes that do not fit.
    """
    if not (
        len(images) == len(masks) > 0
        and (images.ndim, masks.ndim, images.shape[-1]) == (4, 4, 3)
        and images.shape[1:3] == masks.shape[2:4]
    ):
        raise DataError(
            "images must be (N, H, W, 3) and masks (N, C, H, W) with N > 0; got "
            f"images.shape={images.shape}, masks.shape={masks.shape}. Check the data."
        )
