"""Train a network: python -m tf_impl.train --data FILE --out FOLDER [--preset best | lecture]."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

import tf_impl
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
from tf_impl import checkpoints, engine
from tf_impl._backend import make_deterministic, precision
from tf_impl.distribution import joined


def make_model(
    arguments: Mapping[str, Any],
    dtype: str = "float32",
    device: str | None = "cpu",
    seed: int = 0,
    name: str = "mUnet",
) -> Any:
    """A network with weights drawn from the seed.

    Args:
        arguments: the constructor's arguments.
        dtype: float32, float64, or bfloat16, which computes in it with float32 weights.
        device: cpu or gpu; None for where Keras' distribution puts it.
        seed: of the initial weights.
        name: one of `datasets.training.networks`.
    Raises:
        SettingsError: arguments that the network refuses.
    """
    keras.utils.set_random_seed(seed)
    with precision(dtype), keras.device(f"{device}:0") if device else contextlib.nullcontext():
        try:
            return getattr(tf_impl, name)(**arguments)
        except (TypeError, ValueError) as error:
            raise SettingsError(str(error)) from error


def to_network(images: NDArray[np.uint8], model: keras.Model) -> Any:
    """Raw images as the network takes them, in its dtype.

    Shapes: images (N, H, W, 3); returns (N, H, W, 3).
    """
    return images.astype(model.compute_dtype)


def from_network(outputs: Any) -> NDArray[np.floating]:
    """The network's outputs in the layout of the data's masks.

    Shapes: outputs (N, H, W, C); returns (N, C, H, W).
    """
    return np.moveaxis(keras.ops.convert_to_numpy(outputs), -1, 1)


def train(
    model: keras.Model,
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
    check_pairs(images, masks)
    return engine.fit(model, Arrays(images, masks), recipe, report=report, **settings)


def find_device(wanted: str | None) -> str:
    """The device to run on: the one wanted, or a GPU where there is one."""
    found = "gpu" if any("gpu" in name.lower() for name in keras.distribution.list_devices()) else "cpu"
    if wanted == "gpu" != found:
        raise SettingsError(
            "--device gpu must have a GPU that Keras' backend sees; got device=cpu. Leave it out."
        )
    return wanted or found


@contextlib.contextmanager
def _started(machine: Machine) -> Iterator[Seat]:
    """Join the other processes, and compute on the device that is found."""
    if machine.deterministic:
        make_deterministic()
    with joined(machine) as (rank, world):
        device = find_device(machine.device)  # not before: it would start the backend alone
        alone = machine.devices == machine.processes == 1
        with keras.device(f"{device}:0") if alone else contextlib.nullcontext():
            yield Seat(rank, world, device)


def _built(wanted: Training, machine: Machine, device: str) -> keras.Model:
    """The network with its first weights, where Keras' device scope or distribution puts it."""
    name, arguments = wanted.network.values()
    model = make_model(arguments, machine.dtype, None, wanted.recipe.seed, name)
    if wanted.first_bias is not None:
        layer, value = wanted.first_bias
        bias = getattr(model, layer).bias
        bias.assign(np.full(bias.shape, value))
    return model


def _versions() -> dict[str, str]:
    return {"keras": keras.__version__, "backend": keras.config.backend()}


HALF = Half("tf_impl", _versions, _started, _built, checkpoints, engine.fit)


def run(options: argparse.Namespace) -> None:
    """Carry out one command line of the script."""
    script.run(options, HALF)


def main(arguments: Sequence[str] | None = None) -> int:
    """The script: returns 0, or 2 after one line that says what is wrong."""
    return exit_code(run, training_flags("tf_impl").parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
