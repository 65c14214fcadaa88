"""Segment pictures with a trained network: python -m torch_impl.predict --checkpoint F --data F --out D."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from datasets.exits import exit_code
from datasets.prediction import command
from datasets.prediction.reading import Network, Reading
from datasets.training.feeding import framed, middle
from torch_impl.checkpoints import read_checkpoint
from torch_impl.train import find_device, from_network, make_model, to_network


@torch.inference_mode()
def predict(
    model: torch.nn.Module, images: NDArray[np.uint8], reading: Reading | None = None
) -> NDArray[np.floating]:
    """The network's outputs on raw images, in evaluation mode.

    Shapes: images (N, H, W, 3); returns (N, C, H, W).
    Args:
        model: the network; its weights give device and dtype.
        images: raw values 0..255.
        reading: says in what units the network takes them; raw, when left out.
    Returns: raw outputs, the main ones where the network has several.
    """
    model.eval()
    values: NDArray[Any] = framed(images, model)
    if reading:
        dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
        values = reading.scaled(values, dtype)
    outputs = model(to_network(values, model))
    found = from_network(outputs[0] if isinstance(outputs, list | tuple) else outputs)
    return found[:, :, *middle(found.shape[2:], images.shape[1:3])]


@contextlib.contextmanager
def _opened(options: argparse.Namespace, config: dict[str, Any], reading: Reading) -> Iterator[Network]:
    """The network with its checkpoint's weights, on the device."""
    network, dtype = config["model"], config["dtype"]
    model = make_model(network["arguments"], dtype, find_device(options.device), name=network["name"])
    read_checkpoint(model, options.checkpoint, network, dtype)
    yield partial(predict, model, reading=reading)


def run(options: argparse.Namespace) -> None:
    """Carry out one command line of the script."""
    command.run(options, _opened)


def main(arguments: Sequence[str] | None = None) -> int:
    """The script: returns 0, or 2 after one line that says what is wrong."""
    return exit_code(run, command.prediction_flags("torch_impl").parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
