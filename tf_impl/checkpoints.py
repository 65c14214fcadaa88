"""What a run leaves: the last weights, the best ones, and everything that it needs to go on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from datasets.bounds.hdf5 import check_hdf5
from datasets.errors import DataError
from datasets.files import replacing
from datasets.training.checkpoints import Reader, check_backbone
from datasets.training.runlog import Progress
from tf_impl._seal import check_seal, seal, tensors

CHECKPOINT = "model.weights.h5"
"""The weights at the last check, averaged where the recipe averages them."""
BEST = "best.weights.h5"
"""Those of the best check on the images kept."""
STATE = "last.weights.h5"
"""Weights, optimizer, schedule, average, random numbers and place in the run."""


def save_weights(model: keras.Model, path: Path) -> None:
    """Write the weights and nothing else; the file is complete or it does not appear."""
    with replacing(path) as partial:
        model.save_weights(partial)
        with h5py.File(partial, "a") as file:
            seal(file)


def read_progress(folder: Path) -> Progress | None:
    """How far the run in a folder has come; None where there is no checkpoint.

    Raises:
        DataError: a checkpoint that is cut short, altered, or none of a run.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        check_hdf5(path)
        with h5py.File(path) as file:
            check_seal(file)
            values = json.loads(file.attrs["progress"])
    except Exception as error:  # h5py raises anything on a damaged file
        raise DataError(
            f"a run's checkpoint must be whole; got {type(error).__name__}: {str(error).partition(chr(10))[0][:200]} "
            f"at {path}. Take it away to begin anew."
        ) from error
    return Progress.from_dict(values, path)


def load_weights(model: keras.Model, path: Path) -> None:
    """Read a checkpoint of Keras', .weights.h5 or .keras, into a network that it fits exactly.

    Raises:
        DataError: no checkpoint, or one whose tensors differ from the network's in shape, number or precision.
    """
    if path.suffix == ".keras":
        READER.read_by_parity(model, path)
        return
    try:
        stored = _stored(path)
    except Exception as error:  # h5py raises anything on a damaged file
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"a checkpoint must be a .weights.h5 file; got {path}: {reason}. Check the path."
        ) from error
    own = Counter(tuple(weight.shape) for weight in model.weights)
    whole = sum("int" in str(weight.dtype) for weight in model.weights)  # states of random numbers
    shapes = Counter(shape for shape, _ in stored)
    wrong = [f"{shape} missing" for shape in (own - shapes).elements()]
    # Keras itself would silently skip what the file holds beyond the network's weights.
    wrong += [f"{shape} left over" for shape in (shapes - own).elements()]
    # Widening float32 to float64 is exact; narrowing would round the weights silently.
    wrong += [
        str(dtype)
        for _, dtype in stored
        if dtype.kind not in "iu" and not (dtype.kind == "f" and np.can_cast(dtype, model.variable_dtype))
    ]
    # Whole numbers in the place of weights are codes of a quantised network, whose scales lie elsewhere.
    wrong += [str(dtype) for _, dtype in stored if dtype.kind in "iu"][whole:]
    if wrong:
        raise DataError(
            f"a checkpoint must fit the model's arguments; got {len(wrong)} tensors that do not in {path}, "
            f"the first {wrong[0]}. Give the --depth, --head and --dtype that it was trained with."
        )
    try:
        model.load_weights(path)
    except (
        Exception
    ) as error:  # Keras looks for names of its own, and raises anything on what it does not find
        raise DataError(
            f"a checkpoint's tensors must lie where Keras writes them; got {' '.join(str(error).split())[:200]} in {path}. "
            "Save it with save_weights of this network."
        ) from error


def read_checkpoint(
    model: keras.Model, path: Path, network: Mapping[str, Any], dtype: str = "float32"
) -> None:
    """Read either framework's checkpoint into a network.

    Args:
        model: the network, built.
        path: weights; the suffix says of which framework.
        network: "name" and "arguments", with which `torch_impl` builds the twin.
        dtype: float32 or float64, the network's.
    Raises:
        DataError: no checkpoint, or one that does not fit.
        MissingExtra: the file is PyTorch's own, and PyTorch is not installed.
    """
    READER.read(model, path, network, dtype)


def read_backbone(
    model: keras.Model,
    path: Path,
    network: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> list[str]:
    """Read a published classifier's PyTorch weights into a network's backbone, and into a VGG network's fc6 and fc7.

    `torch_impl` reads them, and parity carries them over.

    Args:
        model: the network, built.
        path: a state_dict with torchvision's names, such as resnet18's.
        network: "name" and "arguments", with which `torch_impl` builds the twin.
        dtype: float32 or float64, the network's.
    Returns: names of the network's parts that were read.
    Raises:
        DataError: no such file, or one that does not fit.
        MissingExtra: PyTorch is not installed.
        SettingsError: a network without a backbone.
    """
    check_backbone(model)
    return READER.read_through(model, path, network or {}, dtype, "read_backbone")


def _parity() -> Any:
    """Parity's reading of both frameworks' files.

    It is imported here alone, and only where a file is the other framework's: this package must work without it.
    """
    from parity.weights import checkpoint

    return checkpoint


READER = Reader("tf_impl", "torch_impl", (".weights.h5", ".keras"), load_weights, _parity)


def _stored(path: Path) -> list[tuple[tuple[int, ...], Any]]:
    """Shape and dtype of every weight in a file, without an optimizer's variables."""
    check_hdf5(path)
    with h5py.File(path) as file:
        check_seal(file)
        found = tensors(file)
        return [(node.shape, node.dtype) for name, node in found.items() if not name.startswith("optimizer/")]
