"""Train mUnet with the lecture's recipe: python -m torch_impl.train --data FILE --out FOLDER."""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from datasets.runs import RunLog, exit_code, load_part, training_config, training_flags
from datasets.segmentation import Batch, Recipe, RunError, batches, check_pairs, finite, replacing
from torch_impl.munet import mUnet

CHECKPOINT = "model.pt"


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
) -> list[float]:
    """Train a network in place on raw images and raw mask values.

    Shapes: images (N, H, W, 3); masks (N, C, H, W).
    Args:
        model: the network; its weights give device and dtype.
        images: raw values 0..255.
        masks: raw mask values 0..250.
        recipe: optimizer, batch order and length.
        report: called after every step with its Batch and its loss.
    Returns: the loss of every step, computed before the step's update.
    Raises:
        RunError: images and masks that do not fit, or a loss that is no finite number.
    Source: lecture, "Training mUnet with MSE Loss".
    """
    check_pairs(images, masks)
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum)
    model.train()
    losses = []
    for batch in batches(len(images), recipe):
        inputs = to_network(images[batch.indices], model)
        targets = torch.tensor(masks[batch.indices]).to(inputs)
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(finite(loss.item(), batch))
        report(batch, losses[-1])
    return losses


def save_weights(model: torch.nn.Module, path: Path) -> None:
    """Write the weights and nothing else, whole or not at all."""
    with replacing(path) as partial:
        torch.save({name: value.cpu() for name, value in model.state_dict().items()}, partial)


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Read a checkpoint into a network that it fits exactly.

    Raises:
        RunError: no checkpoint, or one whose tensors differ from the network's in name, shape or precision.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        stored = {name: (tuple(value.shape), value.dtype) for name, value in state.items()}
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(f"a checkpoint must be a state_dict; got {path}: {reason}. Check the path.") from error
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
    model = make_model(config["model"], options.dtype, device, recipe.seed)
    if options.init:
        load_weights(model, options.init)
    with RunLog(options.out, config, options.log_every, options.quiet) as log:

        def report(batch: Batch, loss: float) -> None:
            log(batch, loss)
            if batch.is_last:
                save_weights(model, options.out / CHECKPOINT)

        train(model, data.images, data.masks, recipe, report)


def main(arguments: Sequence[str] | None = None) -> int:
    """The script: returns 0, or 2 after one line that says what is wrong."""
    return exit_code(run, training_flags("torch_impl").parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
