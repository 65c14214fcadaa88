"""Checkpoints of either framework, read into a network of one of them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.errors import RunError

HALVES = {"torch_impl": (".pt", ".pth", ".safetensors"), "tf_impl": (".weights.h5", ".keras")}
NATIVE = {"torch_impl": (".pt", ".pth"), "tf_impl": (".weights.h5",)}


def read_checkpoint(package: str, model: Any, path: Path, network: Mapping[str, Any], dtype: str) -> None:
    """Read either framework's checkpoint into a network.

    Args:
        package: the network's own, tf_impl or torch_impl.
        model: the network, built.
        path: weights; the suffix says of which framework.
        network: "name" and "arguments", with which the other package builds its twin.
        dtype: float32 or float64, the network's.
    Raises:
        RunError: no checkpoint, one that does not fit, or the other framework's without that framework.
    """
    half = next((half for half, suffixes in HALVES.items() if path.name.endswith(suffixes)), None)
    if half is None:
        known = ", ".join(suffix for suffixes in HALVES.values() for suffix in suffixes)
        raise RunError(f"a checkpoint must end in one of {known}; got {path.name}. Rename it to what it is.")
    if not path.is_file():
        raise RunError(f"a checkpoint must be a file; got {path}. Check the path.")
    if half == package:
        _read(half, model, path)
        return
    parity, twin = _twin(half, package, network, dtype)
    _read(half, twin, path)
    _transfer(parity, twin, model, path)


def read_backbone(package: str, model: Any, path: Path, network: Mapping[str, Any], dtype: str) -> list[str]:
    """Read a published classifier's PyTorch weights into a network's backbone, and into a VGG network's fc6 and fc7.

    Args:
        package: the network's own; tf_impl's receives them through its twin.
        model: the network, built.
        path: a state_dict with torchvision's names, such as resnet18's.
        network: "name" and "arguments".
        dtype: float32 or float64, the network's.
    Returns:
        Names of the network's parts that were read.
    Raises:
        RunError: no such file, one that does not fit, a network without a backbone, or no PyTorch.
    """
    if not hasattr(model, "backbone"):
        raise RunError(
            f"--backbone is for networks that have one; got model={network['name']}. Leave it out."
        )
    if package == "torch_impl":
        return list(importlib.import_module("torch_impl._published").load_backbone(model, path))
    parity, twin = _twin("torch_impl", package, network, dtype)
    parts = list(importlib.import_module("torch_impl._published").load_backbone(twin, path))
    for name in parts:
        _transfer(parity, getattr(twin, name), getattr(model, name), path)
    return parts


def _twin(half: str, package: str, network: Mapping[str, Any], dtype: str) -> tuple[Any, Any]:
    """Parity, and the network in the other framework."""
    try:
        parity = importlib.import_module("parity")
        make = importlib.import_module(f"{half}.train").make_model
        return parity, make(network["arguments"], dtype, name=network["name"])
    except ModuleNotFoundError as error:
        raise RunError(
            f"both frameworks must be installed to read a checkpoint of {half} in {package}; got: {error}. "
            f"pip install 'segparity[tf,torch]', or use {half}."
        ) from error


def _transfer(parity: Any, source: Any, target: Any, path: Path) -> None:
    try:
        parity.transfer(source, target)
    except ValueError as error:
        raise RunError(f"{path} must fit the network; got: {error}") from error


def _read(half: str, model: Any, path: Path) -> None:
    """Read a checkpoint of a network's own framework."""
    if path.name.endswith(NATIVE[half]):
        importlib.import_module(f"{half}.checkpoints").load_weights(model, path)
        return
    checkpoint = importlib.import_module("parity.weights.checkpoint")
    try:
        checkpoint.load_weights(model, path)
    except ValueError as error:
        raise RunError(str(error)) from error
