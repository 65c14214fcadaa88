"""Broken, hostile and endless files each give one DatasetError that names the file, and nothing is run."""

from __future__ import annotations

import gzip
import os
import pickle
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.purdue_shapes import CLASSES, DatasetError, generate, load, save

LABEL_MAP = {"rectangle": 50, "triangle": 100, "disk": 150, "oval": 200, "star": 250}
HEIGHT, WIDTH = 32, 36
NAME = "PurdueShapes5MultiObject-9-train.gz"


def records(count: int = 9) -> list[list[Any]]:
    """Return well-formed records, each with a rectangle's box."""
    data = generate(count, 0, (HEIGHT, WIDTH))
    return [
        [
            *(image[..., c].ravel().tolist() for c in range(3)),
            mask.copy(),
            {50: [[1, 2, 3, 4]], 100: [], 150: [], 200: [], 250: []},
        ]
        for image, mask in zip(data.images, data.masks, strict=True)
    ]


def write(folder: Path, pickled: bytes) -> Path:
    (folder / NAME).write_bytes(gzip.compress(pickled, 1, mtime=0))
    return folder / NAME


def refused(path: Path, **options: Any) -> str:
    """Load a file that must be refused; return the error's words after the file's name."""
    with pytest.raises(DatasetError) as caught:
        load(path, cache=False, **options)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.count(NAME) == 1
    assert message.endswith(".")
    assert len(message) < 2500
    return message.removeprefix(str(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=NAME):
        load(tmp_path / NAME)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "ends too early"),
        (b"plain text", "must be an intact gzip file; reading it failed: Not a gzipped file"),
        (pickle.dumps([records(1), LABEL_MAP]), "must be an intact gzip file"),
        (b"\x1f\x8b\x08\x00", "gzip file must be whole"),
        (gzip.compress(b"", mtime=0), "ends too early"),
        (gzip.compress(b"hello, world", mtime=0), "must hold a well-formed pickle; got UnpicklingError"),
        (gzip.compress(b"\x89PNG\r\n\x1a\n", mtime=0), "pickle"),
        (gzip.compress(b"\x80\x09.", mtime=0), "unsupported pickle protocol: 9"),
        (gzip.compress(b".", mtime=0), "must hold a well-formed pickle"),
        (
            gzip.compress(pickle.dumps([records(1), LABEL_MAP]) + b"x" * 7),
            "must end the file; got 7 bytes after it",
        ),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert told in refused(tmp_path / NAME)


def test_files_cut_short_anywhere(tmp_path: Path) -> None:
    save(tmp_path / NAME, generate(2, 0, (HEIGHT, WIDTH)))
    whole = (tmp_path / NAME).read_bytes()
    assert len(whole) > 500
    for length in [*range(0, len(whole), 13), *range(len(whole) - 12, len(whole))]:
        (tmp_path / NAME).write_bytes(whole[:length])
        refused(tmp_path / NAME)


def test_pickles_cut_short_anywhere(tmp_path: Path) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        whole = pickle.dumps([records(1), LABEL_MAP], protocol)
        for length in [*range(0, len(whole), len(whole) // 40), len(whole) - 1]:
            refused(write(tmp_path, whole[:length]))


def test_a_damaged_byte_is_noticed_or_does_no_harm(tmp_path: Path) -> None:
    """Only gzip's header holds bytes that mean nothing here: its flags, time, level and system."""
    data = generate(2, 0, (HEIGHT, WIDTH))
    save(tmp_path / NAME, data)
    whole = (tmp_path / NAME).read_bytes()
    for at in [*range(20), *range(20, len(whole) - 8, 7), *range(len(whole) - 8, len(whole))]:
        damaged = bytearray(whole)
        damaged[at] ^= 0x41
        (tmp_path / NAME).write_bytes(damaged)
        if 3 <= at < 10:
            assert np.array_equal(load(tmp_path / NAME, cache=False).images, data.images)
        else:
            refused(tmp_path / NAME)


def test_a_damaged_pickle_is_refused_or_still_a_data_set(tmp_path: Path) -> None:
    """Whatever a pickle holds, the only error is a DatasetError."""
    numbers = random.Random(0)
    seen = {True: 0, False: 0}
    for protocol in (0, 2, 3, 4):
        whole = pickle.dumps([records(1), LABEL_MAP], protocol)
        start = whole.index(b"numpy") - 30  # the opcodes of the mask and the boxes; before are R, G and B
        places = [*range(20), *range(start, start + 400), *range(len(whole) - 300, len(whole))]
        for _ in range(100):
            damaged = bytearray(whole)
            damaged[numbers.choice(places)] = numbers.randrange(256)
            write(tmp_path, bytes(damaged))
            try:
                data = load(tmp_path / NAME, cache=False)
            except DatasetError:
                seen[False] += 1
            else:
                seen[True] += 1
                assert data.images.shape == (1, HEIGHT, WIDTH, 3)
    assert min(seen.values()) > 20


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def global_call(module: str, name: str, *arguments: str) -> bytes:
    """Write the pickle of a call of any name, importable here or not."""
    pushed = b"".join(b"X" + struct.pack("<I", len(a)) + a.encode() for a in arguments)
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + pushed + b"tR."


@pytest.mark.parametrize("place", ["whole file", "label map", "a mask", "a colour", "a box", "a key's list"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_call_is_refused_wherever_it_stands(tmp_path: Path, place: str, protocol: int) -> None:
    canary = tmp_path / "canary"
    bomb = Calls(os.mkdir, str(canary))
    content: list[Any] = [records(3), LABEL_MAP]
    if place == "whole file":
        content = bomb  # type: ignore[assignment]
    elif place == "label map":
        content[1] = bomb
    elif place == "a mask":
        content[0][1][3] = bomb
    elif place == "a colour":
        content[0][1][0][77] = bomb
    elif place == "a box":
        content[0][1][4][50] = [bomb]
    else:
        content[0][1][4][50] = bomb
    pickled = pickle.dumps(content, protocol)
    try:
        pickle.loads(pickled)
    finally:
        assert canary.exists()  # an ordinary unpickler runs it
        canary.rmdir()
    told = refused(write(tmp_path, pickled))
    assert "must hold plain data; it asks for" in told
    assert "mkdir" in told
    assert "was not run" in told
    assert not canary.exists()


HOSTILE = {
    "os.system": global_call("os", "system", "touch canary"),
    "posix.system": global_call("posix", "system", "touch canary"),
    "builtins.eval": global_call("builtins", "eval", "open('canary', 'w')"),
    "__builtin__.eval": global_call("__builtin__", "eval", "open('canary', 'w')"),
    "builtins.exec": global_call("builtins", "exec", "open('canary', 'w')"),
    "builtins.getattr": global_call("builtins", "getattr", "a", "join"),
    "builtins.__import__": global_call("builtins", "__import__", "antigravity"),
    "importlib.import_module": global_call("importlib", "import_module", "antigravity"),
    "a module that only importing would run": global_call("antigravity", "fly", ""),
    "subprocess": global_call("subprocess", "Popen", "touch canary"),
    "pickle.loads": global_call("pickle", "loads", "x"),
    "copyreg": global_call("copyreg", "_reconstructor", "x"),
    "codecs": global_call("codecs", "encode", "a", "rot13"),
    "functools.partial": global_call("functools", "partial", "x"),
    "numpy.load": global_call("numpy", "load", "canary"),
    "numpy.fromfile": global_call("numpy", "fromfile", "canary"),
    "numpy.memmap": global_call("numpy", "memmap", "canary", "u1", "w+"),
    "numpy runstring": global_call("numpy.testing._private.utils", "runstring", "open('canary', 'w')", "x"),
    "numpy.f2py": global_call("numpy.f2py", "compile", "x"),
    "ctypes": global_call("ctypes", "CDLL", "libc.so.6"),
    "a method of an allowed name": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93)R.",
    "a way out of an allowed name": b"\x80\x04\x8c\x05numpy\x8c\x19ndarray.__class__.__mro__\x93)R.",
    "our own module": global_call("datasets.purdue_shapes", "save", "canary"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_names_off_the_list_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "antigravity.py").write_text("open('canary', 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    told = refused(write(tmp_path, HOSTILE[name]))
    assert "must hold plain data; it asks for" in told
    assert not (tmp_path / "canary").exists()


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
DTYPE = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR"
OPCODES = {
    "INST": b"(S'touch canary'\nios\nsystem\n.",
    "OBJ": b"(cnumpy\ndtype\nS'u1'\no.",
    "NEWOBJ": b"\x80\x02cnumpy\ndtype\nU\x02u1\x85\x81.",
    "EXT1": b"\x80\x02\x82\x01.",
    "PERSID": b"Pcanary\n.",
    "BINPERSID": b"U\x06canaryQ.",
    "sets": pickle.dumps({1, 2}, 4),
    "out-of-band buffer": b"\x80\x05\x97.",
    "call of numpy.ndarray": b"cnumpy\nndarray\n((I9\nttR.",
    "call of a list": b"](I1\ntR.",
    "call of a tuple": b"(I1\nI2\nt(I1\ntR.",
    "state for a list": b"](dS'a'\nI1\nsb.",
    "state for a function": b"cnumpy.core.multiarray\n_reconstruct\n(dS'a'\nI1\nsb.",
    "state for a class": b"cnumpy\ndtype\n(dS'a'\nI1\nsb.",
    "append to an array": ARRAY + b"I1\na.",
    "append to a tuple": b")I1\na.",
    "item of a list": b"]I0\nI1\ns.",
    "odd number of items": b"}(I1\nu.",
    "array with a state of nothing": ARRAY + b"Nb.",
    "array with too few bytes": ARRAY + b"(I1\n(I5\nI9\nt" + DTYPE + b"I0\nS'abc'\ntb.",
    "array with a negative side": ARRAY + b"(I1\n(I-1\nI-3\nt" + DTYPE + b"I0\nS'abc'\ntb.",
    "array with a side and no pixels": ARRAY + b"(I1\n(I9999999999\nI0\nt" + DTYPE + b"I0\nS''\ntb.",
    "array with no dtype": ARRAY + b"(I1\n(I3\ntNI0\nS'abc'\ntb.",
    "array of a list of bytes": ARRAY + b"(I1\n(I3\nt" + DTYPE + b"I0\n]tb.",
    "bytes in another encoding": b"c_codecs\nencode\n(S'abc'\nS'rot13'\ntR.",
    "memo never filled": b"h\x07.",
    "number of too many digits": b"L" + b"9" * 5000 + b"L\n.",
    "unknown opcode": b"\xff.",
}


OPCODE = "must hold plain data; got opcode"
TOLD = {
    **dict.fromkeys(["INST", "OBJ", "NEWOBJ", "EXT1", "PERSID", "BINPERSID", "sets", "out-of-band"], OPCODE),
    "call of": "it calls something else, which was not run",
    "state for": "only arrays and dtypes may be given a state",
    "append to": "only a list may be appended to",
}


@pytest.mark.parametrize("name", list(OPCODES))
def test_opcodes_that_data_does_not_need_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = refused(write(tmp_path, OPCODES[name]))
    for kind, words in TOLD.items():
        if name.startswith(kind):
            assert words in told
    assert not (tmp_path / "canary").exists()


def shared(levels: int, leaf: bytes, wrap: bytes) -> bytes:
    """Nest a value in itself by reference, twice at each level: 2 ** levels leaves in a few bytes each."""
    return leaf + (b"q\x00(h\x00h\x00" + wrap) * levels


BOMBS = {
    "zeros that never end": b"\x80\x04B" + struct.pack("<I", 40 << 20) + bytes(40 << 20) + b".",
    "a text that never ends": b"V" + b"a" * (40 << 20),
    "many small lists": b"]" * (4 << 20),
    "many marks": b"(" * (4 << 20),
    "many memos": b"\x80\x04]" + b"\x94" * (4 << 20),
    "one text encoded many times": b"\x80\x02c_codecs\nencode\nq\x00X"
    + struct.pack("<I", 1 << 20)
    + b"a" * (1 << 20)
    + b"U\x06latin1\x86q\x01("
    + b"h\x00h\x01R" * 50,
    "a claim of bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc.",
    "a claim of a byte array": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc.",
    "a claim of a memo": b"\x80\x02]r\xff\xff\xff\xff.",
    "a claim of an array": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L1099511627776L\ntS'b'\ntR.",
    "a key that takes for ever to hash": b"}(" + shared(200, b")", b"t") + b"I1\nu.",
    "a record in itself": b"(" + shared(200, b"]", b"l") + b"}t.",
    "a label map in itself": b"(]" + b"N" + b"a" + shared(200, b"}", b"l") + b"t.",
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_a_bomb_takes_neither_memory_nor_time(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, BOMBS[name])
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    try:
        refused(path, max_bytes=8 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20


def test_one_record_listed_many_times_counts_each_time(tmp_path: Path) -> None:
    record = records(1)[0]
    path = write(tmp_path, pickle.dumps([[record] * 2000, LABEL_MAP]))
    assert "must fit max_bytes=8388608" in refused(path, max_bytes=8 << 20)
    assert len(load(path, cache=False)) == 2000


def test_the_maximum_is_stated_and_can_be_raised(tmp_path: Path) -> None:
    save(tmp_path / NAME, generate(9, 0))
    told = refused(tmp_path / NAME, max_bytes=9 * 64 * 64 * 8)
    assert told == (
        ": the unpacked data must fit max_bytes=294912; got more. If you trust the file, pass a larger max_bytes."
    )
    assert len(load(tmp_path / NAME, cache=False, max_bytes=2 * 9 * 64 * 64 * 8)) == 9


def mask(change: Callable[[np.ndarray], Any]) -> Callable[[list[Any]], None]:
    def apply(record: list[Any]) -> None:
        record[3] = change(record[3])

    return apply


def put(at: Any, value: Any, field: int = 3) -> Callable[[list[Any]], None]:
    def apply(record: list[Any]) -> None:
        record[field][at] = value

    return apply


def field(index: int, value: Any) -> Callable[[list[Any]], None]:
    def apply(record: list[Any]) -> None:
        record[index] = value(record[index]) if callable(value) else value

    return apply


KEYS = r"must have the keys [50, 100, 150, 200, 250] or [0, 1, 2, 3, 4]; got "
BAD: dict[str, tuple[Callable[[list[Any]], None], str]] = {
    "no record": (
        lambda record: record.clear(),
        "a record must be [R, G, B, mask_array, mask_val_to_bbox_map]; got 0 fields",
    ),
    "four fields": (
        lambda record: record.pop(),
        "a record must be [R, G, B, mask_array, mask_val_to_bbox_map]; got 4 fields",
    ),
    "R short": (field(0, lambda r: r[:-1]), "R must hold the mask's H * W = 32 * 36 values; got 1151 values"),
    "G long": (field(1, lambda g: [*g, 0]), "G must hold the mask's H * W = 32 * 36 values; got 1153 values"),
    "B empty": (field(2, []), "B must hold the mask's H * W = 32 * 36 values; got 0 values"),
    "B turned": (
        field(2, lambda b: np.array(b).reshape(WIDTH, HEIGHT)),
        "B must hold the mask's H * W = 32 * 36 values; got shape (36, 32)",
    ),
    "R of 256": (put(40, 256, 0), "R must hold integers 0..255; got 256"),
    "R of -1": (put(1150, -1, 0), "R must hold integers 0..255; got -1"),
    "R of a huge number": (
        put(7, 10**6000, 0),
        "R must hold integers 0..255; got a int with a very large number",
    ),
    "G of a float": (put(40, 1.0, 1), "G must hold integers 0..255; got a float"),
    "G of a boolean": (put(40, True, 1), "G must hold integers 0..255; got a bool"),
    "G of None": (field(1, None), "G must hold integers 0..255; got None"),
    "G of text": (field(1, "x" * 1152), "G must hold integers 0..255; got 'xxxx"),
    "B an array of floats": (
        field(2, lambda b: np.array(b) / 2),
        "B must hold integers 0..255; got an array of dtype f8",
    ),
    "B an array of 300": (field(2, lambda b: np.array(b) + 300), "B must hold integers 0..255; got "),
    "B an array of -1": (
        field(2, lambda b: np.full(len(b), -1, np.int8)),
        "B must hold integers 0..255; got -1",
    ),
    "R an array of objects": (
        field(0, lambda r: np.array(r, object)),
        "R must hold integers 0..255; got an array of dtype O8",
    ),
    "mask a list": (mask(np.ndarray.tolist), "mask_array must be a NumPy array; got "),
    "mask of objects": (
        mask(lambda m: m.astype(object)),
        "mask_array must hold integers 0..255; got an array of dtype O8",
    ),
    "mask of floats": (
        mask(lambda m: m / 1),
        "mask_array must hold integers 0..255; got an array of dtype f8",
    ),
    "mask of dates": (
        mask(lambda m: m.astype("M8[s]")),
        "mask_array must hold integers 0..255; got an array of dtype M8",
    ),
    "mask of fields": (
        mask(lambda m: np.zeros(3, [("a", "u1")])),
        "mask_array must hold integers 0..255; got an array of dtype V1",
    ),
    "mask of 300": (mask(lambda m: m.astype(int) + 300), "mask_array must hold integers 0..255; got 300"),
    "four masks": (mask(lambda m: m[:4]), "mask_array must have shape (5, H, W); got shape (4, 32, 36)"),
    "masks last": (
        mask(lambda m: m.transpose(1, 2, 0)),
        "mask_array must have shape (5, H, W); got shape (32, 36, 5)",
    ),
    "flat mask": (mask(np.ravel), "mask_array must have shape (5, H, W); got shape (5760,)"),
    "mask of another class's value": (
        put((1, 5, 6), 50),
        "mask_array[1] (triangle) must hold 0 and 100 only; got 50",
    ),
    "mask of 255": (put((4, 31, 35), 255), "mask_array[4] (star) must hold 0 and 250 only; got 255"),
    "boxes a list": (field(4, []), "mask_val_to_bbox_map must be a dict; got []"),
    "a key missing": (lambda record: record[4].pop(150), KEYS + "[50, 100, 200, 250]"),
    "a key too many": (put(300, [], 4), KEYS + "[50, 100, 150, 200, 250, 300]"),
    "keys of names": (
        field(4, {name: [] for name in CLASSES}),
        KEYS + "['rectangle', 'triangle', 'disk', 'oval', 'star']",
    ),
    "keys from 1": (field(4, {c: [] for c in range(1, 6)}), KEYS + "[1, 2, 3, 4, 5]"),
    "boxes of None": (put(50, None, 4), "a class's boxes must be a list; got None"),
    "a box outside a list": (put(50, [1, 2, 3, 4], 4), "a box must be a list; got 1"),
    "a box of three": (
        put(50, [[1, 2, 3]], 4),
        "a box must be four integers, [min_x, min_y, max_x, max_y]; got [1, 2, 3]",
    ),
    "a box of floats": (
        put(50, [[1, 2, 3, 4.5]], 4),
        "four integers, [min_x, min_y, max_x, max_y]; got [1, 2, 3, 4.5]",
    ),
    "a box of text": (put(50, ["1234"], 4), "a box must be a list; got '1234'"),
    "a box inside out": (
        put(50, [[9, 2, 3, 4]], 4),
        "0 <= min_x <= max_x < 36 and 0 <= min_y <= max_y < 32; got [9, 2, 3, 4]",
    ),
    "a box upside down": (put(50, [[1, 9, 3, 4]], 4), "max_y < 32; got [1, 9, 3, 4]"),
    "a box beyond the right": (put(50, [[1, 2, 36, 4]], 4), "max_y < 32; got [1, 2, 36, 4]"),
    "a box beyond the bottom": (put(50, [[1, 2, 35, 32]], 4), "max_y < 32; got [1, 2, 35, 32]"),
    "a box left of the image": (put(50, [[-1, 2, 3, 4]], 4), "max_y < 32; got [-1, 2, 3, 4]"),
    "more boxes than pixels": (
        put(50, [[1, 2, 3, 4]] * 1153, 4),
        "a class must have at most H * W boxes; got 1153",
    ),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_a_bad_record_is_named(tmp_path: Path, kind: str) -> None:
    change, told = BAD[kind]
    content = records()
    change(content[5])
    message = refused(write(tmp_path, pickle.dumps([content, LABEL_MAP])))
    first, fault, last = message.split("\n")
    assert first == " must hold well-formed records; got 1 of 9 that are not, from 0:"
    assert fault.startswith("  record 5: ")
    assert told in fault
    assert last == "Correct these records, or make the data set again."


def test_all_bad_records_are_told_at_once(tmp_path: Path) -> None:
    content = records(10)
    for i in (1, 3, 4, 5):
        put(i, 256 + i, 0)(content[i])
    for i in (0, 5, 8):
        put((0, i, 0), 7)(content[i])
    content[2] = None  # type: ignore[call-overload]
    # Two records of another size, each in itself well-formed.
    for i in (6, 7):
        content[i][:3] = [channel[:-WIDTH] for channel in content[i][:3]]
        content[i][3] = content[i][3][:, :-1]
    message = refused(write(tmp_path, pickle.dumps([content, LABEL_MAP])))
    assert message.split("\n")[1:-1] == [
        "  records 1, 3-5: R must hold integers 0..255; got 257 in record 1.",
        "  record 2: a record must be [R, G, B, mask_array, mask_val_to_bbox_map]; got None.",
        "  records 6-7: mask_array must have the commonest shape, (5, 32, 36); got shape (5, 31, 36) in record 6.",
        "  records 0, 8: mask_array[0] (rectangle) must hold 0 and 50 only; got 7 in record 0.",
    ]
    assert "got 9 of 10" in message


def test_many_bad_records_are_told_briefly(tmp_path: Path) -> None:
    content = [[*record, None] if i % 2 else record for i, record in enumerate(records(60))]
    message = refused(write(tmp_path, pickle.dumps([content, LABEL_MAP])))
    assert "got 30 of 60" in message
    assert "records 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23 and 18 more: a record must be" in message


def test_when_no_record_is_good(tmp_path: Path) -> None:
    assert "got 2 of 2" in refused(write(tmp_path, pickle.dumps([[None, 5], LABEL_MAP])))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "must hold [dataset, label_map]; got None"),
        ([], "must hold [dataset, label_map]; got []"),
        (records(3), "must hold [dataset, label_map]; got ["),
        ({"dataset": [], "label_map": {}}, "must hold [dataset, label_map]; got {"),
        (b"bytes", "must hold [dataset, label_map]; got b'bytes'"),
        ([{}, LABEL_MAP], "must hold a list of records; got {}"),
        ([[], LABEL_MAP], "must hold a list of records; got []"),
        ([records(1), None], "got label_map=None"),
        ([records(1), {}], "got label_map={}"),
        ([records(1), {**LABEL_MAP, "star": 251}], "must have label_map {'rectangle': 50, "),
        ([records(1), {"rectangle": 50}], "got label_map={'rectangle': 50}"),
    ],
)
def test_files_of_another_kind_of_data(tmp_path: Path, content: object, told: str) -> None:
    assert told in refused(write(tmp_path, pickle.dumps(content)))
