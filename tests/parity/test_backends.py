"""Verdicts on Keras' other backends: Keras' own normalisations, gelu and slopes, judged in float64."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import needs

PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F
import keras
import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.gn = nn.GroupNorm(3, 6, eps=1e-3)
        self.ln = nn.LayerNorm(6, eps=1e-3)
        self.dense = nn.Linear(6, 4)

    def forward(self, x):
        x = F.gelu(self.gn(self.bn(self.conv(x))))
        x = F.leaky_relu(self.ln(x.permute(0, 2, 3, 1)), 0.3)
        return self.dense(torch.tanh(x.mean((1, 2))))

L = keras.layers
image = keras.Input((None, None, 3))
x = L.Conv2D(6, 3, padding="same", name="conv")(image)
x = L.BatchNormalization(epsilon=1e-5, name="bn")(x)
x = L.GroupNormalization(3, name="gn")(x)
x = L.LayerNormalization(name="ln")(L.Activation("gelu")(x))
x = keras.ops.tanh(L.GlobalAveragePooling2D()(L.LeakyReLU(negative_slope=0.3)(x)))
model, module = keras.Model(image, L.Dense(4, name="dense")(x)), Net()
randomise(adapt(module))
assert parity.transfer(module, model).copied == 12
report = parity.assert_parity(model, module, dtype="float32")
print(report.structure)
assert report.structure < 1e-13, "float64 was not float64"
model.get_layer("bn").epsilon = 1e-3
report = parity.compare(model, module)
assert report.verdict == "DIVERGED" and report.first.keras == "bn", report
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_float64_is_float64_on_every_backend(backend: str) -> None:
    needs("keras")
    needs("torch")
    if backend == "jax":
        needs("jax")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
