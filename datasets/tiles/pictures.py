"""Pictures as instruments and annotation tools write them, of any depth and bands, and their values as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.bounds.damaged import DamagedFile
from datasets.errors import DataError, RunError, SettingsError
from datasets.files import extra, opened_picture, read_within
from datasets.tiles.tiff import LARGEST, read_tiff, unreadable

Bytes = NDArray[np.uint8]
TIFF = (".tif", ".tiff")
PNG = b"\x89PNG\r\n\x1a\n"
PERCENTILES = (1.0, 99.8)
GREATEST = 2**53
"""The greatest number of an instance: up to here float64 has every whole number."""


def read_bands(path: Path) -> NDArray[Any]:
    """A picture's values as they are stored, not turned and not scaled.

    Shapes: returns (H, W, bands); red, green and blue first where the picture has colours.
    Args:
        path: of a TIFF whose pixels take at most 2 GiB, or of another one within `opened_picture`'s bound.
    Raises:
        DataError: a file that cannot be read, is too large, or holds more than one picture.
    """
    pixels = read_tiff(path) if path.suffix.lower() in TIFF else _other(path)
    if pixels.dtype.kind not in "buif" or not pixels.size:
        raise DataError(
            f"a picture must hold real numbers; got shape={pixels.shape}, dtype={pixels.dtype} at {path}. Convert it."
        )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise DataError(
            f"a picture's values must be finite; got {np.count_nonzero(~np.isfinite(pixels))} that are not at {path}. "
            "Fill them in."
        )
    return pixels


def read_label_picture(path: Path) -> NDArray[np.integer]:
    """The whole numbers of a label picture: a palette picture's indices, a grey picture's values.

    Shapes: returns (H, W).
    Raises:
        DataError: no such picture, several bands, or values that are no whole numbers of 0 or more.
    """
    if path.suffix.lower() in TIFF:
        pixels = read_tiff(path)
        mode = f"{pixels.shape[2]} bands"
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    else:
        with opened_picture(path, "tiles") as picture:
            mode, pixels = f"mode {picture.mode}", np.array(picture)
    if pixels.ndim != 2:
        raise DataError(
            f"labels must be one number a pixel; got {mode} at {path}. Save class indices, or the instances' numbers."
        )
    kind = pixels.dtype.kind
    if kind == "b":
        return pixels.astype(np.uint8)
    if kind not in "uif" or not pixels.size:
        raise DataError(
            f"labels must be whole numbers of 0 or more; got {pixels.dtype} of shape {pixels.shape} at {path}. "
            "Save class indices, or the instances' numbers."
        )
    least, most = float(pixels.min()), float(pixels.max())
    if not 0 <= least <= most <= GREATEST or (kind == "f" and not np.array_equal(pixels, np.rint(pixels))):
        raise DataError(
            f"labels must be whole numbers of 0 or more, at most {GREATEST}; got {least:g}..{most:g} of {pixels.dtype} "
            f"at {path}. Save class indices, or the instances' numbers."
        )
    return pixels.astype(np.int64) if kind == "f" else pixels


def _other(path: Path) -> NDArray[Any]:
    """(H, W, bands) of what OpenCV reads; Pillow would make 8 bits of coloured 16."""
    library = extra("cv2", "tiles")
    with opened_picture(path, "tiles"):  # its size is in bounds
        pass
    try:
        content = read_within(path, LARGEST)
        _check_chunks(content)
        pixels = library.imdecode(np.frombuffer(content, np.uint8), library.IMREAD_UNCHANGED)
    except RunError:
        raise
    except Exception as error:  # readers raise anything on a damaged file
        raise unreadable(path, error) from error
    if pixels is None:
        raise unreadable(path, ValueError("no picture"))
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    order = [2, 1, 0, *range(3, pixels.shape[2])] if pixels.shape[2] > 2 else slice(None)
    return np.asarray(pixels[..., order])


def _check_chunks(content: bytes) -> None:
    """Refuse a PNG with a chunk that would end after the file: OpenCV makes room for what it declares, up to 4 GB.

    Raises:
        DamagedFile: there is one.
    """
    place, end = len(PNG), len(content)
    while content.startswith(PNG) and place + 8 <= end:
        length = int.from_bytes(content[place : place + 4])
        place += length + 12  # with its own length, its name and its checksum
        if place > end:
            raise DamagedFile(f"a chunk of {length} bytes in a file of {end}")


@dataclass(frozen=True)
class Scale:
    """Which values become 0 and 255. Values between them are scaled linearly; the rest become 0 or 255.

    Shapes: low, high (bands,).
    Args:
        low, high: in the picture's units.
        rule: where they are from, in words.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    rule: str

    @classmethod
    def of(
        cls,
        pixels: NDArray[Any],
        rule: str | None,
        values: tuple[float, float] | None = None,
    ) -> Scale:
        """The scale of a picture.

        Shapes: pixels (H, W, bands).
        Args:
            pixels: what percentiles are taken of.
            rule: "full-range", the type's least and greatest value; "percentiles" or "values", which are given;
                None: 8 bits as they are, others by percentiles.
            values: the percentiles 0..100, or the values that become 0 and 255.
        Raises:
            SettingsError: a rule that the type or the values do not admit.
        """
        kind, bands = pixels.dtype, pixels.shape[-1]
        rule = rule or ("full-range" if kind in (np.uint8, np.bool_) else "percentiles")
        if rule == "full-range":
            if kind.kind not in "bu":
                raise SettingsError(
                    f"--full-range must have a type without negative or broken values; got dtype={kind}. "
                    "Give --percentiles or --values."
                )
            high = 1 if kind == np.bool_ else np.iinfo(kind).max
            return cls((0.0,) * bands, (float(high),) * bands, f"the full range of {kind}")
        first, last = values or PERCENTILES
        if not first < last or (rule == "percentiles" and not 0 <= first < last <= 100):
            raise SettingsError(f"{rule} must rise; got {first:g} {last:g}. Try --percentiles 1 99.8.")
        if rule == "values":
            return cls((float(first),) * bands, (float(last),) * bands, "as given")
        found = np.percentile(pixels.reshape(-1, bands), (first, last), axis=0)
        words = f"percentiles {first:g} and {last:g}" + ", each band's own" * (bands > 1)
        return cls(tuple(found[0].tolist()), tuple(found[1].tolist()), words)

    def __call__(self, pixels: NDArray[Any]) -> Bytes:
        """Values as bytes; a band without a difference becomes 0.

        Shapes: pixels (H, W, bands); returns the same.
        """
        low, high = np.array(self.low), np.array(self.high)
        share = (pixels.astype(np.float64) - low) / np.where(high > low, high - low, np.inf)
        return np.rint(share.clip(0, 1) * 255).astype(np.uint8)

    def __str__(self) -> str:
        pairs = [f"{low:g}..{high:g}" for low, high in zip(self.low, self.high, strict=True)]
        return f"values {', '.join(dict.fromkeys(pairs))} become 0..255: {self.rule}"


def colours_of(bands: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """The bands that are used, and a text that names them.

    Shapes: bands (H, W, bands); returns (H, W, 1) of grey, or (H, W, 3) of red, green and blue.
    """
    count = bands.shape[2]
    if count < 3:
        return bands[..., :1], "grey" if count == 1 else "2 bands, the first as grey"
    words = "red, green, blue"
    return bands[..., :3], words if count == 3 else f"{count} bands, the first three as {words}"
