"""TIFF files: tifffile reads them, and GDAL where tifffile lacks the codec. Both first do so in a process of their own."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.bounds.survival import check_survival
from datasets.errors import DataError, RunError
from datasets.files import extra
from datasets.tiles.tiff_head import check_head

LARGEST = 2 * 2**30
"""Bytes that a picture's pixels may take in memory."""
PACE = 30 * 2**20
"""Bytes of pixels for which decoding may take one second more."""
COPIES = 3
"""Times its pixels' size that decoding may take of memory."""
PARTS = 10_000
"""Strips and tiles that a page may have, whatever the file has of them."""


def read_tiff(path: Path) -> NDArray[Any]:
    """(H, W, bands) of a TIFF. GDAL reads it where tifffile lacks the codec; only tifffile knows an instrument's axes."""
    library = extra("tifffile", "tiles")
    try:
        check_head(path)
        check_survival(path, "datasets.tiles.tiff:open_tiff")
        with quiet("tifffile"), library.TiffFile(path) as file:
            series = file.series[0]
            axes = _one_picture(series, path)
            size = _check_size(series.shape, series.dtype, path)
            _check_parts(file.pages[0], path)
            more = {"seconds": size // PACE, "memory": COPIES * size}
            check_survival(path, "datasets.tiles.tiff:decode_tiff", **more)
            try:
                pixels = np.asarray(series.asarray()).reshape([series.shape[i] for i in axes.values()])
            except ValueError as error:  # compressed
                if "imagecodecs" not in str(error):
                    raise
                check_survival(path, "datasets.tiles.tiff:decode_by_gdal", **more)
                return decode_by_gdal(path)
    except RunError:
        raise
    except Exception as error:  # readers raise anything on a damaged file
        raise unreadable(path, error) from error
    if len(axes) == 3 and next(iter(axes)) not in "YX":
        pixels = np.moveaxis(pixels, 0, 2)
    return pixels.reshape(*pixels.shape[:2], -1)


def open_tiff(path: Path) -> None:
    """Read the heads of a TIFF's pages. It runs in the helper."""
    with extra("tifffile", "tiles").TiffFile(path) as file:
        series = file.series[0]
        str((series.axes, series.shape, series.dtype, file.pages[0].chunked, len(file.pages[0].dataoffsets)))


def decode_tiff(path: Path) -> None:
    """Decode a TIFF's first series. It runs in the helper."""
    with extra("tifffile", "tiles").TiffFile(path) as file:
        try:
            file.series[0].asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):  # GDAL is next
                raise


def open_by_gdal(path: Path) -> None:
    """Read where a TIFF lies. It runs in the helper."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with extra("rasterio", "tiles").open(path, driver="GTiff") as file:
            str((file.transform, file.crs, file.files, file.crs and file.crs.to_epsg()))


def _one_picture(series: Any, path: Path) -> dict[str, int]:
    """The axes of a TIFF's first series and their places: rows, columns and perhaps bands.

    Raises:
        DataError: the series has further planes.
    """
    axes = str(series.axes)
    kept = {axis: i for i, axis in enumerate(axes) if axis in "YX" or series.shape[i] > 1}
    order = "".join(kept)
    if "YX" not in order or order.replace("YX", "") not in ("", "S", "C") or len(kept) > 3:
        raise DataError(
            f"a file must hold one picture; got axes {axes} of {series.shape} at {path}. Save one plane of it."
        )
    return kept


def decode_by_gdal(path: Path) -> NDArray[Any]:
    """(H, W, bands) of a compressed TIFF."""
    library = extra("rasterio", "tiles")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", library.errors.NotGeoreferencedWarning)  # where it lies is not asked
        with quiet("rasterio"), library.open(path, driver="GTiff") as file:
            _check_size((file.count, file.height, file.width), file.dtypes[0], path)
            return np.ascontiguousarray(np.moveaxis(file.read(), 0, 2))


def _check_size(shape: Sequence[int], dtype: Any, path: Path) -> int:
    """Refuse a picture before room is made for it; returns the bytes that its pixels take.

    Raises:
        DataError: its pixels would take more than 2 GiB, or there are none.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if dtype is None or not 0 < size <= LARGEST:
        raise DataError(
            f"a picture's pixels must take 1 to {LARGEST} bytes; got {size} for {tuple(shape)} of {dtype} at {path}. "
            "Cut it first (gdal_translate -srcwin)."
        )
    return size


def _check_parts(page: Any, path: Path) -> None:
    """Refuse a page that is cut into more strips or tiles than the file has places for: each costs time.

    Raises:
        DataError: it is.
    """
    parts, places = math.prod(page.chunked), len(page.dataoffsets)
    if parts > max(places, PARTS):
        raise DataError(
            f"a picture's strips and tiles must be in the file; got {parts} of them, and {places} places at {path}. "
            "Save it anew."
        )


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Without what a library logs of a damaged file; it raises an error for it too."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def unreadable(path: Path, error: Exception) -> DataError:
    """What is said of a picture that no library reads."""
    return DataError(
        "a picture must be one that tifffile, OpenCV or Pillow reads; got "
        f"{type(error).__name__}: {' '.join(str(error).split())[:200]} at {path}. "
        "Check the file, or save it as PNG."
    )
