"""On every Keras backend equal attention is EQUAL in float64, though JAX takes its softmax in float32."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import needs

SCRIPT = """
import numpy as np
import keras, torch
from torch import nn
import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise

assert keras.config.backend() == "{backend}"


class KerasAttention(keras.Model):
    def __init__(self):
        super().__init__()
        self.attention = keras.layers.MultiHeadAttention(2, 6)

    def call(self, x):
        return self.attention(x, x, use_causal_mask={causal})


class TorchAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)

    def forward(self, x):
        mask = torch.triu(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), 1) if {causal} else None
        return self.attention(x, x, x, need_weights=False, attn_mask=mask)[0]


x = np.random.default_rng(0).standard_normal((2, 7, 12)).astype("float32")
model, module = KerasAttention(), TorchAttention().eval()
model(x)
randomise(adapt(module), 0)
parity.transfer(module, model, inputs=x)
report = parity.compare(model, module, x)
assert report, report.findings
if {causal}:
    module.attention.in_proj_weight.data[3] *= 1 + 1e-6
    assert parity.compare(model, module, x).verdict == "DIVERGED"
held = model(x)
assert str(keras.ops.dtype(held) if hasattr(keras.ops, "dtype") else held.dtype).endswith("float32")
"""


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_equal_attention_is_equal(backend: str, causal: bool) -> None:
    needs("jax" if backend == "jax" else "keras")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    script = SCRIPT.format(backend=backend, causal=causal)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
