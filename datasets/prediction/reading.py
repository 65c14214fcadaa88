"""How a network's inputs are made and its outputs understood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError
from datasets.purdue_shapes import CLASSES, MASK_VALUES
from datasets.scores.decisions import Masks, decide, raw_values
from datasets.training.feeding import network_inputs
from datasets.training.recipe import ACTIVATIONS, INPUTS

Bytes: TypeAlias = NDArray[np.uint8]
Network: TypeAlias = Callable[[Bytes], NDArray[np.floating]]
"""Raw images (n, H, W, 3) of a size that the network takes, to its outputs (n, C, H, W)."""


@dataclass(frozen=True)
class Reading:
    """How a network's inputs are made and its outputs understood: what its training decided.

    Args:
        inputs: their units; see `datasets.training.feeding.network_inputs`.
        activation: of the outputs: "values" in units of mask values, "logits" of independent masks, "softmax"
            of classes that exclude each other, after the background where there is one output more.
        classes: their names.
        mask_values: the classes' values in the masks.
    """

    inputs: str
    activation: str
    classes: tuple[str, ...]
    mask_values: tuple[int, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Reading:
        """The reading that a run's configuration asks for; without a recipe, the lecture's.

        Raises:
            DataError: a loss or inputs without a meaning here.
        """
        recipe = config.get("recipe", {})
        recipe = recipe if isinstance(recipe, dict) else {"loss": recipe}
        loss, inputs = recipe.get("loss", "mse"), recipe.get("inputs", "raw")
        if loss not in list(ACTIVATIONS) or inputs not in list(INPUTS):
            raise DataError(
                f"a run's loss must be one of {', '.join(ACTIVATIONS)} and its inputs of {', '.join(INPUTS)}; "
                f"got loss={loss}, inputs={inputs}. Give the configuration that training wrote."
            )
        classes = config.get("classes", CLASSES)
        if (
            not isinstance(classes, list | tuple)
            or not classes
            or not all(isinstance(each, str) for each in classes)
        ):
            raise DataError(
                f"a run's classes must be a list of names; got {ascii(classes)[:80]} in its configuration. "
                "Give the configuration that training wrote."
            )
        default = MASK_VALUES if len(classes) == len(CLASSES) else (255,) * len(classes)
        values = config.get("mask_values", default)
        sound = isinstance(values, list | tuple) and len(values) == len(classes)
        if not sound or not all(type(each) is int and 0 < each < 256 for each in values):
            raise DataError(
                f"a run's mask_values must be a number in 1..255 for each class; got {ascii(values)[:80]} in its "
                "configuration. Give the configuration that training wrote."
            )
        return cls(inputs, ACTIVATIONS[loss], tuple(classes), tuple(values))

    def scaled(self, images: Bytes, dtype: str) -> NDArray[Any]:
        """Raw images, (N, H, W, 3), in the units that the network was trained on."""
        return network_inputs(images, self.inputs, dtype)

    def masks(
        self, outputs: NDArray[np.floating], threshold: float | None = None
    ) -> tuple[Masks, NDArray[np.floating], NDArray[np.floating]]:
        """What a network's outputs say.

        Shapes: outputs (N, C, H, W), or (N, C + 1, H, W) with the background first; returns three of (N, C, H, W).
        Args:
            outputs: as the network gives them.
            threshold: the least score of a class, 0..1; None is one half, and no threshold for classes that exclude each
                other.
        Returns: where each class is predicted; its score, about 0..1; the outputs in units of mask values.
        Raises:
            DataError: a number of outputs that does not fit the classes.
        """
        count, values = len(self.classes), np.asarray(self.mask_values, float)[:, None, None]
        exclusive = self.activation == "softmax"
        if outputs.shape[1] != count and not (exclusive and outputs.shape[1] == count + 1):
            raise DataError(
                f"a network must have one output for each of {', '.join(self.classes)}; "
                f"got {outputs.shape[1]} outputs. Check classes and num_classes in its config.json."
            )
        if exclusive:
            powers = np.exp(outputs.astype(np.float64) - outputs.max(axis=1, keepdims=True))
            shares = powers / powers.sum(axis=1, keepdims=True)
            scores, found = shares[:, -count:], decide(outputs, "softmax")[:, -count:]
            return found & (scores > (threshold or 0)), scores, scores * values
        raw = raw_values(outputs.astype(np.float64), self.activation, self.mask_values)
        scores = raw / values
        if threshold is None:
            return decide(outputs, self.activation, self.mask_values), scores, raw
        return scores > threshold, scores, raw


def padded(network: Network, images: Bytes, multiple: int) -> NDArray[np.floating]:
    """A network's outputs on images of any size: mirrored at the right and bottom up to a multiple, then cropped.

    Shapes: images (n, H, W, 3); returns (n, C, H, W).
    """
    height, width = images.shape[1:3]
    room = [(0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0)]
    return network(np.pad(images, room, mode="reflect"))[:, :, :height, :width]
