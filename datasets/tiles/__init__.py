"""Large pictures and their labels, cut into tiles in VOC's layout."""

from __future__ import annotations

from datasets.tiles.command import classes_of_labels, classes_of_polygons, main
from datasets.tiles.cutting import KEPT, Part, bordered, cut, parts_of
from datasets.tiles.pictures import Scale, read_bands, read_label_picture
from datasets.tiles.polygons import Placement, Polygons, placement, rasterised, read_polygons

__all__ = [
    "KEPT",
    "Part",
    "Placement",
    "Polygons",
    "Scale",
    "bordered",
    "classes_of_labels",
    "classes_of_polygons",
    "cut",
    "main",
    "parts_of",
    "placement",
    "rasterised",
    "read_bands",
    "read_label_picture",
    "read_polygons",
]
