"""PASCAL VOC2012's segmentation data from its own folder, or your own data in that layout."""

from __future__ import annotations

from datasets.voc.checking import check
from datasets.voc.colours import CLASSES, NAMES, VOID, colour_map, colours_to_labels, labels_to_colours
from datasets.voc.command import main
from datasets.voc.files import LISTS, PARTS, picture_paths, read_labels
from datasets.voc.folder import CROP, MEAN, SMALL, STD, VOIDS, Crops, Voc, normalise
from datasets.voc.names import read_classes

__all__ = [
    "CLASSES",
    "CROP",
    "LISTS",
    "MEAN",
    "NAMES",
    "PARTS",
    "SMALL",
    "STD",
    "VOID",
    "VOIDS",
    "Crops",
    "Voc",
    "check",
    "colour_map",
    "colours_to_labels",
    "labels_to_colours",
    "main",
    "normalise",
    "picture_paths",
    "read_classes",
    "read_labels",
]
