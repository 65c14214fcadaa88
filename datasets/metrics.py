"""The scores of masks, by their short name: `datasets.scores.metrics`."""

from __future__ import annotations

from datasets.scores.metrics import (
    ACTIVATIONS,
    BOUNDARY,
    PER_CLASS,
    SegmentationMetrics,
    boundary,
    boundary_distance,
    boxes_of,
    check_activation,
    check_width,
    class_names,
    decide,
    flat,
    one_hot,
    raw_values,
    scores,
)

__all__ = [
    "ACTIVATIONS",
    "BOUNDARY",
    "PER_CLASS",
    "SegmentationMetrics",
    "boundary",
    "boundary_distance",
    "boxes_of",
    "check_activation",
    "check_width",
    "class_names",
    "decide",
    "flat",
    "one_hot",
    "raw_values",
    "scores",
]
