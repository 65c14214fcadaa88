"""Pictures of attention, recurrence, and the order of values."""

from __future__ import annotations

import numpy as np

from parity.causes.known.pictures.picture import CHANNELS, IMAGE, Made, SmallExample, channels, drawn, softmax
from parity.core.types import Array

QUERIES, KEYS, VALUES = (drawn(6, 8, seed=seed) for seed in (11, 12, 13))
SCORES = QUERIES @ KEYS.T
TOKENS = drawn(10, 3, seed=14)
INPUT, STATE, RESET = (drawn(6, n, seed=15 + n) * 0.8 for n in (3, 6, 7))
LOWER = np.tril(np.ones((6, 6), bool))


def _shares(keras: Array, torch: Array) -> SmallExample:
    return SmallExample(keras, torch, "query", "key")


def _tokens(keras: Array, torch: Array) -> SmallExample:
    return SmallExample(keras, torch, "token", "feature")


def _steps(keras: Array, torch: Array) -> SmallExample:
    return SmallExample(keras, torch, "unit", "time step")


def _heads(count: int) -> Array:
    q, k, v = (each.reshape(6, count, -1).swapaxes(0, 1) for each in (QUERIES, KEYS, VALUES))
    found = softmax(q @ k.swapaxes(1, 2) / np.sqrt(8 / count)) @ v
    return found.swapaxes(0, 1).reshape(6, 8)


def _rotated(pairs: bool, base: float = 10_000.0) -> Array:
    angles = np.arange(6)[:, None] * base ** (-np.arange(4) / 4)
    a, b = (QUERIES[:, ::2], QUERIES[:, 1::2]) if pairs else (QUERIES[:, :4], QUERIES[:, 4:])
    first, second = a * np.cos(angles) - b * np.sin(angles), a * np.sin(angles) + b * np.cos(angles)
    return np.stack([first, second], -1).reshape(6, 8) if pairs else np.concatenate([first, second], 1)


def _positions(start: int) -> Array:
    angles = np.arange(start, start + 6)[:, None] * 10_000.0 ** (-np.arange(4) / 4)
    return np.concatenate([np.sin(angles), np.cos(angles)], 1)


def _cell(bias: float = 0.0, start: float = 0.0, steps: int = 10, backwards: bool = False) -> Array:
    state, found = np.full(6, start), []
    for token in TOKENS[:steps][::-1] if backwards else TOKENS[:steps]:
        state = np.tanh(INPUT @ token + STATE @ state + bias)
        found.append(state)
    return np.stack(found + [state] * (10 - steps), axis=1)


def _gru(exchanged: bool = False, after: bool = True) -> Array:
    """The states of a GRU whose update gate comes first, or second; it resets behind the product, or in front."""
    state, found = np.zeros(6), []
    for token in TOKENS:
        update, reset = (1 / (1 + np.exp(-(INPUT @ token * s + STATE @ state))) for s in (1.0, -2.0))
        if exchanged:
            update, reset = reset, update
        inner = reset * (STATE @ state) if after else STATE @ (reset * state)
        state = update * state + (1 - update) * np.tanh(INPUT @ token + inner)
        found.append(state)
    return np.stack(found, axis=1)


def _frames(window: Array, offset: int = 0) -> Array:
    signal = np.pad(drawn(64, seed=19), (offset, 16))
    frames = np.stack([signal[6 * i : 6 * i + 10] * window for i in range(10)], axis=1)
    return np.abs(np.fft.rfft(frames, axis=0))


def _hann(periodic: bool) -> Array:
    return np.hanning(11)[:10] if periodic else np.hanning(10)


PICTURES: dict[str, Made] = {
    "attention-scale": lambda: _shares(softmax(SCORES / np.sqrt(8)), softmax(SCORES)),
    "attention-mask": lambda: _shares(
        softmax(np.where(LOWER, SCORES, -1e9)),
        softmax(np.where(~LOWER | np.eye(6, dtype=bool), SCORES, -1e9)),
    ),
    "head-count": lambda: _tokens(_heads(2), _heads(4)),
    "key-dim": lambda: _tokens(QUERIES @ drawn(8, 16), QUERIES @ drawn(8, 8)),
    "rotary-convention": lambda: _tokens(_rotated(False), _rotated(True)),
    "rotary-base": lambda: _tokens(_rotated(False), _rotated(False, 500_000.0)),
    "position-offset": lambda: _tokens(_positions(0), _positions(2)),
    "softmax-precision": lambda: _shares(
        softmax(SCORES), softmax(SCORES.astype(np.float32)).astype(np.float64)
    ),
    "axis-order": lambda: _tokens(IMAGE, IMAGE.reshape(10, 6).T),
    "axis-value": lambda: channels(np.cumsum(CHANNELS, 1), np.cumsum(CHANNELS, 0)),
    "stft-window": lambda: SmallExample(_frames(_hann(True)), _frames(_hann(False)), "frequency", "frame"),
    "stft-frames": lambda: SmallExample(_frames(_hann(True)), _frames(_hann(True), 5), "frequency", "frame"),
    "slice-offset": lambda: SmallExample(IMAGE[:, :9], IMAGE[:, 1:]),
    "flatten-order": lambda: SmallExample(IMAGE, IMAGE.T.reshape(6, 10), "vector", "value"),
    "concat-order": lambda: channels(IMAGE, np.concatenate([IMAGE[2:], IMAGE[:2]])),
    "skip-missing": lambda: channels(IMAGE + CHANNELS, IMAGE),
    "channel-order": lambda: channels(IMAGE[:3], IMAGE[2::-1]),
    "gate-order": lambda: _steps(_gru(), _gru(exchanged=True)),
    "recurrent-bias": lambda: _steps(_cell(0.5), _cell(0.2)),
    "reset-after": lambda: _steps(_gru(after=False), _gru()),
    "initial-state": lambda: _steps(_cell(start=0.9), _cell()),
    "sequence-mask": lambda: _steps(_cell(steps=6), _cell()),
    "sequence-direction": lambda: _steps(_cell(), _cell()[:, ::-1]),
    "sequence-step": lambda: SmallExample(_cell()[:, 5:6].T, _cell()[:, 9:].T, "example", "unit"),
}
"""By the cause's name."""
