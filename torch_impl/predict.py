"""Test a trained mUnet, draw its predictions: python -m torch_impl.predict --checkpoint F --data F --out D."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from datasets.runs import exit_code, load_part, prediction_config, prediction_flags, write_results
from torch_impl.train import find_device, from_network, load_weights, make_model, to_network


@torch.inference_mode()
def predict(model: torch.nn.Module, images: NDArray[np.uint8]) -> NDArray[np.floating]:
    """The network's outputs on raw images, in evaluation mode.

    Shapes: images (N, H, W, 3); returns (N, C, H, W).
    Args:
        model: the network; its weights give device and dtype.
        images: raw values 0..255.
    Returns: raw outputs, in units of mask values.
    """
    model.eval()
    return from_network(model(to_network(images, model)))


def run(options: argparse.Namespace) -> None:
    """Carry out one command line of the script."""
    config = prediction_config(options)
    data = load_part(options.data, "test")
    model = make_model(config["model"], config["dtype"], find_device(options.device))
    load_weights(model, options.checkpoint)
    write_results(options, data, partial(predict, model))


def main(arguments: Sequence[str] | None = None) -> int:
    """The script: returns 0, or 2 after one line that says what is wrong."""
    return exit_code(run, prediction_flags("torch_impl").parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
