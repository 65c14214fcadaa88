"""Checks what a data file holds, record by record, and turns it into arrays; says all that is wrong."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from datasets.errors import DatasetError
from datasets.purdue_shapes.data import CLASSES, LABEL_MAP, MASK_VALUES, Boxes, Bytes, Data
from datasets.purdue_shapes.plain_types import Array, ByteRun, TooLargeError
from datasets.purdue_shapes.safe_pickle import OBJECT

KEYS = {"mask-value": MASK_VALUES, "shape-index": tuple(range(len(CLASSES)))}
RECORD = 8192  # bytes that a record counts for at least: many may be one and the same, and cost time alone
LISTED = 10  # broken rules that one error spells out
Parsed = tuple[list[Bytes], Bytes, Boxes]


class RecordError(Exception):
    """What a record must hold, and what it holds instead."""

    def __init__(self, rule: str, got: str) -> None:
        super().__init__(rule, got)
        self.rule, self.got = rule, got


class Faults:
    """Collects the faults of many records, and tells them in one error."""

    def __init__(self) -> None:
        self.found: dict[
            str, tuple[str, list[int]]
        ] = {}  # by rule: what the first has, and all that break it

    def add(self, record: int, error: RecordError) -> None:
        """Note that a record breaks a rule."""
        self.found.setdefault(error.rule, (error.got, []))[1].append(record)

    def raise_any(self, where: str, total: int) -> None:
        """Raise one DatasetError for all that was found, if anything was."""
        if not self.found:
            return
        bad = {record for _, records in self.found.values() for record in records}
        lines = [f"{where} must hold well-formed records; got {len(bad)} of {total} that are not, from 0:"]
        for rule, (got, records) in list(self.found.items())[:LISTED]:
            first = f" in record {records[0]}" if len(records) > 1 else ""
            lines.append(f"  {ranges(records)}: {rule}; got {got}{first}.")
        if len(self.found) > LISTED:
            lines.append(f"  {len(self.found) - LISTED} more rules are broken.")
        lines.append("Correct these records, or make the data set again.")
        raise DatasetError("\n".join(lines))


def ranges(numbers: list[int], most: int = 12) -> str:
    """Write ascending record numbers compactly: `records 3, 7-9`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    text = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans[:most])
    left = sum(b - a + 1 for a, b in spans[most:])
    return f"record{'s' if len(numbers) > 1 else ''} {text}" + (f" and {left} more" if left else "")


def to_data(content: Any, where: str, max_bytes: int) -> Data:
    """Turn an unpickled [dataset, label_map] into arrays.

    Args:
        content: what `read_plain` returned; its records are let go as they are read.
        where: the file's name, for errors.
        max_bytes: bytes that the arrays may take.
    Raises:
        DatasetError: naming the file, the records and each rule that they break.
        TooLargeError: the arrays are larger than max_bytes.
    """
    if not isinstance(content, list | tuple) or len(content) != 2:
        got = describe(content)
        raise DatasetError(
            f"{where} must hold [dataset, label_map]; got {got}. Write the file in this format."
        )
    dataset, label_map = content
    if not isinstance(dataset, list | tuple) or not dataset:
        raise DatasetError(f"{where} must hold a list of records; got {describe(dataset)}. Put some into it.")
    if not isinstance(label_map, dict) or label_map != LABEL_MAP:
        got = describe(label_map)
        raise DatasetError(f"{where} must have label_map {LABEL_MAP}; got label_map={got}. Correct it.")
    records, faults, room = list(dataset), Faults(), max_bytes
    dataset = content = None  # the records go one by one
    parsed: list[Parsed | None] = []
    for i, record in enumerate(records):
        records[i] = item = None
        # A file may list one record a million times, and be small itself.
        size = 0
        try:
            item = parse(record)
            size = item[1].size // len(CLASSES) * (3 + len(CLASSES)) + OBJECT * sum(map(len, item[2]))
        except RecordError as error:
            faults.add(i, error)
        room -= max(size, RECORD)
        if room < 0:
            raise TooLargeError(max_bytes)
        parsed.append(item)
    return _stack(parsed, faults, where)


def _stack(parsed: list[Parsed | None], faults: Faults, where: str) -> Data:
    """Put parsed records into arrays of the commonest shape, and check the masks' values."""
    shapes = Counter(item[1].shape for item in parsed if item is not None)
    shape = shapes.most_common(1)[0][0] if shapes else (len(CLASSES), 0, 0)
    kept = []
    for i, item in enumerate(parsed):
        if item is not None and item[1].shape == shape:
            kept.append(i)
        elif item is not None:
            rule = f"mask_array must have the commonest shape, {shape}"
            faults.add(i, RecordError(rule, f"shape {item[1].shape}"))
    images = np.empty((len(kept), *shape[1:], 3), np.uint8)
    masks = np.empty((len(kept), *shape), np.uint8)
    boxes: list[Boxes] = []
    for k, i in enumerate(kept):
        item, parsed[i] = parsed[i], None
        assert item is not None
        for c in range(3):
            images[k, :, :, c] = item[0][c].reshape(shape[1:])
        masks[k] = item[1]
        boxes.append(item[2])
    check_mask_values(masks, kept, faults)
    faults.raise_any(where, len(parsed))
    return Data(images, masks, boxes)


def check_mask_values(masks: Bytes, records: Sequence[int], faults: Faults) -> None:
    """Note the records whose mask channels hold anything but 0 and their class's value."""
    for c, value in enumerate(MASK_VALUES):
        channel = masks[:, c]
        wrong = (channel != 0) & (channel != value)
        rule = f"mask_array[{c}] ({CLASSES[c]}) must hold 0 and {value} only"
        for i in np.flatnonzero(wrong.any(axis=(1, 2))).tolist():
            faults.add(records[i], RecordError(rule, str(channel[i][wrong[i]][0])))


def parse(record: Any) -> Parsed:
    """Return a record's three channels, mask array and boxes, or raise a RecordError."""
    fields = isinstance(record, list | tuple)
    if not fields or len(record) != 5:
        got = f"{len(record)} fields" if fields else describe(record)
        raise RecordError("a record must be [R, G, B, mask_array, mask_val_to_bbox_map]", got)
    if not isinstance(record[3], Array):
        raise RecordError("mask_array must be a NumPy array", describe(record[3]))
    mask = numbers(record[3], "mask_array")
    if mask.ndim != 3 or mask.shape[0] != len(CLASSES):
        raise RecordError(f"mask_array must have shape ({len(CLASSES)}, H, W)", f"shape {mask.shape}")
    height, width = mask.shape[1:]
    channels = []
    for name, values in zip("RGB", record[:3], strict=True):
        channel = numbers(values, name, (height, width))
        if channel.shape not in ((height * width,), (height, width)):
            got = f"{channel.size} values" if channel.ndim == 1 else f"shape {channel.shape}"
            raise RecordError(_pixels_rule(name, height, width), got)
        channels.append(channel)
    return channels, mask, parse_boxes(record[4], height, width)


def numbers(values: Any, name: str, pixels: tuple[int, int] | None = None) -> Bytes:
    """Return integers 0..255, in a list, a tuple or an array, as uint8.

    Args:
        values: what the file has for them.
        name: what an error calls them.
        pixels: H and W, where a list or a tuple must not have more values than pixels.
    """
    rule = f"{name} must hold integers 0..255"
    if isinstance(values, Array):
        return _from_array(values, rule)
    if not isinstance(values, list | tuple):
        raise RecordError(rule, describe(values))
    kinds = {kind.__name__ for kind in set(map(type, values)) - {int, ByteRun}}
    if kinds:
        raise RecordError(rule, f"a {min(kinds)}")
    wrong = next((value for value in values if type(value) is int and not 0 <= value <= 255), None)
    if wrong is not None:
        raise RecordError(rule, describe(wrong))
    # A list may name one long run a thousand times.
    length = sum(len(value) if type(value) is ByteRun else 1 for value in values)
    if pixels is not None and length > pixels[0] * pixels[1]:
        raise RecordError(_pixels_rule(name, *pixels), f"{length} values")
    if not any(type(value) is ByteRun for value in values):
        return np.frombuffer(bytes(values), np.uint8)
    joined = b"".join(value if type(value) is ByteRun else bytes((value,)) for value in values)
    return np.frombuffer(joined, np.uint8)


def _pixels_rule(name: str, height: int, width: int) -> str:
    return f"{name} must hold the mask's H * W = {height} * {width} values"


def _from_array(values: Array, rule: str) -> Bytes:
    """Return an array of integers as uint8 if all of them are in range."""
    array = values.array
    if array is None or array.dtype.kind not in "iu":
        raise RecordError(rule, f"an array of dtype {values.dtype}")
    if array.dtype != np.uint8:
        wrong = (array < 0) | (array > 255)
        if wrong.any():
            raise RecordError(rule, str(array[wrong][0]))
    return array.astype(np.uint8, copy=False)


def parse_boxes(found: Any, height: int, width: int) -> Boxes:
    """Return a record's boxes by class, from a dict in either key style."""
    if not isinstance(found, dict):
        raise RecordError("mask_val_to_bbox_map must be a dict", describe(found))
    keys = next((keys for keys in KEYS.values() if set(found) == set(keys)), None)
    if keys is None:
        styles = " or ".join(str(list(keys)) for keys in KEYS.values())
        raise RecordError(f"mask_val_to_bbox_map must have the keys {styles}", describe(list(found)))
    boxes = [_items(found[key], "a class's boxes") for key in keys]
    if max(map(len, boxes)) > height * width:
        raise RecordError("a class must have at most H * W boxes", str(max(map(len, boxes))))
    return [[_box(box, height, width) for box in of_class] for of_class in boxes]


def _items(values: Any, name: str) -> list[Any]:
    """Return the entries of a list, a tuple or an array of one or two axes."""
    if isinstance(values, Array) and values.array is not None and values.array.ndim in (1, 2):
        return list(values.array.tolist())
    if isinstance(values, list | tuple):
        return list(values)
    raise RecordError(f"{name} must be a list", describe(values))


def _box(values: Any, height: int, width: int) -> list[int]:
    """Return [min_x, min_y, max_x, max_y] if it is one, inside an image of that size."""
    box = _items(values, "a box")
    if len(box) != 4 or not all(type(side) is int for side in box):
        raise RecordError("a box must be four integers, [min_x, min_y, max_x, max_y]", describe(box))
    if not (0 <= box[0] <= box[2] < width and 0 <= box[1] <= box[3] < height):
        rule = f"a box must have 0 <= min_x <= max_x < {width} and 0 <= min_y <= max_y < {height}"
        raise RecordError(rule, describe(box))
    return box


def describe(value: Any) -> str:
    """Say in a few words what a value is, also of a very large one."""
    if isinstance(value, list | tuple) and len(value) > 6:
        return f"a {type(value).__name__} of {len(value)}"
    short = reprlib.Repr()
    short.maxlevel, short.maxdict, short.maxlist = 2, 6, 6
    try:
        return short.repr(value)
    except ValueError:  # Python does not write integers of thousands of digits
        return f"a {type(value).__name__} with a very large number"
