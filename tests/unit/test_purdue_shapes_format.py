"""Files are written as documented, for everyone's readers, and files of every origin are read."""

from __future__ import annotations

import base64
import gc
import gzip
import os
import pickle
import types
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.purdue_shapes import CLASSES, MASK_VALUES, Data, DatasetError, generate, load, save
from datasets.purdue_shapes import pickle_format as module
from tests.conftest import needs
from tests.dlstudio import import_dlstudio

LABEL_MAP = {"rectangle": 50, "triangle": 100, "disk": 150, "oval": 200, "star": 250}
KEYS = {"mask-value": [50, 100, 150, 200, 250], "shape-index": [0, 1, 2, 3, 4]}
SIZES = [(64, 64), (33, 70), (300, 41)]
# A record that Python 2.7 and NumPy 1.16 pickled: R a list, G a tuple, B an array of int64.
PYTHON_2 = {
    "pickle, protocol 0": "eNrVVE1vgzAMvftf7ASXVcQQPqT9gVx6aK+TppQyVI3SCNJplfbj9xxYNWkS7LqDn5GfnTi2cdy5"
    "hOLOKQEWSMkkZA0LZAK5QCmgkoCBUoFTgVTlFBFQWBsbRSYno6AUNEMzdAqdQmfQGbSG1jl5l5Gt++vZ3Tb1ZWg252vnT3YY"
    "7I1ehqa+9KMfrrUnpyme/Kg/TrzLKUbG3hW0jw4RuRLfFe2cwsOQBoRhQSZz4NHfXEMO1ngfnUpEqPBm+MItk0jcYlIc9yRk"
    "Ttvt1jwiUxG5SRV0MHjtPnr+SJIVSVf4fJH3K9H1Cv+6zCte4fUKX67whxW+WeIflkhpjbRaVXSwLTrWfg8CJrAVBkO3c8zz"
    "FGhMHoZO7Cm1U/evCqdwdu8+a4nI5+5/Cln86j6XP7vP9woy/2Ea/pm8WqlBhVenCcocH538wfKny6ZgGg3r6TsNmEmRsQQg"
    "s7ZjWBtCarjP3nnAQqpup3Uja2Tynl1KGq0NN1Yo9eXddkgFSyfcPu6j0dtBLJKPDpbjaXwTC1M4BBY/nGzfdo1Y0Xw1RWKh"
    "+LsZGYuv3XwBZileeQ==",
    "cPickle, protocol 2": "eNqVkctKw0AUhpMmrW1aba2tioIiuIibgHHTRZ/AH4oIsxw0N2ywt5NOxIIFN6UIrrv2IXyIPoRP"
    "0o1O2gE3bjxw5mPO/Mx8MK85TrrNScKQMG1oaMBGGzcI8Yx3fOATS3xFNnQUUEYNTRzhFOe4gIMrtATlg0HaH02cYJhETj/t"
    "idhLEm9i3SVRMByMRZIGwqLCJmUNws0pbUGbMd2f31Ixu7wyU4FQTEaRRSWWi1tSR5cBy4bB9Han07n+lrVeoAn/jd1rqgzF"
    "gmJJsaJYVawrNhUPFY8VTxTPFIXfLXR/VcuZah4GzHlXGqaXyrCyNnz5w7Ctua627v/XSvhT2rax5Fhx2uFUlc8gl3XkIeRw"
    "OdU47WZSmpzrcrrgaeRNqW4zc/jk9WgPS2aOhZdQAytmhvH4kZpYsKJIYm/w0ItoHyEryb8Sm+0B3DRyfgAVUoH1",
}


def records(data: Data, keys: str = "mask-value") -> list[list[Any]]:
    """Return a data set as the lecture documents it."""
    found = []
    for image, mask, boxes in zip(data.images, data.masks, data.boxes, strict=True):
        colours = [image[..., c].ravel().tolist() for c in range(3)]
        found.append([*colours, mask.copy(), dict(zip(KEYS[keys], boxes, strict=True))])
    return found


def dump(path: Path, content: object, protocol: int = 4) -> Path:
    with gzip.open(path, "wb", 1) as file:
        pickle.dump(content, file, protocol)
    return path


def assert_same(found: Data, expected: Data) -> None:
    assert len(found) == len(expected) > 0
    assert found.images.dtype == found.masks.dtype == np.uint8
    assert np.array_equal(found.images, expected.images)
    assert np.array_equal(found.masks, expected.masks)
    assert found.boxes == expected.boxes
    assert all(type(side) is int for image in found.boxes for boxes in image for box in boxes for side in box)
    assert found.classes == CLASSES


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", list(KEYS))
def test_round_trip(tmp_path: Path, keys: str, size: tuple[int, int]) -> None:
    data = generate(70, 1, size)  # more than the writer's block
    save(tmp_path / "a.gz", data, keys)
    assert_same(load(tmp_path / "a.gz", cache=False), data)
    assert_same(load(str(tmp_path / "a.gz")), data)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", list(KEYS))
def test_an_ordinary_unpickler_reads_what_the_lecture_documents(
    tmp_path: Path, keys: str, size: tuple[int, int]
) -> None:
    data = generate(5, 2, size)
    save(tmp_path / "a.gz", data, keys)
    dataset, label_map = pickle.loads(gzip.decompress((tmp_path / "a.gz").read_bytes()))
    assert label_map == LABEL_MAP
    assert type(dataset) is list
    expected = records(data, keys)
    for found, wanted in zip(dataset, expected, strict=True):
        assert type(found) is list
        assert all(type(channel) is list for channel in found[:3])
        assert all(type(value) is int for channel in found[:3] for value in channel)
        assert found[:3] == wanted[:3]
        assert (type(found[3]), found[3].dtype, found[3].shape) == (np.ndarray, np.uint8, (5, *size))
        assert np.array_equal(found[3], wanted[3])
        assert found[4] == wanted[4]


def test_the_pickle_names_numpy_as_every_version_knows_it(tmp_path: Path) -> None:
    save(tmp_path / "a.gz", generate(2, 0))
    content = gzip.decompress((tmp_path / "a.gz").read_bytes())
    assert content[:2] == b"\x80\x03"  # protocol 3, which Python 3.0 reads
    assert content.count(b"cnumpy.core.multiarray\n_reconstruct\n") == 2
    assert b"_core" not in content


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    data = generate(3, 4)
    box = [1, 2, 3, 4]
    apart = Data(data.images, data.masks, [[[list(box)], [], [list(box)], [], []]] * 3)
    shared = Data(data.images, np.asfortranarray(data.masks), [[[box], [], [box], [], []] for _ in range(3)])
    save(tmp_path / "a.gz", apart)
    os.utime(tmp_path / "a.gz", (0, 0))
    save(tmp_path / "another.gz", shared)
    written = (tmp_path / "a.gz").read_bytes()
    assert written == (tmp_path / "another.gz").read_bytes()
    assert written[4:8] == bytes(4)  # gzip's time of writing


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.gz", generate(2, 0))
    before = (tmp_path / "a.gz").read_bytes()
    calls = iter([[b"x" * 100]])
    monkeypatch.setattr(module, "_records", lambda *_: next(calls))
    with pytest.raises(StopIteration):
        save(tmp_path / "a.gz", generate(70, 1))
    assert (tmp_path / "a.gz").read_bytes() == before
    assert os.listdir(tmp_path) == ["a.gz"]


def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    save(tmp_path / "a.gz", generate(1, 0))
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.gz").stat().st_mode == (tmp_path / "plain").stat().st_mode


AS = {
    "list": list,
    "tuple": tuple,
    "uint8 array": lambda values: np.array(values, np.uint8),
    "int64 array": np.array,
    "big-endian array": lambda values: np.array(values, ">i4"),
    "H x W array": lambda values: np.array(values).reshape(32, 33),
    "list of NumPy integers": lambda values: list(np.array(values, np.int16)),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", list(AS))
def test_colours_are_read_from_every_container_and_protocol(tmp_path: Path, kind: str, protocol: int) -> None:
    data = generate(2, 3, (32, 33))  # 1056 values: pickled as a run of 1000 and 56 apart
    content = [[*map(AS[kind], record[:3]), *record[3:]] for record in records(data)]
    path = dump(tmp_path / "a.gz", [content, LABEL_MAP], protocol)
    assert_same(load(path, cache=False), data)


MASKS = {
    "int64": lambda mask: mask.astype(np.int64),
    "column-major": np.asfortranarray,
    "transposed": lambda mask: np.ascontiguousarray(mask.transpose(1, 2, 0)).transpose(2, 0, 1),
    "sliced": lambda mask: np.repeat(mask, 2, axis=2)[:, :, ::2],
    "big-endian": lambda mask: mask.astype(">u2"),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", list(MASKS))
def test_masks_are_read_from_every_layout_and_protocol(tmp_path: Path, kind: str, protocol: int) -> None:
    data = generate(2, 3, (33, 40))
    content = [[*record[:3], MASKS[kind](record[3]), record[4]] for record in records(data)]
    path = dump(tmp_path / "a.gz", [content, LABEL_MAP], protocol)
    assert_same(load(path, cache=False), data)


BOXES = {
    "lists": lambda boxes: boxes,
    "tuples": lambda boxes: tuple(tuple(box) for box in boxes),
    "arrays": lambda boxes: [np.array(box) for box in boxes],
    "one array": lambda boxes: np.array(boxes) if boxes else [],
    "NumPy integers": lambda boxes: [[np.int32(side) for side in box] for box in boxes],
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", list(BOXES))
def test_boxes_are_read_from_every_container_and_protocol(tmp_path: Path, kind: str, protocol: int) -> None:
    data = generate(6, 3)
    content = [
        (*record[:4], {key: BOXES[kind](boxes) for key, boxes in record[4].items()})
        for record in records(data)
    ]
    path = dump(tmp_path / "a.gz", (tuple(content), LABEL_MAP), protocol)
    assert_same(load(path, cache=False), data)


def test_key_styles_may_be_mixed(tmp_path: Path) -> None:
    data = generate(4, 3)
    a, b = records(data, "mask-value"), records(data, "shape-index")
    b[3][4] = dict(reversed(b[3][4].items()))  # in any order
    path = dump(tmp_path / "a.gz", [[a[0], b[1], a[2], b[3]], LABEL_MAP])
    assert_same(load(path, cache=False), data)


@pytest.mark.parametrize("origin", list(PYTHON_2))
def test_files_of_python_2(tmp_path: Path, origin: str) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(zlib.decompress(base64.b64decode(PYTHON_2[origin]))))
    data = load(tmp_path / "a.gz", cache=False)
    i = np.arange(12).reshape(3, 4)
    assert np.array_equal(data.images, np.stack([20 * i, 5 * i + 1, 3 * i], axis=-1)[None])
    masks = np.zeros((1, 5, 3, 4))
    masks[0, 0, 0:2, 1:3], masks[0, 4, 2, 3] = 50, 250
    assert np.array_equal(data.masks, masks)
    assert data.boxes == [[[[1, 0, 2, 1]], [], [], [], [[3, 2, 3, 2]]]]


@pytest.mark.parametrize("module_name", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numpy_of_either_generation(tmp_path: Path, module_name: str) -> None:
    data = generate(1, 0)
    for protocol in (2, 3):  # these name modules without a length
        content = pickle.dumps([records(data), LABEL_MAP], protocol)
        renamed = content.replace(b"cnumpy._core.multiarray\n", b"c" + module_name.encode() + b"\n")
        renamed = renamed.replace(b"cnumpy.core.multiarray\n", b"c" + module_name.encode() + b"\n")
        assert module_name.encode() in renamed
        (tmp_path / "a.gz").write_bytes(gzip.compress(renamed))
        assert_same(load(tmp_path / "a.gz", cache=False), data)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("chunk", [1, 3, 1000, 8193])
def test_a_run_of_integers_may_meet_the_end_of_a_buffer_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, protocol: int
) -> None:
    monkeypatch.setattr("datasets.purdue_shapes.safe_pickle.CHUNK", chunk)
    data = generate(3, 8, (35, 37))
    path = dump(tmp_path / "a.gz", [records(data), LABEL_MAP], protocol)
    assert_same(load(path, cache=False), data)


@pytest.mark.reference
@pytest.mark.parametrize("size", [(64, 64), (40, 72)])
def test_dlstudio_s_own_reader_reads_our_files(tmp_path: Path, size: tuple[int, int]) -> None:
    needs("torch")
    segmentation = import_dlstudio().SemanticSegmentation
    data = generate(20, 6, size)
    name = "PurdueShapes5MultiObject-20-train.gz"
    save(tmp_path / name, data, "shape-index")
    studio = types.SimpleNamespace(dataroot=f"{tmp_path}{os.sep}", image_size=size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves the file open
        reader = segmentation.PurdueShapes5MultiObjectDataset(
            studio, types.SimpleNamespace(max_num_objects=5), "train", name
        )
        gc.collect()
    assert len(reader) == 20
    assert reader.label_map == LABEL_MAP
    assert reader.class_labels == dict(zip(MASK_VALUES, CLASSES, strict=True))
    boxes = 0
    for i in range(20):
        sample = reader[i]
        assert np.array_equal(sample["image"].numpy(), data.images[i].transpose(2, 0, 1))
        assert np.array_equal(sample["mask_tensor"].numpy(), data.masks[i])
        expected = np.zeros((size[0], 5, 4))
        for c, of_class in enumerate(data.boxes[i]):
            for k, box in enumerate(of_class):
                expected[k, c] = box
                boxes += 1
        assert np.array_equal(sample["bbox_tensor"].numpy(), expected)
    assert boxes > 30


WRITE_ERRORS: dict[str, tuple[Any, str]] = {
    "images of floats": (lambda d: (d.images / 255, d.masks, d.boxes), r"images must be uint8 .*float64"),
    "channels first": (
        lambda d: (d.images.transpose(0, 3, 1, 2), d.masks, d.boxes),
        r"got images=uint8 \(3, 3, ",
    ),
    "no images": (lambda d: (d.images[:0], d.masks[:0], []), r"images must be .* not empty"),
    "masks of another size": (
        lambda d: (d.images, d.masks[:, :, :-1], d.boxes),
        r"masks must be uint8 \(3, 5, 40, 48\).*\(3, 5, 39, 48\)",
    ),
    "masks of booleans": (lambda d: (d.images, d.masks > 0, d.boxes), "got masks=bool"),
    "boxes of fewer images": (lambda d: (d.images, d.masks, d.boxes[:2]), "each of 3 images; got 2"),
    "masks of ones": (
        lambda d: (d.images, (d.masks > 0).astype(np.uint8), d.boxes),
        r"must hold 0 and 50 only; got 1",
    ),
    "a box outside": (
        lambda d: (d.images, d.masks, [*d.boxes[:2], [[[0, 0, 48, 1]], [], [], [], []]]),
        r"record 2: a box must have 0 <= min_x <= max_x < 48 .*got \[0, 0, 48, 1\]",
    ),
    "four classes of boxes": (
        lambda d: (d.images, d.masks, [[[], [], [], []], *d.boxes[1:]]),
        r"record 0: .*keys .*got \[0, 1, 2, 3\]",
    ),
}


@pytest.mark.parametrize("kind", list(WRITE_ERRORS))
def test_data_that_could_not_be_read_back_is_not_written(tmp_path: Path, kind: str) -> None:
    change, told = WRITE_ERRORS[kind]
    data = generate(3, 0, (40, 48))
    with pytest.raises(DatasetError, match=told):
        save(tmp_path / "a.gz", Data(*change(data)))
    assert os.listdir(tmp_path) == []


def test_unknown_keys(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"keys must be one of \['mask-value', 'shape-index'\]; got keys='value'"
    ):
        save(tmp_path / "a.gz", generate(1, 0), "value")
