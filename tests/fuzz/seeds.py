"""Sound files of every kind that is read here, as small as they can be: what the mutations begin with."""

from __future__ import annotations

import io
import json
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datasets.purdue_shapes import Data
from datasets.purdue_shapes.cache import write_cache
from datasets.purdue_shapes.data import LABEL_MAP, MASK_VALUES

SOURCE: list[int | str] = [7, 8, "0011223344556677"]
"""Of which file the pixel cache is."""


def written(name: str, write: Callable[[Path], object]) -> bytes:
    """The bytes of a file that a function writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def report() -> bytes:
    """A report's JSON with one finding that has blueprints."""
    config = {"module": "keras.layers", "class_name": "ReLU", "config": {"negative_slope": 0.5}}
    finding = {
        "keras": "a", "torch": "a", "kind": "layer", "cause": None, "evidence": "e",
        "tensors": ["keras_output.0"],
        "blueprint": {
            "keras": {"config": config, "training": False, "list": False},
            "torch": [{"class": "LeakyReLU", "arguments": {"negative_slope": 0.5}}],
        },
    }  # fmt: skip
    environment = {"keras backend": "jax"}
    return json.dumps(
        {"findings": [finding], "tensors_file": "t.safetensors", "environment": environment}
    ).encode()


def tensors() -> bytes:
    """The tensors of that finding."""
    from safetensors.numpy import save

    return save({"1.keras_output.0": np.zeros((1, 2)), "1.torch_output.0": np.ones((1, 2))})


def geojson() -> list[bytes]:
    """A collection with properties and a coordinate system, and bare geometries."""
    ring = [[2.0, 2.0], [20.0, 2.5], [18.0, 18.0], [2.0, 2.0]]
    feature = {
        "type": "Feature",
        "properties": {"class": "house"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    several = {"type": "MultiPolygon", "coordinates": [[ring], [[[x + 9, y] for x, y in ring]]]}
    return [
        json.dumps({"type": "FeatureCollection", "features": [feature], "crs": crs}).encode(),
        json.dumps({"type": "GeometryCollection", "geometries": [several]}).encode(),
    ]


def pictures() -> list[bytes]:
    """A palette picture, a grey one and a coloured one."""
    from PIL import Image

    found = []
    for mode, form in (("P", "PNG"), ("L", "PNG"), ("RGB", "PNG"), ("I;16", "PNG"), ("RGB", "JPEG")):
        held = io.BytesIO()
        shape = (6, 5, 3) if mode == "RGB" else (6, 5)
        pixels = np.zeros(shape, np.uint16 if mode == "I;16" else np.uint8)
        picture = Image.fromarray(pixels)
        if mode == "P":
            picture.putpalette([0, 0, 0, 128, 0, 0])
        picture.save(held, form)
        found.append(held.getvalue())
    return found


def tiffs() -> list[bytes]:
    """A GeoTIFF, and a packed one of 16 bits."""
    import tifffile

    place = [(33550, "d", 3, (1.0, 1.0, 0.0)), (33922, "d", 6, (0.0, 0.0, 0.0, 5.0, 9.0, 0.0))]
    plain = written(
        "x.tif", lambda path: tifffile.imwrite(path, np.zeros((6, 5), np.uint8), extratags=[(*tag, True) for tag in place])
    )  # fmt: skip
    packed = written(
        "x.tif", lambda path: tifffile.imwrite(path, np.zeros((6, 5, 3), np.uint16), compression="zlib")
    )
    return [plain, packed]


def shapes() -> list[bytes]:
    """Pickles of two records, with lists and with arrays, of several protocols."""
    record: list[Any] = [
        [9] * 80,
        tuple([8] * 80),
        np.full(80, 7, np.int64),
        np.zeros((5, 8, 10), np.uint8),
        {value: [[1, 1, 3, 3]] if value == 50 else [] for value in MASK_VALUES},
    ]
    return [pickle.dumps([[record, record], LABEL_MAP], protocol) for protocol in (0, 2, 4, 5)]


def cache() -> bytes:
    """A pixel cache of two images."""
    data = Data(
        np.zeros((2, 3, 4, 3), np.uint8),
        np.zeros((2, 5, 3, 4), np.uint8),
        [[[[0, 0, 1, 1]], [], [], [], []]] * 2,
    )
    return written("x.cache", lambda path: write_cache(path, data, SOURCE))


def npz() -> bytes:
    """Two images with masks."""
    held = io.BytesIO()
    np.savez(held, images=np.zeros((2, 4, 5, 3), np.uint8), masks=np.zeros((2, 4, 5), np.uint8))
    return held.getvalue()


def config() -> bytes:
    """A run's configuration."""
    values = {
        "model": {"name": "mUnet", "arguments": {"depth": 2}}, "dtype": "float32", "classes": ["a", "b"],
        "recipe": {"loss": "cross-entropy", "inputs": "raw"}, "mask_values": [100, 200],
    }  # fmt: skip
    return json.dumps(values).encode()


def pipeline() -> bytes:
    """A pipeline as albumentations.save writes it."""
    flip = {"__class_fullname__": "HorizontalFlip", "p": 0.5}
    inner = {"__class_fullname__": "Compose", "p": 1.0, "transforms": [flip], "bbox_params": None}
    return json.dumps({"__version__": "2.0.8", "transform": inner}).encode()
