"""Preprocessing that stands inside the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from parity.porting.to_torch.axes import images
from parity.porting.to_torch.piece import Member, ModuleText, hole
from parity.porting.to_torch.use import RefusedError, StepUse, literal


def rescaling(use: StepUse) -> None:
    """Rescaling by numbers, or by one number for each channel."""
    scale, offset = numbers(use.layer.scale), numbers(use.layer.offset)
    axes = use.axes(use.x)
    text = use.take(use.x, atom=True)
    if scale != 1.0:
        text = f"{text} * {_text(use, scale, axes, 'scale')}"
    if offset != 0.0:
        text = f"{text} + {_text(use, offset, axes, 'offset')}"
    use.give(text, axes, atom=scale == 1.0 and offset == 0.0, alias=scale == 1.0 and offset == 0.0)


def numbers(value: Any) -> Any:
    """A number, or a list of numbers."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list | tuple):
        flat = [float(item) for item in value]
        return flat[0] if len(set(flat)) == 1 else flat
    return float(value)


def _text(use: StepUse, value: Any, axes: Any, role: str) -> str:
    if not isinstance(value, list):
        return _fraction(value)
    behind = axes.rank - 1 - axes.torch(axes.rank - 1)
    use.piece.members.append(
        Member(f"{use.piece.name}_{role}", ModuleText("torch.tensor", {"data": [*value]}, ("data",)))
    )
    place = hole("m", len(use.piece.members) - 1)
    return f"{place}[:{', None' * behind}]" if behind else place


def _fraction(value: float) -> str:
    """1 / 255 is written so."""
    for bottom in (255, 127.5, 6, 3):
        if value == 1 / bottom:
            return f"(1 / {bottom})"
    return literal(value)


def normalization(use: StepUse) -> None:
    """Normalization along the last axis, with statistics that were given or adapted."""
    layer, rank = use.layer, len(use.x.shape)
    mean, variance = (_values(getattr(layer, name)) for name in ("mean", "variance"))
    if not layer._keep_axis and len(mean) == len(variance) == 1:
        std, text = max(variance[0] ** 0.5, 1e-7), use.take(use.x, atom=True)
        text = f"{text} * {literal(std)} + {literal(mean[0])}" if use.get("invert") else (
            f"({text} - {literal(mean[0])}) / {literal(std)}")  # fmt: skip
        return use.give(text, use.axes(use.x), atom=False)
    if use.get("invert") or tuple(layer._keep_axis) not in ((rank - 1,), (-1,)):
        raise RefusedError("a Normalization of axes that are not the last one, or turned round")
    made = use.module("Normalization", ("mean", "variance"), mean=mean, variance=variance)
    return use.give(f"{made}({use.as_images(use.x)})", images(rank))


def _values(tensor: Any) -> tuple[float, ...]:
    """Numbers of single precision, as they are written by hand."""
    return tuple(float(str(number)) for number in np.asarray(tensor).astype("float32").ravel())


def augmentation(use: StepUse) -> None:
    """What changes images at random in training."""
    raise RefusedError(
        "torch augments images in front of the model: build the Keras model without this layer, port that one, and "
        "augment where the data are read"
    )


AUGMENTATIONS = (
    "AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter",
    "RandomContrast", "RandomCrop", "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur",
    "RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation",
    "RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom",
)  # fmt: skip
"""The layers of Keras that change images at random."""
RULES = {"Rescaling": rescaling, "Normalization": normalization, **dict.fromkeys(AUGMENTATIONS, augmentation)}
