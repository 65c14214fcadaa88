"""From outputs and label maps to masks: where each class is predicted, and where it is true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError, SettingsError

Masks: TypeAlias = NDArray[np.bool_]
ACTIVATIONS = ("logits", "values", "softmax")


def one_hot(labels: NDArray[np.integer], classes: int, ignore: int | None = 255) -> tuple[Masks, Masks]:
    """A map of class indices as one mask a class, and which of its pixels count.

    Shapes: labels (N, H, W); returns (N, classes, H, W) and (N, H, W).
    Args:
        labels: class indices 0..classes-1, and `ignore` where a pixel has no label.
        classes: number of classes.
        ignore: the value of pixels that do not count; None where every pixel has a label.
    Returns: the masks, empty at ignored pixels, and the valid pixels.
    Raises:
        DataError: a label that is neither a class nor `ignore`.
    """
    valid = np.ones(labels.shape, bool) if ignore is None else labels != ignore
    wrong = valid & ((labels < 0) | (labels >= classes))
    if wrong.any():
        raise DataError(
            f"labels must be in 0..{classes - 1} or ignore={ignore}; got {np.unique(labels[wrong])[:5].tolist()} "
            f"at {np.count_nonzero(wrong)} pixels, the first {tuple(np.argwhere(wrong)[0].tolist())}. "
            "Run python -m datasets.lint on the data."
        )
    masks = (labels[:, None] == np.arange(classes)[:, None, None]) & valid[:, None]
    return masks, valid


def decide(
    outputs: NDArray[np.floating], activation: str = "logits", mask_values: Sequence[float] | None = None
) -> Masks:
    """Where each class is predicted.

    Shapes: outputs (N, C, H, W); returns (N, C, H, W).
    Args:
        outputs: what the network gives.
        activation: "logits" of independent masks: above 0; "values" in units of mask values: above half of the
            class's value; "softmax", classes that exclude each other: the first of the greatest.
        mask_values: the classes' values; "values" needs them.
    """
    check_activation(activation, outputs.shape[1], mask_values)
    if activation == "softmax":
        return one_hot(outputs.argmax(axis=1), outputs.shape[1], None)[0]
    if activation == "values":
        return np.asarray(outputs > np.asarray(mask_values, outputs.dtype)[:, None, None] / 2)
    return np.asarray(outputs > 0)


def raw_values(
    outputs: NDArray[np.floating], activation: str, mask_values: Sequence[float]
) -> NDArray[np.floating]:
    """Outputs in the lecture's units: the expected mask value of every pixel.

    Shapes: outputs (N, C, H, W); returns (N, C, H, W).
    Args:
        outputs: what the network gives.
        activation: "values" as they are; "logits": the probability times the class's value.
        mask_values: the classes' values.
    """
    check_activation(activation, outputs.shape[1], mask_values)
    if activation == "softmax":
        raise SettingsError("activation must be logits or values for raw values; got activation=softmax.")
    if activation == "values":
        return outputs
    # Of two forms, the one whose exponential cannot overflow.
    small = np.exp(-np.abs(outputs))
    probability = np.where(outputs >= 0, 1, small) / (1 + small)
    return probability * np.asarray(mask_values, outputs.dtype)[:, None, None]


def check_activation(activation: str, classes: int, mask_values: Sequence[float] | None) -> None:
    """Refuse an unknown activation, and mask values that are missing or not one a class."""
    if activation not in ACTIVATIONS:
        raise SettingsError(f"activation must be one of {ACTIVATIONS}; got activation={activation!r}.")
    if activation == "values" and mask_values is None:
        raise SettingsError("activation='values' needs mask_values; got mask_values=None. Give one a class.")
    if mask_values is not None and len(mask_values) != classes:
        raise SettingsError(
            f"mask_values must be {classes}, one a class; got mask_values={tuple(mask_values)}."
        )
