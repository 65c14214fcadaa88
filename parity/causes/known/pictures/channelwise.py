"""Pictures of normalisations, activations, constants and number formats."""

from __future__ import annotations

import math

import numpy as np

from parity.causes.known.pictures.picture import CHANNELS, IMAGE, Made, SmallExample, channels, drawn, softmax
from parity.core.types import Array

VARIANCES = np.array([1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0])[:, None]
SCALED = CHANNELS * np.sqrt(VARIANCES)
GAMMA, BETA = drawn(6, 1, seed=3), drawn(6, 1, seed=4)
RISING = np.linspace(-5.0, 5.0, 60).reshape(6, 10)
"""-5 to 5, row by row."""
FROM_MINUS_5 = "x from -5 to 5, row by row"
STEPS = np.arange(10)


def _normal(values: Array, epsilon: float) -> Array:
    return values / np.sqrt(VARIANCES + epsilon)


def _standard(values: Array, axis: int, correction: int = 0) -> Array:
    return (values - values.mean(axis, keepdims=True)) / values.std(axis, keepdims=True, ddof=correction)


def _grouped(epsilon: float) -> Array:
    """Three groups of two channels, the first with the smallest variance."""
    pairs = (CHANNELS * np.repeat([0.01, 0.1, 1.0], 2)[:, None]).reshape(3, 20)
    return (pairs / np.sqrt(pairs.var(1, keepdims=True) + epsilon)).reshape(6, 10)


def _running(momentum: float, factor: float = 1.0) -> Array:
    """A statistic of six channels over ten training steps."""
    start = np.zeros((6, 1)) if factor == 1.0 else np.ones((6, 1))
    found = start * momentum**STEPS + factor * (2.0 + GAMMA) * (1 - momentum**STEPS)
    return np.asarray(found)


def _gelu(values: Array) -> Array:
    return np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in values.ravel()]).reshape(
        values.shape
    )


def _gelu_tanh(values: Array) -> Array:
    return np.asarray(0.5 * values * (1 + np.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3))))


def _leaky(slope: float | Array) -> Array:
    return np.where(CHANNELS > 0, CHANNELS, slope * CHANNELS)


def _dropped(rate: float, shape: tuple[int, int] = (6, 10)) -> Array:
    kept = np.random.default_rng(5).random(shape) >= rate
    return CHANNELS * kept / (1 - rate)


def _ten_bits(values: Array) -> Array:
    """Rounded to TF32's mantissa."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent)


PICTURES: dict[str, Made] = {
    "missing-bias": lambda: channels(IMAGE + BETA, IMAGE),
    "weight-not-copied": lambda: channels(drawn(6, 6, seed=6) @ IMAGE, drawn(6, 6, seed=7) @ IMAGE),
    "batchnorm-epsilon": lambda: channels(_normal(SCALED, 1e-3), _normal(SCALED, 1e-5)),
    "batchnorm-momentum": lambda: channels(_running(0.99), _running(0.9), "training step"),
    "batchnorm-running-variance": lambda: channels(_running(0.9, 0.999), _running(0.9, 0.999 * 8 / 7), "training step"),
    "batchnorm-slots-swapped": lambda: channels(GAMMA * CHANNELS + BETA, BETA * CHANNELS + GAMMA),
    "batchnorm-frozen": lambda: channels(CHANNELS * 0.7 + BETA, _standard(CHANNELS * 0.7 + BETA, 1)),
    "train-mode-left-on": lambda: channels(CHANNELS, _dropped(0.5)),
    "layernorm-epsilon": lambda: SmallExample(_normal(SCALED, 1e-3), _normal(SCALED, 1e-5), "token", "feature"),
    "groupnorm-epsilon": lambda: channels(_grouped(1e-3), _grouped(1e-5)),
    "dropout-rate": lambda: channels(_dropped(0.2), _dropped(0.5)),
    "dropout-kind": lambda: channels(_dropped(0.5, (6, 1)), _dropped(0.5)),
    "activation-missing": lambda: channels(np.maximum(CHANNELS, 0), CHANNELS),
    "activation-kind": lambda: channels(CHANNELS / (1 + np.exp(-CHANNELS)), np.maximum(CHANNELS, 0)),
    "leaky-relu-slope": lambda: channels(_leaky(0.3), _leaky(0.01)),
    "shared-axes": lambda: channels(_leaky(np.abs(IMAGE)), _leaky(np.abs(GAMMA))),
    "gelu-approximation": lambda: SmallExample(_gelu_tanh(RISING), _gelu(RISING), FROM_MINUS_5, ""),
    "softplus-threshold": lambda: SmallExample(
        np.log1p(np.exp(4 * RISING + 20)), np.where(4 * RISING > 0, 4 * RISING + 20, np.log1p(np.exp(4 * RISING + 20))),
        "x from 0 to 40, row by row", "",
    ),
    "hard-sigmoid-form": lambda: SmallExample(
        np.clip(0.2 * RISING + 0.5, 0, 1), np.clip(RISING / 6 + 0.5, 0, 1), FROM_MINUS_5, ""
    ),
    "softmax-axis": lambda: SmallExample(softmax(CHANNELS), softmax(CHANNELS, 0), "position", "class"),
    "double-softmax": lambda: SmallExample(softmax(softmax(3 * CHANNELS)), softmax(3 * CHANNELS), "position", "class"),
    "normalised-axes": lambda: channels(_standard(CHANNELS, 1), _standard(CHANNELS, 0)),
    "variance-correction": lambda: channels(_standard(CHANNELS, 1), _standard(CHANNELS, 1, 1)),
    "rmsnorm-epsilon": lambda: SmallExample(_normal(SCALED, 1e-3), _normal(SCALED, 1e-6), "token", "feature"),
    "epsilon-value": lambda: channels(SCALED / (np.sqrt(VARIANCES) + 1e-2), SCALED / (np.sqrt(VARIANCES) + 1e-3)),
    "epsilon-place": lambda: channels(SCALED / np.sqrt(VARIANCES + 1e-3), SCALED / (np.sqrt(VARIANCES) + 1e-3)),
    "constant-value": lambda: channels(CHANNELS * 0.125, CHANNELS * 0.1),
    "operand-order": lambda: channels(CHANNELS - BETA, BETA - CHANNELS),
    "step-missing": lambda: channels(CHANNELS - CHANNELS.mean(1, keepdims=True), CHANNELS),
    "float32-cast": lambda: channels(CHANNELS, CHANNELS.astype(np.float32).astype(np.float64)),
    "tf32": lambda: channels(CHANNELS, _ten_bits(CHANNELS)),
    "input-scaling": lambda: SmallExample(np.abs(IMAGE), np.abs(IMAGE) * 255),
}  # fmt: skip
"""By the cause's name."""
