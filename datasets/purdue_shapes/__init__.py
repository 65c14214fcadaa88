"""The PurdueShapes5MultiObject data set: images of overlapping shapes, to be drawn, written and read."""

from __future__ import annotations

from datasets.errors import DatasetError
from datasets.purdue_shapes.cache import load
from datasets.purdue_shapes.data import CLASSES, MASK_VALUES, Data, constant_mse
from datasets.purdue_shapes.generator import generate
from datasets.purdue_shapes.pickle_format import save

__all__ = ["CLASSES", "MASK_VALUES", "Data", "DatasetError", "constant_mse", "generate", "load", "save"]
