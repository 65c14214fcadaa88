"""Train a network: python -m torch_impl.train --data FILE --out FOLDER [--preset best | lecture]."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import torch_impl
from datasets.errors import SettingsError
from datasets.training.augment import augmentation
from datasets.training.command import Training
from datasets.training.feeding import Arrays
from datasets.training.networks import NETWORKS
from datasets.training.order import Batch, Order
from datasets.training.recipe import Machine, Recipe
from datasets.training.runlog import Progress, RunLog
from datasets.training.runs import check_pairs, claim, exit_code, machine_settings, training_flags
from torch_impl.checkpoints import load_weights, read_backbone, read_progress
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


def run(options: argparse.Namespace) -> None:
    """Carry out one command line of the script."""
    from torch_impl import engine  # Lightning takes seconds to import, and only training needs it

    device = find_device(options.device)
    machine = Machine(options.dtype, device, **machine_settings(options))
    wanted = Training.of(options)
    recipe, source = wanted.recipe, wanted.source
    order = Order(len(source), recipe, source.held)
    with contextlib.ExitStack() as files:
        rank, world = files.enter_context(joined(machine))
        left_out = order.left_out(max(world, machine.devices))
        weights = "float64" if machine.dtype == "float64" else "float32"
        name, arguments = wanted.network.values()
        model = make_model(arguments, weights, device, recipe.seed, name)
        last = NETWORKS[name].output
        if recipe.head_bias is not None and last:
            torch.nn.init.constant_(model.get_submodule(last).bias, recipe.head_bias)
        if options.backbone:
            parts = read_backbone(model, options.backbone, wanted.network, weights)
            if rank == 0:
                print(f"{options.backbone.name}: the weights of {', '.join(parts)}")
        if options.init:
            load_weights(model, options.init)
        progress = (read_progress(options.out) if options.resume else None) or Progress()
        log = None
        if rank == 0:
            claim(options.out, wanted.config("torch_impl", options, device, torch=torch.__version__))
            if left_out:
                print(
                    f"{left_out} images of the last batch of every epoch are left out: equal parts are shared"
                )
            log = files.enter_context(
                RunLog(options.out, order, progress, options.log_every, options.quiet, options.tensorboard)
            )
        engine.fit(
            model,
            source,
            recipe,
            classes=wanted.classes,
            augment=augmentation(recipe.augment, recipe.seed),
            machine=machine,
            report=log or (lambda batch, loss: None),
            log=log,
            folder=options.out,
            progress=progress,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The script: returns 0, or 2 after one line that says what is wrong."""
    return exit_code(run, training_flags("torch_impl").parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
