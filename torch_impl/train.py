"""Train a network: python -m torch_impl.train --data FILE --out FOLDER [--preset best | lecture]."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from datasets.augment import augmentation
from datasets.order import Batch, Order
from datasets.recipe import Machine, Recipe, RunError
from datasets.runlog import Progress, RunLog
from datasets.runs import claim, exit_code, load_part, machine_settings, training_config, training_flags
from datasets.segmentation import check_pairs
from torch_impl.checkpoints import load_weights, read_progress
from torch_impl.distribution import joined
from torch_impl.munet import mUnet


def make_model(
    arguments: dict[str, Any], dtype: str = "float32", device: str = "cpu", seed: int = 0
) -> mUnet:
    """A mUnet with weights drawn from the seed.

    Args:
        arguments: the constructor's arguments.
        dtype: float32 or float64, of weights and computation.
        device: cpu or gpu.
        seed: of the initial weights.
    Raises:
        RunError: arguments that the network refuses.
    """
    torch.manual_seed(seed)
    try:
        model = mUnet(**arguments)
    except ValueError as error:
        raise RunError(str(error)) from error
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
        RunError: images and masks that do not fit, or a loss that is no finite number.
    Source: lecture, "Training mUnet with MSE Loss".
    """
    from torch_impl import engine  # Lightning takes seconds to import, and only training needs it

    check_pairs(images, masks)
    return engine.fit(model, images, masks, recipe, report=report, **settings)


def find_device(wanted: str | None) -> str:
    """The device to run on: the one wanted, or a GPU where there is one."""
    found = "gpu" if torch.cuda.is_available() else "cpu"
    if wanted == "gpu" != found:
        raise RunError("--device gpu must have a GPU that PyTorch sees; got device=cpu. Leave it out.")
    return wanted or found


def run(options: argparse.Namespace) -> None:
    """Carry out one command line of the script."""
    recipe = Recipe.from_options(options)
    device = find_device(options.device)
    data = load_part(options.data, "train")
    config = training_config("torch_impl", options, data, device=device, torch=torch.__version__)
    machine = Machine(options.dtype, device, **machine_settings(options))
    order = Order(len(data.images), recipe)
    with contextlib.ExitStack() as files:
        rank, world = files.enter_context(joined(machine))
        left_out = order.left_out(max(world, machine.devices))
        weights = "float64" if machine.dtype == "float64" else "float32"
        model = make_model(config["model"]["arguments"], weights, device, recipe.seed)
        if recipe.head_bias is not None and model.conv_out.bias is not None:
            torch.nn.init.constant_(model.conv_out.bias, recipe.head_bias)
        if options.init:
            load_weights(model, options.init)
        progress = (read_progress(options.out) if options.resume else None) or Progress()
        log = None
        if rank == 0:
            claim(options.out, config)
            if left_out:
                print(
                    f"{left_out} images of the last batch of every epoch are left out: equal parts are shared"
                )
            log = files.enter_context(
                RunLog(options.out, order, progress, options.log_every, options.quiet, options.tensorboard)
            )
        train(
            model,
            data.images,
            data.masks,
            recipe,
            log or (lambda batch, loss: None),
            classes=data.classes,
            augment=augmentation(recipe.augment, recipe.seed),
            machine=machine,
            log=log,
            folder=options.out,
            progress=progress,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The script: returns 0, or 2 after one line that says what is wrong."""
    return exit_code(run, training_flags("torch_impl").parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
