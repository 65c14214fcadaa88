"""Pictures of losses, gradients and optimizers."""

from __future__ import annotations

import numpy as np

from parity.causes.known.pictures.picture import CHANNELS, Made, SmallExample, drawn, softmax
from parity.core.types import Array

STEPS = 10
GRADIENTS = drawn(6, STEPS, seed=21)
START = drawn(6, seed=22)
RATES = np.array([0.1] * 5 + [0.01] * 5)


def _steps(keras: Array, torch: Array) -> SmallExample:
    return SmallExample(keras, torch, "weight", "training step")


def _gradient(keras: Array, torch: Array, rows: str = "output") -> SmallExample:
    return SmallExample(keras, torch, rows, "example")


def _momentum(rate_in_buffer: bool) -> Array:
    weights, buffer, found = START.copy(), np.zeros(6), []
    for rate, gradient in zip(RATES, GRADIENTS.T, strict=True):
        buffer = 0.9 * buffer + (rate * gradient if rate_in_buffer else gradient)
        weights = weights - (buffer if rate_in_buffer else rate * buffer)
        found.append(weights)
    return np.stack(found, axis=1)


def _adam(corrected: bool = True, decay: float = 0.0, coupled: bool = False, scale: float = 1.0) -> Array:
    """Adam's weights; epsilon is added behind the bias correction, or in front of it."""
    weights, first, second, found = START.copy(), np.zeros(6), np.zeros(6), []
    for t, gradient in enumerate(GRADIENTS.T * scale, 1):
        gradient = gradient + decay * weights * coupled
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        mean, spread = first / (1 - 0.9**t), np.sqrt(second / (1 - 0.999**t))
        epsilon = 1e-5 if corrected else 1e-5 / np.sqrt(1 - 0.999**t)
        weights = weights - 0.1 * mean / (spread + epsilon) - 0.1 * decay * weights * (not coupled)
        found.append(weights)
    return np.stack(found, axis=1)


def _dice_gradient(axes: tuple[int, ...]) -> Array:
    shares, truth = softmax(CHANNELS), (drawn(6, 10, seed=23) > 0).astype(float)
    both, total = (value.sum(axes, keepdims=True) for value in (shares * truth, shares + truth))
    return np.asarray(2 * (truth * total - both) / total**2)


PICTURES: dict[str, Made] = {
    "shared-layer-duplicated": lambda: _steps(
        START[:, None] - 0.1 * np.cumsum(GRADIENTS + GRADIENTS[::-1], 1), START[:, None] - 0.1 * np.cumsum(GRADIENTS, 1)
    ),
    "loss-reduction": lambda: _gradient(CHANNELS / 10, CHANNELS),
    "loss-axes": lambda: SmallExample(_dice_gradient((1,)), _dice_gradient((0, 1)), "example", "class"),
    "loss-broadcast": lambda: SmallExample(
        np.abs(START - START[::-1])[:, None], np.abs(START[:, None] - START[None]), "output", "target"
    ),
    "gradient-stopped": lambda: SmallExample(
        GRADIENTS, GRADIENTS * (np.arange(6) >= 3)[:, None], "layer", "weight"
    ),
    "sgd-learning-rate-in-buffer": lambda: _steps(_momentum(True), _momentum(False)),
    "adam-epsilon": lambda: _steps(_adam(scale=1e-6), _adam(False, scale=1e-6)),
    "weight-decay-coupling": lambda: _steps(_adam(decay=0.1), _adam(decay=0.1, coupled=True)),
    "gradient-clipping": lambda: _steps(
        GRADIENTS / np.maximum(np.abs(GRADIENTS), 1), GRADIENTS / np.maximum(np.linalg.norm(GRADIENTS, axis=0), 1)
    ),
}  # fmt: skip
"""By the cause's name."""
