"""Train a network: python -m torch_impl.train --data FILE --out FOLDER [--preset best | lecture]."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import torch_impl
from datasets.errors import SettingsError
from datasets.exits import exit_code
from datasets.training import script
from datasets.training.command import Training
from datasets.training.feeding import Arrays
from datasets.training.flags import training_flags
from datasets.training.order import Batch
from datasets.training.recipe import Machine, Recipe
from datasets.training.runs import check_pairs
from datasets.training.script import Half, Seat
from torch_impl import checkpoints
from torch_impl.distribution import joined


def make_model(
    arguments: Mapping[str, Any],
    dtype: str = "float32",
    device: str = "cpu",
    seed: int = 0,
    name: str = "mUnet",
) -> Any:
    """A network with weights drawn from the seed.

    Args:
        arguments: the constructor's arguments.
        dtype: float32 or float64, of weights and computation.
        device: cpu or gpu.
        seed: of the initial weights.
        name: one of `datasets.training.networks`.
    Raises:
        SettingsError: arguments that the network refuses.
    """
    torch.manual_seed(seed)
    try:
        model = getattr(torch_impl, name)(**arguments)
    except (TypeError, ValueError) as error:
        raise SettingsError(str(error)) from error
    return model.to(device="cuda" if device == "gpu" else device, dtype=getattr(torch, dtype))


def to_network(images: NDArray[np.uint8], model: torch.nn.Module) -> torch.Tensor:
    """Raw images as the network takes them, on its device and in its dtype.

    Shapes: images (N, H, W, 3); returns (N, 3, H, W).
    """
    weight = next(model.parameters())
    return torch.tensor(images).permute(0, 3, 1, 2).to(weight)


def from_network(outputs: torch.Tensor) -> NDArray[np.floating]:
    """The network's outputs in the layout of the data's masks.

    Shapes: outputs (N, C, H, W); returns (N, C, H, W).
    """
    return outputs.detach().cpu().numpy()


def train(
    model: torch.nn.Module,
    images: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    recipe: Recipe,
    report: Callable[[Batch, float], object] = lambda batch, loss: None,
    **settings: Any,
) -> list[float]:
    """Train a network in place on raw images and raw mask values.

    Shapes: images (N, H, W, 3); masks (N, C, H, W).
    Args:
        model: the network; its weights give device and dtype.
        images: raw values 0..255.
        masks: raw mask values 0..250.
        recipe: loss, optimizer, batch order and length.
        report: called after every step with its Batch and its loss.
        settings: further ones of `engine.fit`.
    Returns: the loss of every step, computed before the step's update.
    Raises:
        DataError: images and masks that do not fit.
        RunError: a loss that is no finite number.
    Source: lecture, "Training mUnet with MSE Loss".
    """
    from torch_impl import engine  # Lightning takes seconds to import, and only training needs it

    check_pairs(images, masks)
    return engine.fit(model, Arrays(images, masks), recipe, report=report, **settings)


def find_device(wanted: str | None) -> str:
    """The device to run on: the one wanted, or a GPU where there is one."""
    found = "gpu" if torch.cuda.is_available() else "cpu"
    if wanted == "gpu" != found:
        raise SettingsError("--device gpu must have a GPU that PyTorch sees; got device=cpu. Leave it out.")
    return wanted or found


@contextlib.contextmanager
def _started(machine: Machine) -> Iterator[Seat]:
    """Say where the other processes are, and find the device."""
    device = find_device(machine.device)
    with joined(machine) as (rank, world):
        yield Seat(rank, world, device)


def _built(wanted: Training, machine: Machine, device: str) -> torch.nn.Module:
    """The network with its first weights, on the device."""
    name, arguments = wanted.network.values()
    model = make_model(arguments, machine.weights_dtype, device, wanted.recipe.seed, name)
    if wanted.first_bias is not None:
        layer, value = wanted.first_bias
        torch.nn.init.constant_(model.get_submodule(layer).bias, value)
    return model


def _versions() -> dict[str, str]:
    return {"torch": torch.__version__}


def _fit(*arguments: Any, **settings: Any) -> list[float]:
    from torch_impl import engine  # Lightning takes seconds to import, and only training needs it

    return engine.fit(*arguments, **settings)


HALF = Half("torch_impl", _versions, _started, _built, checkpoints, _fit)


def run(options: argparse.Namespace) -> None:
    """Carry out one command line of the script."""
    script.run(options, HALF)


def main(arguments: Sequence[str] | None = None) -> int:
    """The script: returns 0, or 2 after one line that says what is wrong."""
    return exit_code(run, training_flags("torch_impl").parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
