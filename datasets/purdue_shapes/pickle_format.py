"""The file format, gzip(pickle([dataset, label_map])): a reader that runs nothing, and a writer."""

from __future__ import annotations

import gzip
import os
import pickle
import pickletools
from pathlib import Path
from typing import BinaryIO

import numpy as np

from datasets.errors import DatasetError
from datasets.files import writing
from datasets.purdue_shapes.data import CLASSES, LABEL_MAP, Boxes, Data
from datasets.purdue_shapes.plain_types import PickleError, TooLargeError
from datasets.purdue_shapes.records import KEYS, Faults, RecordError, check_mask_values, parse_boxes, to_data
from datasets.purdue_shapes.safe_pickle import read_plain

MAX_BYTES = 2 * 1024**3  # some 35,000 images of 64 x 64; enough to stop a file that unpacks without end
PROTOCOL = 3  # the first with an opcode for bytes; the next has frames, and records could not be joined
LEVEL = 6  # gzip's; 9 takes eight times as long for 5 % less
BLOCK = 64  # images that are turned into opcodes at a time


def read(file: BinaryIO, where: str, max_bytes: int = MAX_BYTES) -> Data:
    """Read a data set from an open file.

    Args:
        file: the compressed file, opened in binary.
        where: its name, for errors.
        max_bytes: bytes that the file may unpack to, and that the arrays may take.
    Raises:
        DatasetError: the file is not what it should be.
    """
    try:
        return to_data(read_plain(file, max_bytes), where, max_bytes)
    except TooLargeError as error:
        raise DatasetError(f"{where}: {error}. If you trust the file, pass a larger max_bytes.") from error
    except PickleError as error:
        raise DatasetError(f"{where}: {error}. Get the file again, or make the data set again.") from error


def save(path: str | os.PathLike[str], data: Data, keys: str = "mask-value") -> None:
    """Write a data set in the documented format: the same data gives the same bytes, and never half a file.

    Args:
        path: the file to write or replace, by custom PurdueShapes5MultiObject-{N}-train.gz or -test.gz.
        data: one image or more.
        keys: how the box map names the classes: "mask-value", 50 to 250 as the lecture documents, or
            "shape-index", 0 to 4, which DLStudio's own reader needs.
    Raises:
        DatasetError: data that breaks the format, with every record that does, or an unknown key style.
        OSError: the file cannot be written.
    Source:
        Lecture, slide "Data Format Used for the PurdueShapes5MultiObject Dataset".
    """
    if keys not in KEYS:
        raise DatasetError(f"keys must be one of {list(KEYS)}; got keys={keys!r}. Choose one of these.")
    check(data)
    with writing(Path(path)) as file, gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as stream:
        stream.write(pickle.PROTO + bytes([PROTOCOL]) + b"](](")  # a list of: a list of records, ...
        for start in range(0, len(data), BLOCK):
            stream.write(b"".join(_records(data, KEYS[keys], start)))
        stream.write(b"e" + _opcodes(LABEL_MAP) + b"e.")  # ..., and the label map


def check(data: Data) -> None:
    """Raise a DatasetError unless the data set can be written and read back as it is."""
    shape = data.images.shape
    if len(shape) != 4 or shape[3] != 3 or 0 in shape or data.images.dtype != np.uint8:
        got = f"{data.images.dtype} {shape}"
        raise DatasetError(f"images must be uint8 (N, H, W, 3), not empty; got images={got}. Convert them.")
    count, height, width = shape[:3]
    expected = (count, len(CLASSES), height, width)
    if data.masks.shape != expected or data.masks.dtype != np.uint8:
        got = f"{data.masks.dtype} {data.masks.shape}"
        raise DatasetError(f"masks must be uint8 {expected}, as images are; got masks={got}. Convert them.")
    if len(data.boxes) != count:
        raise DatasetError(
            f"boxes must be one entry for each of {count} images; got {len(data.boxes)}. Add them."
        )
    faults = Faults()
    for i, boxes in enumerate(data.boxes):
        try:
            parse_boxes(dict(enumerate(boxes)), height, width)
        except RecordError as error:
            faults.add(i, error)
    check_mask_values(data.masks, range(count), faults)
    faults.raise_any("the data set", count)


def _records(data: Data, keys: tuple[int, ...], start: int) -> list[bytes]:
    """Return the opcodes of some records.

    They are written by hand because a pickler would first need every pixel as an object of its own, and would
    name NumPy's functions as the installed version does; under the names used here every version finds them.
    """
    images, masks = data.images[start : start + BLOCK], data.masks[start : start + BLOCK]
    before, after = _around_mask(masks.shape[1:])
    pixels = np.empty((len(images), 3, images.shape[1] * images.shape[2], 2), np.uint8)
    pixels[..., 0] = pickle.BININT1[0]
    pixels[..., 1] = images.reshape(len(images), -1, 3).transpose(0, 2, 1)
    records = []
    for i, mask in enumerate(masks):
        colours = b"".join(b"](" + channel.tobytes() + b"e" for channel in pixels[i])
        boxes = _opcodes(_box_map(data.boxes[start + i], keys))
        records.append(b"](" + colours + before + mask.tobytes() + after + boxes + b"e")
    return records


def _box_map(boxes: Boxes, keys: tuple[int, ...]) -> dict[int, list[list[int]]]:
    """Return {key: boxes} of fresh lists: a pickle would hold the second use of one as a reference."""
    return {key: [list(box) for box in of_class] for key, of_class in zip(keys, boxes, strict=True)}


def _around_mask(shape: tuple[int, ...]) -> tuple[bytes, bytes]:
    """Split NumPy's pickle of a mask array into what precedes and what follows its pixels."""
    marked = np.full(shape, 255, np.uint8)
    opcodes = pickletools.optimize(pickle.dumps(marked, PROTOCOL))[2:-1]
    before, after = opcodes.replace(b"numpy._core.", b"numpy.core.").split(marked.tobytes())
    return before, after


def _opcodes(value: object) -> bytes:
    """Pickle a value without PROTO and STOP; references within it stay right wherever it is put."""
    return pickle.dumps(value, PROTOCOL)[2:-1]
