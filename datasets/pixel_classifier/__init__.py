"""The lecture's maximum-likelihood pixel classifier, as a baseline."""

from __future__ import annotations

from datasets.pixel_classifier.command import (
    FEATURES,
    KINDS,
    Moments,
    PixelClassifier,
    features_of,
    label_map,
    main,
)

__all__ = ["FEATURES", "KINDS", "Moments", "PixelClassifier", "features_of", "label_map", "main"]
