"""What a run leaves: its weights, the best of them, and everything that it needs to go on."""

from __future__ import annotations

import pickle
from math import prod
from pathlib import Path

import torch

from datasets.recipe import RunError
from datasets.runlog import Progress
from datasets.segmentation import replacing

CHECKPOINT = "model.pt"
"""The weights at the last check, averaged where the recipe averages them."""
BEST = "best.pt"
"""Those of the best check on the images kept."""
STATE = "last.ckpt"
"""Weights, optimizer, schedule, average, random numbers and place in the run."""
CONVOLVED = {"fc6": "classifier.0", "fc7": "classifier.3"}
"""Convolutions of a VGG network, and the dense layers of the published classifier that they stand for."""


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """Write the weights and nothing else, whole or not at all."""
    with replacing(path) as partial:
        torch.save({name: value.cpu() for name, value in model.state_dict().items()}, partial)


def read_progress(folder: Path) -> Progress | None:
    """How far the run in a folder has come; None where there is no checkpoint."""
    path = folder / STATE
    if not path.exists():
        return None
    return Progress(**torch.load(path, map_location="cpu", weights_only=True)["progress"])


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Read a checkpoint into a network that it fits exactly.

    Raises:
        RunError: no checkpoint, or one whose tensors differ from the network's in name, shape or precision.
    """
    state = _state(path)
    stored = {name: (tuple(value.shape), value.dtype) for name, value in state.items()}
    own = {name: (tuple(value.shape), value.dtype) for name, value in model.state_dict().items()}
    wrong = [
        f"{name} {stored.get(name, 'missing')}"
        for name in sorted(own.keys() | stored.keys())
        if name not in own
        or name not in stored
        or own[name][0] != stored[name][0]
        # Widening float32 to float64 is exact; narrowing would round the weights without a word.
        or torch.promote_types(own[name][1], stored[name][1]) != own[name][1]
    ]
    if wrong:
        raise RunError(
            f"a checkpoint must fit the model's arguments; got {len(wrong)} tensors that do not in {path}, "
            f"the first {wrong[0]}. Give the --depth, --head and --dtype that it was trained with."
        )
    model.load_state_dict(state)


def load_backbone(network: torch.nn.Module, path: Path) -> list[str]:
    """Read a classifier's weights into a network's `backbone`, but for those of its last layer.

    The two dense layers of a VGG16 go into the convolutions fc6 and fc7 where the network has them in their size.

    Args:
        network: has `backbone`, with torchvision's names.
        path: a state_dict such as torchvision publishes.
    Returns:
        Names of the network's parts that were read.
    Raises:
        RunError: no state_dict, or one whose tensors differ from the backbone's in name or shape.
    """
    backbone: torch.nn.Module = network.get_submodule("backbone")
    given = _state(path)
    state = {name: value for name, value in given.items() if not name.startswith(("fc.", "classifier."))}
    own = backbone.state_dict()
    counts = {name for name in own if name.endswith("num_batches_tracked")}  # old files lack them
    wrong = [
        f"{name} {tuple(state[name].shape) if name in state else 'missing'}"
        for name in sorted((own.keys() | state.keys()) - (counts - state.keys()))
        if name not in own or name not in state or own[name].shape != state[name].shape
    ]
    if wrong:
        raise RunError(
            f"the backbone's weights must fit it; got {len(wrong)} tensors that do not in {path}, the first {wrong[0]}. "
            "Choose the backbone and the width that they are of."
        )
    backbone.load_state_dict(state, strict=False)
    dense = _convolved(network, given)
    for name, tensors in dense.items():
        network.get_submodule(name).load_state_dict(tensors)
    return ["backbone", *dense]


def _convolved(
    network: torch.nn.Module, given: dict[str, torch.Tensor]
) -> dict[str, dict[str, torch.Tensor]]:
    """A classifier's dense layers as the convolutions that the network has in their places, by their names."""
    found = {}
    for name, source in CONVOLVED.items():
        weight, bias = given.get(f"{source}.weight"), given.get(f"{source}.bias")
        layer = getattr(network, name, None)
        if weight is None or bias is None or not isinstance(layer, torch.nn.Conv2d):
            continue
        out, *rest = layer.weight.shape
        if weight.shape == (out, prod(rest)) and bias.shape == (out,):
            # The classifier flattens channels, rows, columns, as a kernel lies in memory.
            found[name] = {"weight": weight.reshape(layer.weight.shape), "bias": bias}
    return found


def _state(path: Path) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(f"a checkpoint must be a state_dict; got {path}: {reason}. Check the path.") from error
