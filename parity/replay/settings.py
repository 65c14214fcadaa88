"""Hyperparameters that mean the same on both sides under different names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# (Keras name, torch name)
CORRESPONDING: tuple[tuple[str, str], ...] = (
    ("epsilon", "eps"),
    ("strides", "stride"),
    ("stride", "stride"),
    ("dilation_rate", "dilation"),
    ("dilation", "dilation"),
    ("groups", "groups"),
    ("negative_slope", "negative_slope"),
    ("output_padding", "output_padding"),
    ("size", "scale_factor"),
)


def differing_settings(keras: Mapping[str, Any], torch: Mapping[str, Any]) -> list[str]:
    """What is set differently, in words."""
    texts = []
    for keras_name, torch_name in CORRESPONDING:
        if keras_name in keras and torch_name in torch and not _same(keras[keras_name], torch[torch_name]):
            texts.append(
                f"{keras_name}={keras[keras_name]} in Keras, {torch_name}={torch[torch_name]} in torch"
            )
    return texts


def _same(keras: Any, torch: Any) -> bool:
    """Equal, where 2 and (2, 2) mean the same; settings that are not numbers are not judged."""
    a, b = _numbers(keras), _numbers(torch)
    if not a or not b:
        return True
    size = max(len(a), len(b))
    return (a * size if len(a) == 1 else a) == (b * size if len(b) == 1 else b)


def _numbers(value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, tuple | list) else (value,)
    return tuple(float(v) for v in values) if all(isinstance(v, int | float) for v in values) else ()
