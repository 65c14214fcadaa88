"""What a run leaves: the last weights, the best ones, and everything that it needs to go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from datasets.bounds.torch_pickle import check_torch
from datasets.errors import DataError, RunError
from datasets.files import replacing
from datasets.training.checkpoints import Reader, check_backbone
from datasets.training.runlog import Progress
from torch_impl._published import load_backbone, widens

CHECKPOINT = "model.pt"
"""The weights at the last check, averaged where the recipe averages them."""
BEST = "best.pt"
"""Those of the best check on the images kept."""
STATE = "last.ckpt"
"""Weights, optimizer, schedule, average, random numbers and place in the run."""
PARTS = {"progress", "random", "state_dict", "optimizer_states", "lr_schedulers", "loops"}
"""What a run needs of it to go on."""


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """Write the weights and nothing else; the file is complete or it does not appear."""
    with replacing(path) as partial:
        torch.save({name: value.cpu() for name, value in model.state_dict().items()}, partial)


def read_progress(folder: Path) -> Progress | None:
    """How far the run in a folder has come; None where there is no checkpoint.

    Raises:
        DataError: a checkpoint that is cut short, altered, or none of a run.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        check_torch(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if missing := sorted(PARTS - state.keys()):
            raise ValueError(f"no {', '.join(missing)}")
    except Exception as error:  # torch raises anything on a damaged file
        raise DataError(
            f"a run's checkpoint must be whole; got {type(error).__name__}: {str(error).partition(chr(10))[0][:200]} "
            f"at {path}. Take it away to begin anew."
        ) from error
    return Progress.from_dict(state["progress"], path)


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Read a checkpoint of PyTorch's, .pt, .pth or .safetensors, into a network that it fits exactly.

    Raises:
        DataError: no checkpoint, or one whose tensors differ from the network's in name, shape or precision.
    """
    if path.suffix == ".safetensors":
        READER.read_by_parity(model, path)
        return
    state = _state(path)
    stored = {name: (tuple(value.shape), value.dtype) for name, value in state.items()}
    own = {name: (tuple(value.shape), value.dtype) for name, value in model.state_dict().items()}
    wrong = [
        f"{name} {stored.get(name, 'missing')}"
        for name in sorted(own.keys() | stored.keys())
        if name not in own
        or name not in stored
        or own[name][0] != stored[name][0]
        or not widens(stored[name][1], own[name][1])
    ]
    if wrong:
        raise DataError(
            f"a checkpoint must fit the model's arguments; got {len(wrong)} tensors that do not in {path}, "
            f"the first {wrong[0]}. Give the --depth, --head and --dtype that it was trained with."
        )
    model.load_state_dict(state)


def read_checkpoint(
    model: torch.nn.Module, path: Path, network: Mapping[str, Any], dtype: str = "float32"
) -> None:
    """Read either framework's checkpoint into a network.

    Args:
        model: the network, built.
        path: weights; the suffix says of which framework.
        network: "name" and "arguments", with which `tf_impl` builds the twin.
        dtype: float32 or float64, the network's.
    Raises:
        DataError: no checkpoint, or one that does not fit.
        MissingExtra: the file is Keras' own, and Keras is not installed.
    """
    READER.read(model, path, network, dtype)


def read_backbone(
    model: torch.nn.Module,
    path: Path,
    network: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> list[str]:
    """Read a published classifier's PyTorch weights into a network's backbone, and into a VGG network's fc6 and fc7.

    Args:
        model: the network, built.
        path: a state_dict with torchvision's names, such as resnet18's.
        network, dtype: what `tf_impl` builds this half's network from; not used here.
    Returns: names of the network's parts that were read.
    Raises:
        DataError: no such file, or one that does not fit.
        SettingsError: a network without a backbone.
    """
    check_backbone(model)
    return load_backbone(model, _state(path), path)


def _parity() -> Any:
    """Parity's reading of both frameworks' files.

    It is imported here alone, and only where a file is the other framework's: this package must work without it.
    """
    from parity.weights import checkpoint

    return checkpoint


READER = Reader("torch_impl", "tf_impl", (".pt", ".pth", ".safetensors"), load_weights, _parity)


def _state(path: Path) -> dict[str, torch.Tensor]:
    try:
        check_torch(path)
        state: dict[str, torch.Tensor] = dict(torch.load(path, map_location="cpu", weights_only=True).items())
    except RunError:
        raise
    except Exception as error:  # torch raises anything on a damaged file
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"a checkpoint must be a state_dict; got {path}: {reason}. Check the path."
        ) from error
    other = next((name for name, value in state.items() if not isinstance(value, torch.Tensor)), None)
    if other is not None:
        raise DataError(
            f"a checkpoint must be a state_dict, tensors by name; got {other} of type {type(state[other]).__name__} "
            f"in {path}. Save model.state_dict() alone."
        )
    return state
