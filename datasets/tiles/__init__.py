"""Large pictures and their labels, cut into tiles in VOC's layout."""

from __future__ import annotations

from datasets.tiles.command import (
    KEPT,
    Part,
    Placement,
    Polygons,
    Scale,
    bordered,
    classes_of_labels,
    classes_of_polygons,
    cut,
    main,
    parts_of,
    placement,
    rasterised,
    read_bands,
    read_label_picture,
    read_polygons,
)

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
