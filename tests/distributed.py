"""One process of runs that several share: python tests/distributed.py HALF OUT JSON-of-the-machine KIND ...

A kind is "frozen" or "normalised", by what BatchNorm does. Writes the loss of every step of each.
The network is small, with BatchNorm, and the same in both halves.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from datasets.purdue_shapes import generate
from datasets.training.recipe import Machine, Recipe

SIZE = (32, 40)
RECIPE: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 4,
    "inputs": "unit",
    "loss": "bce-dice",
    "optimizer": "adamw",
    "learning_rate": 1e-2,
    "lr_schedule": "one-cycle",
    "validation": 0.2,
    "clip": 1.0,
}


def keras_network() -> Any:
    """Two convolutions with a normalisation between them."""
    import keras

    from tf_impl.layers import BatchNorm2d, Conv2d

    keras.utils.set_random_seed(3)
    layers = [
        Conv2d(3, 8, 3, padding=1, bias=False),
        BatchNorm2d(8),
        keras.layers.ReLU(),
        Conv2d(8, 5, 3, padding=1),
    ]
    return keras.Sequential([keras.Input((*SIZE, 3)), *layers])


def torch_network() -> Any:
    """The same in PyTorch."""
    import torch

    from torch_impl.layers import BatchNorm2d, Conv2d

    torch.manual_seed(3)
    layers = [
        Conv2d(3, 8, 3, padding=1, bias=False),
        BatchNorm2d(8),
        torch.nn.ReLU(),
        Conv2d(8, 5, 3, padding=1),
    ]
    return torch.nn.Sequential(*layers)


def main(half: str, out: str, machine: str, *kinds: str) -> None:
    """Train on 30 generated images and write what was found."""
    if half == "torch_impl":
        from torch_impl import distribution, train
    else:
        from tf_impl import distribution, train  # type: ignore[no-redef]
    data = generate(30, 5, SIZE)
    settings = Machine(**json.loads(machine))
    with distribution.joined(settings) as (rank, world):
        losses = {}
        for kind in kinds:
            network = torch_network() if half == "torch_impl" else keras_network()
            recipe = Recipe(**RECIPE, freeze_batchnorm=kind == "frozen")
            losses[kind] = train.train(network, data.images, data.masks, recipe, machine=settings)
            assert np.isfinite(losses[kind]).all()
        found = {"rank": rank, "world": world, "losses": losses}
        Path(out).with_suffix(f".{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
