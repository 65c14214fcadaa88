"""Weights that others publish, with torchvision's names."""

from __future__ import annotations

from math import prod
from pathlib import Path

import torch

from datasets.errors import DataError

CONVOLVED = {"fc6": "classifier.0", "fc7": "classifier.3"}
"""Convolutions of a VGG network, and the dense layers of the published classifier that they stand for."""


def widens(stored: torch.dtype, own: torch.dtype) -> bool:
    """Whether a type holds every value of a stored one, and means the same by it.

    Widening float32 to float64 is exact; narrowing would round the weights silently. Whole numbers in the place of
    weights are codes of a quantised network, whose scales lie elsewhere.
    """
    return stored.is_floating_point == own.is_floating_point and torch.promote_types(own, stored) == own


def load_backbone(network: torch.nn.Module, given: dict[str, torch.Tensor], path: Path) -> list[str]:
    """Put a classifier's weights, except those of its last layer, into a network's `backbone`.

    The two dense layers of a VGG16 go into the convolutions fc6 and fc7 where the network has them in their size.

    Args:
        network: has `backbone`, with torchvision's names.
        given: a state_dict such as torchvision publishes.
        path: the file that it was read from, for the error.
    Returns:
        Names of the network's parts that were read.
    Raises:
        DataError: a state_dict whose tensors differ from the backbone's in name, shape or precision.
    """
    backbone: torch.nn.Module = network.get_submodule("backbone")
    state = {name: value for name, value in given.items() if not name.startswith(("fc.", "classifier."))}
    own = backbone.state_dict()
    counts = {name for name in own if name.endswith("num_batches_tracked")}  # old files lack them
    wrong = [
        f"{name} {(tuple(state[name].shape), state[name].dtype) if name in state else 'missing'}"
        for name in sorted((own.keys() | state.keys()) - (counts - state.keys()))
        if name not in own
        or name not in state
        or own[name].shape != state[name].shape
        or not widens(state[name].dtype, own[name].dtype)
    ]
    if wrong:
        raise DataError(
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
        exact = widens(weight.dtype, layer.weight.dtype) and widens(bias.dtype, layer.weight.dtype)
        if exact and weight.shape == (out, prod(rest)) and bias.shape == (out,):
            # The classifier flattens channels, rows, columns, as a kernel lies in memory.
            found[name] = {"weight": weight.reshape(layer.weight.shape), "bias": bias}
    return found
