"""What reading, training and prediction share: the check of data, files that are whole, late imports."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.recipe import RunError


def check_pairs(images: NDArray[np.uint8], masks: NDArray[np.uint8]) -> None:
    """Refuse images and masks that do not belong together.

    Shapes: images (N, H, W, 3); masks (N, C, H, W).
    Raises:
        RunError: no image, or shapes that do not fit.
    """
    if not (
        len(images) == len(masks) > 0
        and (images.ndim, masks.ndim, images.shape[-1]) == (4, 4, 3)
        and images.shape[1:3] == masks.shape[2:4]
    ):
        raise RunError(
            "images must be (N, H, W, 3) and masks (N, C, H, W) with N > 0; got "
            f"images.shape={images.shape}, masks.shape={masks.shape}. Check the data."
        )


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; the file takes the place of `path` only once it is whole."""
    partial = path.with_name("partial-" + path.name)  # the suffix stays: Keras tells formats apart by it
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def extra(name: str, of: str = "train") -> Any:
    """A module of the [train] extra, or of another one, imported when it is first needed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise RunError(f"{name} must be installed; got: {error}. pip install 'segparity[{of}]'.") from error
