"""PNG images of 256 colours, written with NumPy and zlib alone, so that a report needs no drawing package."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from parity.core.types import Array

MISSING = 255
"""The palette entry for values that are no number."""

VALUES = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
DIFFERENCES = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))


def palette(stops: tuple[tuple[int, int, int], ...]) -> Array:
    """(256, 3): 255 colours between the stops, and magenta for MISSING."""
    at = np.linspace(0, len(stops) - 1, MISSING)
    channels = [np.interp(at, range(len(stops)), channel) for channel in zip(*stops, strict=True)]
    colours = np.stack(channels, axis=1).round().astype(np.uint8)
    return np.concatenate([colours, [[255, 0, 255]]]).astype(np.uint8)


def encode(indices: Array, colours: Array) -> bytes:
    """The PNG file of an image (H, W) of palette entries.

    Source: W3C, Portable Network Graphics (PNG) Specification, sections 5 and 11.
    """
    height, width = indices.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), indices.astype(np.uint8)], axis=1)  # filter: none
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", colours.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def data_uri(png: bytes) -> str:
    """The image as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
