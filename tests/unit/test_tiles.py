"""Large annotated pictures become tiles: every pixel's class, place and value is what a hand or a loop gives."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio.errors
import tifffile
from PIL import Image

from datasets.errors import RunError
from datasets.tiles import (
    Placement,
    Scale,
    bordered,
    classes_of_labels,
    classes_of_polygons,
    cut,
    main,
    parts_of,
    placement,
    read_bands,
    read_label_picture,
    read_polygons,
)
from datasets.voc import Voc, check, labels_to_colours, read_labels

NAMES = ("background", "house")
SIZE = (9, 14)  # H, W
SCALE, TIEPOINT, TRANSFORMATION, KEYS = 33550, 33922, 34264, 34735


def geotiff(
    path: Path, pixels: Any, tags: dict[int, Sequence[float]], point: bool = False, crs: int = 32616
) -> Path:
    """A TIFF with tags that say where it lies."""
    keys = (1, 1, 0, 2, 1025, 0, 1, 1 + point, 3072, 0, 1, crs)
    extra: list[Any] = [(code, "d", len(value), tuple(value), True) for code, value in tags.items()]
    extra.append((KEYS, "H", len(keys), keys, True))
    tifffile.imwrite(path, pixels, extratags=extra, photometric="minisblack", planarconfig=None)
    return path


def placed(path: Path, point: bool = False) -> Path:
    """Pixels of 0.5 by 0.25, the first one's corner (or centre) at (100, 40)."""
    tags = {SCALE: (0.5, 0.25, 0.0), TIEPOINT: (0.0, 0.0, 0.0, 100.0, 40.0, 0.0)}
    return geotiff(path, np.zeros(SIZE, np.uint8), tags, point)


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    """A ring of columns and rows."""
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def world(ring: list[list[float]]) -> list[list[float]]:
    """Columns and rows in the coordinates of `placed`."""
    return [[100 + 0.5 * column, 40 - 0.25 * row] for column, row in ring]


def polygon(*rings: list[list[float]], **properties: Any) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": rings}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def geojson(path: Path, *features: Any, crs: str = "") -> Path:
    content: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if crs:
        content["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(content))
    return path


def drawn(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Class 1 in boxes of whole columns and rows."""
    labels = np.zeros(SIZE, np.uint8)
    for left, top, right, bottom in boxes:
        labels[top:bottom, left:right] = 1
    return labels


# ---- where tiles lie ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [("right", 0.3), ("bottom", 0.5), ("right", 0.0), ("bottom", 1.0)])
@pytest.mark.parametrize("stride", [None, (3, 2)])
def test_tiles_cover_all_and_no_pixel_is_in_both_lists(kept: tuple[str, float], stride: Any) -> None:
    counts = {name: np.zeros((21, 34), int) for name in ("train", "val")}
    for part in parts_of((21, 34), (7, 5), stride, kept):
        for top, left in part.corners:
            assert counts[part.name][top : top + 7, left : left + 5].shape == (7, 5)
            counts[part.name][top : top + 7, left : left + 5] += 1
    train, val = counts["train"] > 0, counts["val"] > 0
    assert not (train & val).any()
    assert (train | val).all()
    at = 24 if kept[0] == "right" else 10
    expected = np.zeros((21, 34), bool)
    expected[(slice(None), slice(at, None)) if kept[0] == "right" else slice(at, None)] = True
    assert np.array_equal(val, expected if 0 < kept[1] < 1 else np.full((21, 34), bool(kept[1])))


def test_corners_by_hand() -> None:
    train, val = parts_of((10, 20), (4, 5), (4, 3), ("right", 0.35))
    assert (train.rows, train.columns, val.columns) == ((0, 10), (0, 13), (13, 20))
    assert train.corners == tuple((top, left) for top in (0, 4, 6) for left in (0, 3, 6, 8))
    assert val.corners == tuple((top, left) for top in (0, 4, 6) for left in (13, 15))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tile": (0, 5)}, r"size must be 1 or more"),
        ({"stride": (1, 0)}, r"stride must be 1 or more"),
        ({"kept": ("left", 0.5)}, r"right or bottom and a share.*got kept=left 0\.5"),
        ({"kept": ("right", 1.5)}, r"a share of 0\.\.1; got kept=right 1\.5"),
        ({"kept": ("right", 0.2)}, r"part for val must hold a tile of 4x5; got 10x4 pixels of 10x20"),
        ({"kept": ("bottom", 0.7)}, r"part for train must hold a tile of 4x5; got 3x20 pixels"),
    ],
)
def test_tiles_that_do_not_fit_are_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(RunError, match=told):
        parts_of(**{"size": (10, 20), "tile": (4, 5), **change})


# ---- polygons -------------------------------------------------------------------------------------------------


def test_polygons_holes_and_several_at_once(tmp_path: Path) -> None:
    """Outlines on pixels' corners leave no pixel in doubt; heights and other geometries are left out."""
    several = {
        "type": "MultiPolygon",
        "coordinates": [[world(box(10, 1, 12, 3))], [world(box(11, 6, 14, 9))]],
    }
    high = [[*point, 7.0] for point in world(box(0, 7, 3, 9))]
    path = geojson(
        tmp_path / "a.json",
        polygon(world(box(2, 1, 8, 7)), world(box(4, 2, 6, 5))),
        {"type": "Feature", "properties": None, "geometry": several},
        {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [100, 40]}},
        {"type": "Feature", "properties": {}, "geometry": None},
        polygon(high),
        crs="urn:ogc:def:crs:EPSG::32616",
    )
    polygons = read_polygons(path)
    assert (len(polygons.shapes), polygons.left_out, polygons.crs) == (4, 2, 32616)
    found, counts = classes_of_polygons(polygons, placement(placed(tmp_path / "a.tif")), SIZE, NAMES)
    expected = drawn((2, 1, 8, 7), (10, 1, 12, 3), (11, 6, 14, 9), (0, 7, 3, 9))
    expected[2:5, 4:6] = 0
    assert np.array_equal(found, expected)
    assert counts == [30, 4, 9, 6]


def test_a_pixel_belongs_to_where_its_centre_is(tmp_path: Path) -> None:
    ring = box(1.6, 2.4, 5.4, 6.6)  # columns 2..4, rows 2..6
    polygons = read_polygons(geojson(tmp_path / "a.json", polygon(ring)))
    labels, _ = classes_of_polygons(polygons, Placement(), SIZE, NAMES)
    assert np.array_equal(labels, drawn((2, 2, 5, 7)))
    slanted = [[0.0, 0.0], [14.0, 0.0], [0.0, 9.0]]
    polygons = read_polygons(geojson(tmp_path / "a.json", polygon(slanted)))
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    labels, _ = classes_of_polygons(polygons, Placement(), SIZE, NAMES)
    assert np.array_equal(labels, columns / 14 + rows / 9 < 1)


def crossings(ring: Any, points: Any) -> np.ndarray:
    """Whether a ray from each point crosses a ring an odd number of times, by the definition."""
    ring, inside = np.asarray(ring, float), np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        spans = (y0 > points[:, 1]) != (y1 > points[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            at = x0 + (points[:, 1] - y0) * (x1 - x0) / (y1 - y0)
        inside ^= spans & (points[:, 0] < at)
    return inside


@pytest.mark.parametrize("seed", range(8))
def test_any_polygon_pixel_by_pixel(tmp_path: Path, seed: int) -> None:
    """Outlines that cross themselves or leave the picture, and holes that leave their outline."""
    rng = np.random.default_rng(seed)
    outline, hole = rng.uniform(-6, 20, (7, 2)), rng.uniform(-2, 12, (4, 2))
    rings = [[*ring.tolist(), ring[0].tolist()] for ring in (outline, hole)]
    labels, counts = classes_of_polygons(
        read_polygons(geojson(tmp_path / "a.json", polygon(*rings))), Placement(), SIZE, NAMES
    )
    centres = np.stack(np.mgrid[: SIZE[0], : SIZE[1]][::-1], axis=-1).reshape(-1, 2) + 0.5
    expected = crossings(outline, centres) & ~crossings(hole, centres)
    assert np.array_equal(labels.ravel(), expected)
    assert counts == [expected.sum()]
    assert counts[0] > 0


def test_a_centre_on_a_shared_edge_is_in_one_polygon(tmp_path: Path) -> None:
    """Nine boxes side by side whose edges all pass pixels' centres: together they are one box."""
    starts = [(left, top) for left in (1.5, 4.5, 7.5) for top in (0.5, 2.5, 4.5)]
    boxes = [polygon(box(left, top, left + 3, top + 2)) for left, top in starts]
    labels, counts = classes_of_polygons(
        read_polygons(geojson(tmp_path / "a.json", *boxes)), Placement(), SIZE, NAMES
    )
    assert counts == [6] * 9
    assert labels.sum() == 54


def test_a_polygon_without_a_surface_has_no_pixel(tmp_path: Path) -> None:
    line = polygon([[0.0, 0.5], [9.0, 0.5], [4.0, 0.5]])
    polygons = read_polygons(geojson(tmp_path / "a.json", line, polygon(box(0, 2, 3, 4))))
    assert classes_of_polygons(polygons, Placement(), SIZE, NAMES)[1] == [0, 6]


def test_a_world_file_places_a_picture(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(SIZE, np.uint8))
    with pytest.raises(RunError, match=r"got none of them and no world file at .*a\.tif"):
        placement(tmp_path / "a.tif")
    (tmp_path / "a.tfw").write_text(
        "0.5\n0\n0\n-0.25\n100.25\n39.875\n"
    )  # it speaks of the first pixel's centre
    assert placement(tmp_path / "a.tif").points(np.array([[0, 0], [14, 9]])).tolist() == [
        [100, 40],
        [107, 37.75],
    ]


def test_tags_that_speak_of_centres_move_by_half_a_pixel(tmp_path: Path) -> None:
    """The centre of the first pixel lies where the corner was, so that a box between corners cuts pixels in two."""
    corner, centre = placement(placed(tmp_path / "a.tif")), placement(placed(tmp_path / "b.tif", point=True))
    assert corner.points(np.array([[0, 0], [14, 9]])).tolist() == [[100, 40], [107, 37.75]]
    assert centre.points(np.array([[0.5, 0.5]])).tolist() == [[100, 40]]
    ring = [[100 + 0.5 * column - 0.25, 40 - 0.25 * row + 0.125] for column, row in box(3, 1, 9, 4)]
    polygons = read_polygons(geojson(tmp_path / "a.json", polygon(ring)))
    assert np.array_equal(classes_of_polygons(polygons, centre, SIZE, NAMES)[0], drawn((3, 1, 9, 4)))


def test_a_turned_picture(tmp_path: Path) -> None:
    """x grows along the rows, y along the columns: a matrix that no scale and tiepoint could say."""
    matrix = (0, 2, 0, 10, 3, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 1)
    place = placement(geotiff(tmp_path / "a.tif", np.zeros(SIZE, np.uint8), {TRANSFORMATION: matrix}))
    assert place.points(np.array([[5.0, 2.0]])).tolist() == [[14, 35]]
    ring = [[10 + 2 * row, 20 + 3 * column] for column, row in box(4, 1, 11, 8)]
    polygons = read_polygons(geojson(tmp_path / "a.json", polygon(ring)))
    assert np.array_equal(classes_of_polygons(polygons, place, SIZE, NAMES)[0], drawn((4, 1, 11, 8)))


def test_what_lies_outside_is_cut_and_told(tmp_path: Path) -> None:
    place = placement(placed(tmp_path / "a.tif"))
    far = geojson(tmp_path / "far.json", polygon(world(box(20, 2, 30, 4))), polygon(world(box(-9, 0, -2, 5))))
    told = (
        r"none of 2 at .*far\.json: they span x 95\.5\.\.115, y 38\.75\.\.40, the picture x 100\.\.107, "
        r"y 37\.75\.\.40\..*\(EPSG 32616\), or --pixels"
    )
    with pytest.raises(RunError, match=told):
        classes_of_polygons(read_polygons(far), place, SIZE, NAMES)
    some = geojson(
        tmp_path / "some.json", polygon(world(box(20, 2, 30, 4))), polygon(world(box(-9, -3, 2, 5)))
    )
    labels, counts = classes_of_polygons(read_polygons(some), place, SIZE, NAMES)
    assert counts == [0, 10]
    assert np.array_equal(labels, drawn((0, 0, 2, 5)))
    for crs, told in (
        ("EPSG:4326", "EPSG 4326"),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG 4326"),
        ("EPSG::1", "EPSG 1"),
    ):
        other = read_polygons(geojson(tmp_path / "crs.json", polygon(world(box(2, 1, 8, 7))), crs=crs))
        with pytest.raises(RunError, match=rf"picture's coordinate system, EPSG 32616; got {told} at"):
            classes_of_polygons(other, place, SIZE, NAMES)


def test_a_property_names_the_class(tmp_path: Path) -> None:
    """The later polygon lies on the earlier one; rims of both that are near the other have no class."""
    names = ("background", "house", "shed")
    path = geojson(
        tmp_path / "a.json",
        polygon(box(1, 1, 8, 8), kind="house"),
        polygon(box(5, 2, 11, 6), kind=2, empty=None),
    )
    polygons = read_polygons(path)
    labels, counts = classes_of_polygons(polygons, Placement(), SIZE, names, "kind")
    expected = drawn((1, 1, 8, 8))
    expected[2:6, 5:11] = 2
    assert np.array_equal(labels, expected)
    assert counts == [49, 24]
    void, _ = classes_of_polygons(polygons, Placement(), SIZE, names, "kind", border=1)
    assert np.array_equal(void == 255, bordered(expected.astype(int), 1))
    assert (void[3, 4], void[3, 5], void[3, 3], void[1, 1]) == (255, 255, 1, 1)
    for key, told in (("empty", "got None at"), ("kin", "got None at")):
        with pytest.raises(
            RunError, match=rf"polygon's {key} must be one of background, house, shed.*{told}"
        ):
            classes_of_polygons(polygons, Placement(), SIZE, names, key)
    with pytest.raises(RunError, match=r"polygons without --property must have two names"):
        classes_of_polygons(polygons, Placement(), SIZE, names)


def test_polygons_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    bad = {
        "no json": "{",
        "no type": "{}",
        "a list": "[1]",
        "nothing": json.dumps({"type": "FeatureCollection", "features": []}),
        "points": json.dumps({"type": "Point", "coordinates": [1, 2]}),
        "two points": json.dumps({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}),
        "no ring": json.dumps({"type": "Polygon", "coordinates": []}),
        "words": json.dumps({"type": "Polygon", "coordinates": [[["a", 0], [1, 1], [2, 2]]]}),
        "no number": '{"type": "Polygon", "coordinates": [[[NaN, 0], [1, 1], [2, 2]]]}',
    }
    for name, text in bad.items():
        path = tmp_path / f"{name}.json"
        path.write_text(text)
        with pytest.raises(
            RunError, match=rf"must be GeoJSON with Polygon or MultiPolygon; got .* at .*{name}\.json"
        ):
            read_polygons(path)
    with pytest.raises(RunError, match=r"must be GeoJSON.*FileNotFoundError"):
        read_polygons(tmp_path / "none.json")
    plain = geotiff(tmp_path / "plain.tif", np.zeros(SIZE, np.uint8), {SCALE: (1.0, 1.0, 0.0)})
    with pytest.raises(
        RunError, match=r"ModelPixelScale and ModelTiepoint, or ModelTransformation; got \[33550"
    ):
        placement(plain)
    flat = geotiff(tmp_path / "flat.tif", np.zeros(SIZE, np.uint8), {TRANSFORMATION: (0.0,) * 16})
    with pytest.raises(RunError, match=r"a pixel must have a size"):
        placement(flat)
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    with pytest.raises(
        RunError, match=r"must have a GeoTIFF; got DamagedFile: no TIFF.*x\.png\. Give --pixels"
    ):
        placement(tmp_path / "x.png")


# ---- labels ---------------------------------------------------------------------------------------------------


def test_labels_are_indices_or_instances() -> None:
    values = np.array([[0, 1, 2], [255, 2, 0]])
    assert np.array_equal(classes_of_labels(values, ("b", "c", "d")), values)
    assert classes_of_labels(values * 300, NAMES, instances=True).tolist() == [[0, 1, 1], [1, 1, 0]]
    refused: list[tuple[Any, dict[str, Any], str]] = [
        (values, {}, r"in 0\.\.1 or 255; got 2 in row 0, column 2 of it, and 2 such pixels.*--instances"),
        (values // 255 * 255, {}, r"0 and 255 alone.*--instances for a mask"),
        (values, {"border": 2}, r"--void-border must have objects"),
        (values, {"instances": True, "names": ("b", "c", "d")}, r"--instances must have two names"),
    ]
    for given, change, told in refused:
        with pytest.raises(RunError, match=told):
            classes_of_labels(given, **{"names": NAMES, **change})


@pytest.mark.parametrize("width", [0, 1, 2])
def test_the_border_between_objects_pixel_by_pixel(width: int) -> None:
    rng = np.random.default_rng(width)
    instances = np.kron(rng.integers(0, 4, (5, 7)), np.ones((3, 3), int)) * 100
    expected = np.zeros(instances.shape, bool)
    for row, column in np.argwhere(instances):
        near = instances[max(row - width, 0) : row + width + 1, max(column - width, 0) : column + width + 1]
        expected[row, column] = bool(np.setdiff1d(near, [0, instances[row, column]]).size)
    assert np.array_equal(bordered(instances, width), expected)
    labels = classes_of_labels(instances, NAMES, True, width)
    assert np.array_equal(labels, np.where(expected, 255, instances > 0))
    assert expected.any() == (width > 0)


def test_label_pictures_of_any_kind(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 4, SIZE).astype(np.uint8)
    palette = Image.fromarray(labels)
    palette.putpalette([9, 9, 9, 200, 0, 0, 0, 100, 7, 255, 255, 255])
    palette.save(tmp_path / "palette.png")
    Image.fromarray(labels.astype(np.uint16) * 300).save(tmp_path / "deep.png")
    for name, kind in (("a.tif", np.uint16), ("b.tif", np.float32), ("c.tif", np.int32)):
        tifffile.imwrite(tmp_path / name, labels.astype(kind))
    packed_tiff(tmp_path / "d.tif", labels[..., None], {i: (9 * i, 100, 7) for i in range(4)})
    for path in (tmp_path / name for name in ("palette.png", "a.tif", "b.tif", "c.tif", "d.tif")):
        assert np.array_equal(read_label_picture(path), labels), path
    assert np.array_equal(read_label_picture(tmp_path / "deep.png"), labels.astype(int) * 300)
    Image.fromarray(labels_to_colours(labels)).save(tmp_path / "colour.png")
    tifffile.imwrite(tmp_path / "half.tif", labels / np.float32(2))
    tifffile.imwrite(tmp_path / "minus.tif", labels.astype(np.int16) - 1)
    for name, told in (
        ("colour.png", "one number a pixel; got mode RGB"),
        ("half.tif", "whole"),
        ("minus.tif", r"-1\.\.2"),
    ):
        with pytest.raises(RunError, match=told):
            read_label_picture(tmp_path / name)


# ---- pictures and their values --------------------------------------------------------------------------------


def packed_tiff(path: Path, pixels: Any, colours: dict[int, tuple[int, int, int]] | None = None) -> None:
    """A TIFF of (H, W, bands) with LZW, which tifffile alone cannot read."""
    height, width, count = pixels.shape
    size = {"height": height, "width": width, "count": count, "dtype": str(pixels.dtype)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", compress="lzw", **size) as file:
            file.write(np.moveaxis(pixels, 2, 0))
            if colours:
                file.write_colormap(1, colours)


def test_pictures_of_any_kind(tmp_path: Path) -> None:
    """Colours in their order and 16 bits whole, whatever library wrote them."""
    rng = np.random.default_rng(0)
    grey, colour, four = (rng.integers(0, 65536, (*SIZE, count)).astype(np.uint16) for count in (1, 3, 4))
    tifffile.imwrite(tmp_path / "grey.tif", grey[..., 0])
    tifffile.imwrite(tmp_path / "colour.tif", colour, photometric="rgb")
    tifffile.imwrite(
        tmp_path / "planes.tif", np.moveaxis(four, 2, 0), photometric="minisblack", planarconfig="separate"
    )
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "colour.png"), colour[..., ::-1])
    cv2.imwrite(str(tmp_path / "four.png"), four[..., [2, 1, 0, 3]])
    cv2.imwrite(str(tmp_path / "packed.tif"), colour[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])  # LZW
    many = rng.integers(0, 65536, (*SIZE, 6)).astype(np.uint16)
    packed_tiff(tmp_path / "many.tif", many)
    expected = {"grey": grey, "colour": colour, "planes": four, "four": four, "packed": colour, "many": many}
    for path in sorted(tmp_path.iterdir()):
        found = read_bands(path)
        assert (found.dtype, found.shape) == (np.uint16, expected[path.stem].shape), path
        assert np.array_equal(found, expected[path.stem]), path
    Image.fromarray(colour.astype(np.uint8)).save(tmp_path / "eight.bmp")
    assert np.array_equal(read_bands(tmp_path / "eight.bmp"), colour.astype(np.uint8))


def test_pictures_that_are_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0nothing")
    (tmp_path / "a.png").write_bytes(b"<html>")
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    tifffile.imwrite(tmp_path / "nan.tif", np.full((8, 8), np.nan, np.float32))
    told = {
        "a.tif": "OpenCV or Pillow reads",
        "a.png": "no picture",
        "stack.tif": "one picture; got axes",
        "nan.tif": "64",
    }
    for name, words in told.items():
        with pytest.raises(RunError, match=rf"{words}.* at .*{re.escape(name)}"):
            read_bands(tmp_path / name)
    for name in ("none.tif", "none.png"):
        with pytest.raises(RunError, match=rf"FileNotFoundError.*{name}"):
            read_bands(tmp_path / name)


def test_values_become_bytes_by_a_rule_that_is_told() -> None:
    pixels = np.random.default_rng(0).integers(200, 4000, (40, 30, 3)).astype(np.uint16)
    pixels[..., 1] *= 10
    pixels[..., 2] = 77
    scale = Scale.of(pixels, None)
    for band in range(2):
        low, high = np.percentile(pixels[..., band], (1, 99.8))
        expected = ((pixels[..., band] - low) / (high - low)).clip(0, 1) * 255
        assert np.abs(scale(pixels)[..., band] - expected).max() <= 0.5
    assert (scale(pixels)[..., 2] == 0).all(), "a band without a difference"
    assert re.search(
        r"values \S+, \S+, 77\.\.77 become 0\.\.255: percentiles 1 and 99\.8, each band's own$", str(scale)
    )
    given = Scale.of(pixels, "values", (1000, 3000))
    assert given(np.array([0, 1000, 2000, 3000, 60000, 1500]).reshape(1, 2, 3)).ravel().tolist() == [
        0,
        0,
        128,
        255,
        255,
        64,
    ]
    assert str(given) == "values 1000..3000 become 0..255: as given"
    assert Scale.of(pixels, "full-range")(np.full((1, 1, 3), 65535)).tolist() == [[[255] * 3]]
    eight = pixels.astype(np.uint8)
    assert np.array_equal(Scale.of(eight, None)(eight), eight), "8 bits stay as they are"
    assert Scale.of(eight > 3, None)(eight > 3).max() == 255
    for rule, values, told in (
        ("values", (5, 5), "values must rise"),
        ("percentiles", (3, 101), "percentiles must rise; got 3 101"),
    ):
        with pytest.raises(RunError, match=told):
            Scale.of(pixels, rule, values)
    with pytest.raises(RunError, match=r"--full-range must have .* got dtype=int16"):
        Scale.of(pixels.astype(np.int16), "full-range")


# ---- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def nuclei(tmp_path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """A 16-bit picture of 40 x 61 pixels with instances, and the command that cuts it."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 3000, (40, 61)).astype(np.uint16)
    pixels[:, 45:] += 30000  # the kept part does not count for the percentiles
    instances = np.kron(rng.integers(0, 3, (10, 16)), np.ones((4, 4), int))[:, :61].astype(np.uint16) * 400
    tifffile.imwrite(tmp_path / "my nuclei.tif", pixels)
    tifffile.imwrite(tmp_path / "mask.tif", instances)
    words = f"--labels {tmp_path}/mask.tif --instances --size 16 12 --stride 8 6 --kept right 0.26 --out {tmp_path}/root"
    return [str(tmp_path / "my nuclei.tif"), *words.split(), "--names", *NAMES], pixels, instances


def test_a_folder_that_voc_reads(
    nuclei: tuple[list[str], np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, pixels, instances = nuclei
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "my nuclei.tif: 40x61, uint16, grey" in told
    assert "train: 28 tiles in rows 0..39, columns 0..44" in told
    root, expected = tmp_path / "root", Scale.of(pixels[:, :45, None], None)
    assert f"{expected} of the part for train\n" in told
    whole, places = np.repeat(expected(pixels[..., None]), 3, axis=2), set()
    for part, low, high in (("train", 0, 45), ("val", 45, 61)):
        data = Voc(root, part, (16, 12))
        assert data.classes == NAMES
        for index, name in enumerate(data.names):
            image, labels = data.load(index)
            top, left = map(int, name.removeprefix("my_nuclei_").split("_"))
            assert low <= left <= high - 12
            places.add((part, top, left))
            assert np.array_equal(image, whole[top : top + 16, left : left + 12])
            assert np.array_equal(labels, instances[top : top + 16, left : left + 12] > 0)
    assert len(places) == 28 + 6
    assert check(root, crop=(16, 12)).faults == []
    picture = root / "SegmentationClass" / f"{Voc(root, 'val', (16, 12)).names[0]}.png"
    with Image.open(picture) as opened:
        colours = np.array(opened.convert("RGB"))
    assert np.array_equal(colours, labels_to_colours(read_labels(picture), NAMES))


def test_further_pictures_go_to_the_same_folder_once(
    nuclei: tuple[list[str], np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, _, _ = nuclei
    assert main([*command, "--kept", "right", "0"]) == 0
    root = tmp_path / "root"
    assert not (root / "ImageSets/Segmentation/val.txt").exists()
    assert main([*command, "--name", "second", "--kept", "right", "1"]) == 0
    train, val = (Voc(root, part, (16, 12)).names for part in ("train", "val"))
    assert (len(train), len(val)) == (40, 18)
    assert {name[:9] for name in train} == {"my_nuclei"}
    assert {name[:7] for name in val} == {"second_"}
    assert check(root, crop=(16, 12)).faults == []
    before = sorted(path.stat().st_mtime_ns for path in root.rglob("*.png"))
    capsys.readouterr()
    assert main(command) == 2
    assert re.search(r"error: .*cut once.*my_nuclei_00000_00000, at .*--name", capsys.readouterr().err)
    assert main([*command, "--name", "third", "--names", "background", "cell"]) == 2
    assert "got background, cell, but background, house in" in capsys.readouterr().err
    assert before == sorted(path.stat().st_mtime_ns for path in root.rglob("*.png"))


def test_polygons_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = placed(tmp_path / "chip.tif")
    shapes = geojson(tmp_path / "a.json", polygon(world(box(1, 1, 6, 5))), polygon(world(box(8, 0, 30, 9))))
    command = [
        str(image),
        "--polygons",
        str(shapes),
        "--names",
        *NAMES,
        "--size",
        "4",
        "7",
        "--kept",
        "right",
        "0.5",
    ]
    assert main([*command, "--out", str(tmp_path / "root")]) == 0
    told = capsys.readouterr().out
    assert "2 polygons, 0 of them without a pixel here" in told
    assert "background 41.27%, house 58.73%, no class 0.00%" in told
    data = Voc(tmp_path / "root", "train", (4, 7))
    assert np.array_equal(data.load(1)[1], drawn((1, 1, 6, 5))[4:8, :7])
    assert main([*command, "--pixels", "--out", str(tmp_path / "other")]) == 2
    assert "they span x 100.5..115, y 37.75..40, the picture x 0..14, y 0..9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--names", "background"], "the background first and one more at least"),
        (["--names", "b", "c", "c"], "named once; got c twice"),
        (["--names", "nucleus", "background"], "background must be named first"),
        (["--kept", "right", "much"], "a side and a share; got right much"),
        (["--void-border", "-1"], "--void-border must be 0 or more"),
        (["--pixels"], "--pixels must have --polygons"),
        (["--values", "9", "9"], "values must rise; got 9 9"),
        (["--size", "50", "12"], "hold a tile of 50x12"),
    ],
)
def test_a_command_that_means_nothing_is_one_line(
    nuclei: tuple[list[str], np.ndarray, np.ndarray],
    more: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*nuclei[0], *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert told in error
    assert error.count("\n") == 1


def test_labels_of_another_size_are_told(
    nuclei: tuple[list[str], np.ndarray, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", nuclei[2].T)
    assert main(nuclei[0]) == 2
    assert re.search(r"one size \(HxW\); got 40x61 and 61x40 at .*mask\.tif", capsys.readouterr().err)
    assert not (tmp_path / "root").exists()


def test_bytes_are_cut_without_a_scale_and_names_are_words(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    parts = parts_of((6, 8), (6, 4), kept=("right", 0.5))
    cut(image, np.ones((6, 8), np.uint8), parts, NAMES, tmp_path / "root", "a b")
    assert np.array_equal(Voc(tmp_path / "root", "val", (6, 4)).load(0)[0], image[:, 4:])
    for name in ("", "a/b", ".."):
        with pytest.raises(RunError, match=r"--name must be a word, without a folder"):
            cut(image, np.ones((6, 8), np.uint8), parts, NAMES, tmp_path / "other", name)
    assert not (tmp_path / "other").exists()
