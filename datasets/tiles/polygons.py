"""Polygons of a GeoJSON file as pixels of a picture."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError
from datasets.files import extra

Floats = NDArray[np.float64]
SCALE, TIEPOINT, TRANSFORMATION, KEYS = 33550, 33922, 34264, 34735  # GeoTIFF's tags
RASTER, GEOGRAPHIC, PROJECTED = 1025, 2048, 3072  # keys in the last one
POINT, USER_DEFINED = 2, 32767


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a picture lies: (x, y) = matrix @ (column, row) + shift, columns and rows counted from its outer corner.

    Shapes: matrix (2, 2), shift (2,).
    Args:
        matrix, shift: of one pixel; the defaults leave pixels as they are.
        crs: the number of its coordinate system in the EPSG's list, where it is known.
    """

    matrix: Floats = field(default_factory=lambda: np.eye(2))
    shift: Floats = field(default_factory=lambda: np.zeros(2))
    crs: int | None = None

    def pixels(self, points: Floats) -> Floats:
        """Columns and rows (n, 2) of points (n, 2)."""
        return np.asarray(np.linalg.solve(self.matrix, (points - self.shift).T).T, np.float64)

    def points(self, pixels: Floats) -> Floats:
        """Points (n, 2) of columns and rows (n, 2)."""
        return pixels @ self.matrix.T + self.shift


def placement(path: Path) -> Placement:
    """Where a GeoTIFF's tags put the picture.

    Raises:
        DataError: no TIFF, or one without such tags.
    Source: OGC GeoTIFF 1.1, sections 7.1.2 (raster space) and 7.3 (the tags).
    """
    library = extra("tifffile")
    try:
        with library.TiffFile(path) as file:
            page = file.pages[0]
            tags = {
                code: page.tags[code].value
                for code in (SCALE, TIEPOINT, TRANSFORMATION, KEYS)
                if code in page.tags
            }
    except (OSError, ValueError, IndexError, library.TiffFileError) as error:
        raise DataError(
            f"polygons in the world's coordinates must have a GeoTIFF; got {type(error).__name__}: {error} at {path}. "
            "Give --pixels where they are columns and rows of the picture."
        ) from error
    if TRANSFORMATION in tags:
        whole = np.array(tags[TRANSFORMATION], float).reshape(4, 4)
        matrix, shift = whole[:2, :2], whole[:2, 3]
    elif SCALE in tags and TIEPOINT in tags:
        across, down = tags[SCALE][:2]
        column, row, _, x, y = tags[TIEPOINT][:5]
        matrix = np.diag([across, -down])
        shift = np.array([x, y]) - matrix @ [column, row]
    else:
        raise DataError(
            "a GeoTIFF must have ModelPixelScale and ModelTiepoint, or ModelTransformation; got "
            f"{sorted(tags) or 'none of them'} at {path}. Rectify it (gdalwarp), or give --pixels."
        )
    if not np.isfinite(matrix).all() or np.linalg.det(matrix) == 0:
        raise DataError(f"a pixel must have a size; got {matrix.tolist()} at {path}. Mend the file's tags.")
    keys = _keys(tags.get(KEYS, ()))
    if keys.get(RASTER) == POINT:  # the tags speak of pixels' centres
        shift = shift - matrix @ [0.5, 0.5]
    crs = keys.get(PROJECTED) or keys.get(GEOGRAPHIC)
    return Placement(matrix, shift, None if crs == USER_DEFINED else crs)


def _keys(directory: Sequence[int]) -> dict[int, int]:
    """The short values of a GeoKeyDirectory: after a head of four, rows of key, place, count, value."""
    rows = [directory[start : start + 4] for start in range(4, len(directory) - 3, 4)]
    return {int(key): int(value) for key, place, _, value in rows if place == 0}


@dataclass(frozen=True, eq=False)
class Polygons:
    """The polygons of a file.

    Args:
        rings: of each its rings, (n, 2) of x and y; the first is its outline, the others are holes.
        properties: of the feature that each belongs to.
        left_out: features that are no polygons.
        crs: the number of their coordinate system in the EPSG's list, where the file says it.
        where: the file's path.
    """

    rings: list[list[Floats]]
    properties: list[dict[str, Any]]
    left_out: int
    crs: int | None
    where: str

    def bounds(self) -> Floats:
        """(2, 2): the least and the greatest x and y."""
        every = np.concatenate([ring for rings in self.rings for ring in rings])
        return np.stack([every.min(axis=0), every.max(axis=0)])


def read_polygons(path: Path) -> Polygons:
    """The polygons of a GeoJSON file: of collections, features, or bare geometries.

    Raises:
        DataError: no such file, or no polygon in it.
    Source: RFC 7946; its predecessor of 2008 for "crs".
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        rings, properties, left_out = [], [], 0
        for kind, coordinates, own in _geometries(content, {}):
            if kind not in ("Polygon", "MultiPolygon"):
                left_out += 1
                continue
            for polygon in [coordinates] if kind == "Polygon" else coordinates:
                rings.append([_ring(ring) for ring in polygon])
                properties.append(own)
        if not all(rings) or not rings:
            raise ValueError(f"{len(rings)} polygons, {left_out} other geometries")
        named = json.dumps(content.get("crs"))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"polygons must be GeoJSON with Polygon or MultiPolygon; got {type(error).__name__}: {error} at {path}. "
            "Check the file."
        ) from error
    number = re.search(r"EPSG:+(\d+)", named, re.IGNORECASE)
    crs = 4326 if "CRS84" in named else int(number[1]) if number else None
    return Polygons(rings, properties, left_out, crs, str(path))


def _geometries(item: dict[str, Any], own: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Kind, coordinates and the feature's properties of every geometry in an object of GeoJSON."""
    kind = item["type"]
    if kind == "FeatureCollection":
        for feature in item["features"]:
            yield from _geometries(feature, {})
    elif kind == "Feature":
        yield from _geometries(item["geometry"] or {"type": "nothing"}, item.get("properties") or {})
    elif kind == "GeometryCollection":
        for geometry in item["geometries"]:
            yield from _geometries(geometry, own)
    else:
        yield kind, item.get("coordinates"), own


def _ring(points: list[list[float]]) -> Floats:
    """(n, 2) of a ring; heights are left out."""
    ring = np.array([point[:2] for point in points], float)
    if ring.ndim != 2 or ring.shape[0] < 3 or ring.shape[1] != 2 or not np.isfinite(ring).all():
        raise ValueError(f"a ring of {len(points)} points that encloses nothing")
    return ring


def rasterised(
    polygons: Polygons, place: Placement, size: tuple[int, int]
) -> tuple[NDArray[np.int32], list[int]]:
    """The number of the polygon that each pixel's centre lies in, counted from 1; the last of several, and 0 of none.

    Shapes: returns (H, W), and the pixels of each polygon.
    Args:
        polygons: in the coordinates of `place`.
        place: where the picture lies.
        size: H and W of the picture.
    Raises:
        DataError: another coordinate system, or no polygon with a pixel of the picture.
    """
    if polygons.crs and place.crs and polygons.crs != place.crs:
        raise DataError(
            f"polygons must be in the picture's coordinate system, EPSG {place.crs}; got EPSG {polygons.crs} at "
            f"{polygons.where}. Convert them (ogr2ogr -t_srs EPSG:{place.crs})."
        )
    found = np.zeros(size, np.int32)
    counts = []
    for number, rings in enumerate(polygons.rings, 1):
        outline, *holes = (_inside(place.pixels(ring), size) for ring in rings)
        for hole in holes:
            outline = np.setdiff1d(outline, hole, assume_unique=True)
        found.flat[outline] = number
        counts.append(len(outline))
    if not any(counts):
        corners = place.points(np.array([[0, 0], [size[1], 0], [0, size[0]], size[::-1]], float))
        span = _span(np.stack([corners.min(axis=0), corners.max(axis=0)]))
        known = f" (EPSG {place.crs})" if place.crs else ""
        raise DataError(
            f"a polygon must cover the centre of a pixel; got none of {len(counts)} at {polygons.where}: they span "
            f"{_span(polygons.bounds())}, the picture {span}. Give polygons in the picture's coordinates{known}, or "
            "--pixels where they are columns and rows."
        )
    return found, counts


def _inside(ring: Floats, size: tuple[int, int]) -> NDArray[np.int64]:
    """The pixels, counted along the rows, whose centres a ring of columns and rows (n, 2) encloses."""
    columns, rows = ring.T - 0.5  # of a pixel's centre both are whole numbers
    found = extra("skimage.draw").polygon(rows, columns, size)
    return np.asarray(found[0] * size[1] + found[1], np.int64)


def _span(bounds: Floats) -> str:
    (left, low), (right, high) = bounds.tolist()
    return f"x {left:.10g}..{right:.10g}, y {low:.10g}..{high:.10g}"
