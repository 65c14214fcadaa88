"""The networks that benchmarks/training_speed.py puts side by side, each as a training step and a prediction."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Keras' own test configuration imports torch before TensorFlow, citing a segmentation fault.
import torch  # isort: skip
import keras
import numpy as np

import tf_impl
import torch_impl
from benchmarks.dlstudio import import_dlstudio

RATE = 1e-6  # small, so that no run diverges, whatever its length


class Contender(NamedTuple):
    """One network on one batch."""

    step: Callable[[], Any]  # forward, mean squared error, backward, SGD with momentum
    predict: Callable[[], Any]


def pictures(batch: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images (N, 3, H, W) of 0..255 and targets (N, 5, H, W) of 0..250, both float32."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, 3, size, size)).astype(np.float32)
    return images, (50 * rng.integers(0, 6, (batch, 5, size, size))).astype(np.float32)


def dlstudio(batch: int, size: int, depth: int, bf16: bool = False, device: str = "cpu") -> Contender:
    """The lecture's own package, trained as its own loop does; autocast for bf16, which that loop does not use."""
    network = import_dlstudio().SemanticSegmentation.mUNet(skip_connections=True, depth=depth).to(device)
    return of_torch(network, torch.optim.SGD(network.parameters(), RATE, 0.9), batch, size, bf16=bf16)


def ours_torch(
    batch: int, size: int, depth: int, bf16: bool = False, jit: bool = False, device: str = "cpu"
) -> Contender:
    """torch_impl's mUnet: channels_last, one fused call for the optimizer, autocast for bf16, torch.compile."""
    network = torch_impl.mUnet(depth=depth).to(device, memory_format=torch.channels_last)
    if jit:
        network.compile()
    optimizer = torch.optim.SGD(network.parameters(), RATE, 0.9, fused=True)
    return of_torch(network, optimizer, batch, size, torch.channels_last, bf16)


def of_torch(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: int,
    size: int,
    layout: torch.memory_format = torch.contiguous_format,
    bf16: bool = False,
) -> Contender:
    """A torch network on its own device; the images are given in `layout`."""
    device = next(network.parameters()).device
    images, targets = (torch.from_numpy(each).to(device) for each in pictures(batch, size))
    images = images.to(memory_format=layout)

    def outputs() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return network(images)

    def step() -> torch.Tensor:
        network.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(outputs().float(), targets)
        loss.backward()
        optimizer.step()
        return loss.detach()  # a GPU is not waited for

    def predict() -> torch.Tensor:
        network.eval()
        with torch.no_grad():
            return outputs()

    return Contender(step, predict)


def ours_keras(batch: int, size: int, depth: int, bf16: bool = False, jit: bool = False) -> Contender:
    """tf_impl's mUnet as `fit` trains it: one TensorFlow graph, with `jit` compiled by XLA."""
    network = tf_impl.mUnet(depth=depth, dtype="mixed_bfloat16" if bf16 else "float32")
    network.compile(keras.optimizers.SGD(RATE, momentum=0.9), loss="mse", jit_compile=jit)
    images, targets = (np.ascontiguousarray(np.moveaxis(each, 1, -1)) for each in pictures(batch, size))

    def step() -> float:
        with warnings.catch_warnings():  # some blocks are declared and never used, as in the lecture
            warnings.filterwarnings("ignore", message="Gradients do not exist for variables")
            return float(network.train_on_batch(images, targets))

    return Contender(step, lambda: network.predict_on_batch(images))
