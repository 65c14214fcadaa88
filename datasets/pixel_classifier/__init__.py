"""The lecture's maximum-likelihood pixel classifier, as a baseline."""

from __future__ import annotations

from datasets.pixel_classifier.command import main
from datasets.pixel_classifier.features import FEATURES, features_of
from datasets.pixel_classifier.model import KINDS, Moments, PixelClassifier, label_map

__all__ = ["FEATURES", "KINDS", "Moments", "PixelClassifier", "features_of", "label_map", "main"]
