"""Polygons of a GeoJSON file as pixels of a picture."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.bounds.damaged import DamagedFile
from datasets.bounds.survival import check_survival
from datasets.errors import DataError
from datasets.files import ROOM, extra, read_json
from datasets.tiles.tiff import quiet
from datasets.tiles.tiff_head import check_head

Floats = NDArray[np.float64]
SCALE, TIEPOINT, TRANSFORMATION = 33550, 33922, 34264  # GeoTIFF's tags
MOST = 10**10
"""Lines of a polygon times rows of the picture: GDAL looks at each line in each row."""
OVER = 1000
"""Times that the windows of all polygons may cover the picture."""
LARGEST = 256 * 2**20
"""Bytes of the largest GeoJSON file that is read."""
SURFACE = 2  # dimensions of a polygon, to shapely


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
    """Where a picture lies, by its GeoTIFF tags or by the world file next to it.

    Raises:
        DataError: no picture, or one that nothing places.
        MissingExtra: rasterio is not installed.
    Source: OGC GeoTIFF 1.1; GDAL reads it, tags that speak of pixels' centres included.
    """
    library, tiff = extra("rasterio", "tiles"), extra("tifffile", "tiles")
    try:
        check_head(path)
        check_survival(path, "datasets.tiles.tiff:open_tiff")
        check_survival(path, "datasets.tiles.tiff:open_by_gdal")
        with quiet("tifffile"), tiff.TiffFile(path) as file:
            tags = {SCALE, TIEPOINT, TRANSFORMATION} & {tag.code for tag in file.pages[0].tags}
        with warnings.catch_warnings(), quiet("rasterio"):
            warnings.simplefilter("ignore", library.errors.NotGeoreferencedWarning)  # it is refused below
            with library.open(path, driver="GTiff") as file:
                transform, crs, sidecars = file.transform, file.crs, len(file.files) > 1
                epsg = crs.to_epsg() if crs else None
    except Exception as error:  # both raise anything on a damaged file
        raise DataError(
            "polygons in the world's coordinates must have a GeoTIFF; got "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]} at {path}. "
            "Give --pixels where they are columns and rows of the picture."
        ) from error
    # GDAL would silently place a scale alone at the origin.
    if transform.is_identity or not (tags & {TIEPOINT, TRANSFORMATION} or sidecars):
        raise DataError(
            "a GeoTIFF must have ModelPixelScale and ModelTiepoint, or ModelTransformation; got "
            f"{sorted(tags) or 'none of them'} and no world file at {path}. Rectify it (gdalwarp), or give --pixels."
        )
    matrix = np.array([[transform.a, transform.b], [transform.d, transform.e]])
    if not np.isfinite(matrix).all() or np.linalg.det(matrix) == 0:
        raise DataError(
            f"a pixel must have a size; got {matrix.tolist()} at {path}. Correct the file's tags."
        )
    return Placement(matrix, np.array([transform.c, transform.f]), epsg)


@dataclass(frozen=True, eq=False)
class Polygons:
    """The polygons of a file.

    Args:
        shapes: the polygons, shapely's.
        properties: of the feature that each belongs to.
        left_out: features that are no polygons.
        crs: the number of their coordinate system in the EPSG's list, where the file says it.
        where: the file's path.
    """

    shapes: list[Any]
    properties: list[dict[str, Any]]
    left_out: int
    crs: int | None
    where: str

    def bounds(self) -> Floats:
        """(2, 2): the least and the greatest x and y."""
        return np.asarray(extra("shapely", "tiles").total_bounds(self.shapes), np.float64).reshape(2, 2)


def read_polygons(path: Path) -> Polygons:
    """The polygons of a GeoJSON file: of collections, features, or bare geometries.

    Args:
        path: of the file, at most 256 MiB; its values may take 2 GiB of memory.
    Raises:
        DataError: no such file, one that is too large, no GeoJSON, or no polygon in it.
    Source: RFC 7946; its predecessor of 2008 for "crs".
    """
    library = extra("shapely", "tiles")
    try:
        found = _polygons(path)
        if not library.is_valid(found.shapes).all():
            # GEOS cuts each line with each other one: their number is the square of the file's size.
            check_survival(path, "datasets.tiles.polygons:make_all_valid", memory=ROOM)
    except Exception as error:  # what JSON holds may be anything, and shapely has errors of its own
        raise DataError(
            "polygons must be GeoJSON with Polygon or MultiPolygon; got "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]} at {path}. Check the file."
        ) from error
    return found


def make_all_valid(path: Path) -> None:
    """Compute the surface of each polygon whose lines cross. It runs in the helper."""
    for shape in _polygons(path).shapes:
        if not shape.is_valid:
            _valid(shape)


def _polygons(path: Path) -> Polygons:
    library = extra("shapely", "tiles")
    content = read_json(path, LARGEST)
    shapes, properties, left_out = [], [], 0
    for geometry, own in _geometries(content, {}):
        if geometry["type"] not in ("Polygon", "MultiPolygon"):
            left_out += 1
            continue
        parts = library.get_parts(library.force_2d(_shape(geometry))).tolist()
        shapes += parts
        properties += [own] * len(parts)
    if not shapes:
        raise DamagedFile(f"no polygon, {left_out} other geometries")
    number = _crs(content.get("crs"))
    return Polygons(shapes, properties, left_out, number, str(path))


def _crs(named: Any) -> int | None:
    """The number of a coordinate system in the EPSG's list, where the text of "crs" has one."""
    text = json.dumps(named)
    number = re.search(r"EPSG:+(\d{1,9})\b", text, re.IGNORECASE)
    return 4326 if "CRS84" in text else int(number[1]) if number else None


def _geometries(item: dict[str, Any], own: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every geometry in an object of GeoJSON, with the properties of the feature that it belongs to."""
    kind = item["type"]
    if kind == "FeatureCollection":
        for feature in item["features"]:
            yield from _geometries(feature, {})
    elif kind == "Feature":
        properties = item.get("properties") or {}
        if not isinstance(properties, dict):
            raise DamagedFile("a feature's properties must be an object or null")
        yield from _geometries(item["geometry"] or {"type": "nothing"}, properties)
    elif kind == "GeometryCollection":
        for geometry in item["geometries"]:
            yield from _geometries(geometry, own)
    else:
        yield item, own


def _shape(geometry: dict[str, Any]) -> Any:
    """A geometry as shapely's, with at least one ring and numbers alone."""
    library = extra("shapely", "tiles")
    shape = extra("shapely.geometry", "tiles").shape(geometry)
    rings = library.get_rings(library.get_parts(shape))
    if (
        not len(rings)
        or library.is_empty(rings).any()
        or not np.isfinite(library.get_coordinates(rings)).all()
    ):
        raise DamagedFile("a ring without points, or with points that are no numbers")
    return shape


def rasterised(
    polygons: Polygons, place: Placement, size: tuple[int, int]
) -> tuple[NDArray[np.int32], list[int]]:
    """For each pixel the number, from 1, of the polygon that contains its centre: the last of several, 0 for none.

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
    counts, left = [], OVER * found.size
    for number, shape in enumerate(polygons.shapes, 1):
        try:
            window, inside = _inside(extra("shapely", "tiles").transform(shape, place.pixels), size)
        except Exception as error:  # GEOS and GDAL have errors of their own for what they cannot compute with
            raise DataError(
                f"a polygon must be one that can be drawn; got {type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]} for polygon {number} of {polygons.where}. Correct its points."
            ) from error
        left -= inside.size
        if left < 0:
            raise DataError(
                f"polygons must cover a picture at most {OVER} times; got more at {polygons.where}. Leave copies out."
            )
        found[window][inside] = number
        counts.append(int(np.count_nonzero(inside)))
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


def _inside(shape: Any, size: tuple[int, int]) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Which pixels' centres lie in a polygon of columns and rows: a window of the picture, and a mask of it.

    A centre that lies on the edge of two polygons is in one of them.
    """
    library = extra("shapely", "tiles")
    if not shape.is_valid:
        shape = _valid(shape)
    parts = [part for part in library.get_parts(shape) if library.get_dimensions(part) == SURFACE]
    # Drawn in its own rows and columns: a map has thousands of small polygons.
    bounds = np.nan_to_num(library.total_bounds(library.GeometryCollection(parts)))
    left, top = np.floor(bounds[:2]).clip(0, size[::-1]).astype(int).tolist()
    right, bottom = np.ceil(bounds[2:]).clip(0, size[::-1]).astype(int).tolist()
    window = slice(top, bottom), slice(left, right)
    if right <= left or bottom <= top:
        return window, np.zeros((max(bottom - top, 0), max(right - left, 0)), bool)
    if (lines := library.get_num_coordinates(parts).sum() * (bottom - top)) > MOST:
        raise DamagedFile(f"{lines} crossings of lines and rows, more than {MOST}")
    moved = extra("rasterio", "tiles").Affine.translation(left, top)
    draw = extra("rasterio.features", "tiles").rasterize
    return window, np.asarray(draw(parts, out_shape=(bottom - top, right - left), transform=moved) == 1)


def _valid(shape: Any) -> Any:
    """The surface of a polygon whose outline crosses itself, or which a hole leaves."""
    library = extra("shapely", "tiles")
    rings = [shape.exterior, *shape.interiors]
    outline, *holes = (library.make_valid(library.Polygon(ring)) for ring in rings)
    return outline.difference(library.union_all(holes))


def _span(bounds: Floats) -> str:
    (left, low), (right, high) = bounds.tolist()
    return f"x {left:.10g}..{right:.10g}, y {low:.10g}..{high:.10g}"
