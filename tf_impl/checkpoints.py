"""What a run leaves: its weights, the best of them, and everything that it needs to go on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from datasets.errors import RunError
from datasets.files import replacing
from datasets.training.runlog import Progress

CHECKPOINT = "model.weights.h5"
"""The weights at the last check, averaged where the recipe averages them."""
BEST = "best.weights.h5"
"""Those of the best check on the images kept."""
STATE = "last.weights.h5"
"""Weights, optimizer, schedule, average, random numbers and place in the run."""


def save_weights(model: keras.Model, path: Path) -> None:
    """Write the weights and nothing else, whole or not at all."""
    with replacing(path) as partial:
        model.save_weights(partial)


def read_progress(folder: Path) -> Progress | None:
    """How far the run in a folder has come; None where there is no checkpoint."""
    path = folder / STATE
    if not path.exists():
        return None
    with h5py.File(path) as file:
        return Progress(**json.loads(file.attrs["progress"]))


def load_weights(model: keras.Model, path: Path) -> None:
    """Read a checkpoint into a network that it fits exactly.

    Raises:
        RunError: no checkpoint, or one whose tensors differ from the network's in shape, number or precision.
    """
    try:
        stored = _stored(path)
    except OSError as error:
        raise RunError(
            f"a checkpoint must be a .weights.h5 file; got {path}: {error}. Check the path."
        ) from error
    own = Counter(tuple(weight.shape) for weight in model.weights)
    shapes = Counter(shape for shape, _ in stored)
    wrong = [f"{shape} missing" for shape in (own - shapes).elements()]
    # Keras itself would skip, without a word, what the file holds beyond the network's weights.
    wrong += [f"{shape} left over" for shape in (shapes - own).elements()]
    # Widening float32 to float64 is exact; narrowing would round the weights, again without a word.
    wrong += [str(dtype) for _, dtype in stored if not np.can_cast(dtype, model.variable_dtype)]
    if wrong:
        raise RunError(
            f"a checkpoint must fit the model's arguments; got {len(wrong)} tensors that do not in {path}, "
            f"the first {wrong[0]}. Give the --depth, --head and --dtype that it was trained with."
        )
    model.load_weights(path)


def _stored(path: Path) -> list[tuple[tuple[int, ...], Any]]:
    """Shape and dtype of every weight in a file, without an optimizer's variables."""
    found: list[tuple[tuple[int, ...], Any]] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and not name.startswith("optimizer/"):
            found.append((node.shape, node.dtype))

    with h5py.File(path) as file:
        file.visititems(visit)
    return found
