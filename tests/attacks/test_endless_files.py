"""Small files on which a library never ends, dies, or asks for any amount of memory: each is one error within seconds."""

from __future__ import annotations

import io
import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.bounds.damaged import DamagedFile
from datasets.bounds.survival import check_survival
from datasets.bounds.torch_pickle import check_pickle, check_torch
from datasets.errors import DataError
from datasets.files import opened_picture
from datasets.tiles import read_bands

HERE = "tests.attacks.test_endless_files"
BOUND = 60
"""Seconds by the clock; without bounds each of these files takes minutes, or never ends."""


@contextmanager
def soon() -> Iterator[None]:
    start = time.perf_counter()
    yield
    assert time.perf_counter() - start < BOUND


def aborts(path: Path) -> None:
    os.abort()


def loops(path: Path) -> None:
    while True:
        pass


def grows(path: Path) -> None:
    bytearray(2**40)


def prints(path: Path) -> None:
    os.write(1, b"null\n")
    print("null")
    raise ValueError(path.name)


def is_sound(path: Path) -> None:
    assert path.read_bytes() == b"sound"


ENDS = {
    aborts: "ended a process with code -6",
    loops: "takes more than 4 s",
    grows: "takes more than 512 MiB of memory",
    prints: "ValueError: x",
}


@pytest.mark.skipif(os.name != "posix", reason="the system has no such limits")
@pytest.mark.parametrize("reader", ENDS, ids=[reader.__name__ for reader in ENDS])
def test_a_reader_that_dies_is_an_error_and_the_next_file_is_read(
    reader: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"sound")
    with soon(), pytest.raises(DamagedFile, match=ENDS[reader]):
        check_survival(path, f"{HERE}:{reader.__name__}")
    check_survival(path, f"{HERE}:is_sound")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_has_a_helper_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"sound")
    check_survival(path, f"{HERE}:is_sound")
    child = os.fork()
    if not child:
        try:
            check_survival(path, f"{HERE}:is_sound")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    check_survival(path, f"{HERE}:is_sound")


def test_an_interrupt_from_the_keyboard_costs_no_file(tmp_path: Path) -> None:
    import signal

    from datasets.bounds import survival

    path = tmp_path / "x"
    path.write_bytes(b"sound")
    check_survival(path, f"{HERE}:is_sound")
    survival._HELPERS[0].process.send_signal(signal.SIGINT)
    check_survival(path, f"{HERE}:is_sound")
    survival._HELPERS[0].process.kill()
    survival._HELPERS[0].process.wait()
    check_survival(path, f"{HERE}:is_sound")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_and_folders_in_the_place_of_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    (tmp_path / "y.png").mkdir()
    for name in ("x.png", "y.png"):
        with soon(), pytest.raises(DataError, match="no regular file"), opened_picture(tmp_path / name):
            pass
        with soon(), pytest.raises(DamagedFile, match="no regular file"):
            check_torch(tmp_path / name)


def endless_heap(path: Path) -> Path:
    """An HDF5 file with an attribute whose place, a heap, has an object without an end."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.ones((3, 2), "f4")
        file.attrs["segparity_sha256"] = "00" * 32
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16
    data[at : at + 2], data[at + 8 : at + 16] = bytes(2), bytes(8)
    path.write_bytes(data)
    return path


def test_hdf5_that_never_ends(tmp_path: Path, keras_torch: None) -> None:
    import keras

    from parity.core.errors import CheckpointError
    from parity.weights.checkpoint import load_weights
    from tf_impl import checkpoints

    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, name="dense")])
    path = endless_heap(tmp_path / checkpoints.STATE)
    readers: list[tuple[type[Exception], Callable[[], object]]] = [
        (CheckpointError, lambda: load_weights(model, path)),
        (DataError, lambda: checkpoints.load_weights(model, path)),
        (DataError, lambda: checkpoints.read_progress(tmp_path)),
    ]
    for error, read in readers:
        with soon(), pytest.raises(error, match="takes more than 4 s"):
            read()


def test_a_jpeg_of_very_many_passes(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    held = io.BytesIO()
    pillow.fromarray(np.zeros((4000, 4000), np.uint8)).save(held, "JPEG", progressive=True)
    data = held.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]

    def load(path: Path) -> None:
        with opened_picture(path) as picture:
            picture.load()

    readers: list[Callable[[Path], object]] = [load, read_bands]
    for times in (1, 40_000):
        path = tmp_path / f"{times}.jpg"
        path.write_bytes(data[:-2] + last * times + data[-2:])
        for read in readers:
            if times == 1:
                read(path)
            else:
                with soon(), pytest.raises(DataError, match="takes more than"):
                    read(path)


def doubled(times: int) -> bytes:
    """A tuple of two numbers, and so often a tuple of twice the last one."""
    return b"K\x01K\x01\x86" + b"q\x01h\x01\x86" * times


START = b"\x80\x02"
PICKLES = {
    "a long bytearray": START
    + b"cbuiltins\nbytearray\n\x8a\x06"
    + (10**13).to_bytes(6, "little")
    + b"\x85R.",
    "a tensor by its sizes": START + b"ctorch\nTensor\nJ\xff\xff\xff\x7fK\x7f\x86R.",
    "a tensor of another class": START + b"ctorch\nDoubleTensor\nJ\xff\xff\xff\x7fK\x7f\x86\x81.",
    "a storage by its size": START + b"ctorch.storage\nUntypedStorage\nJ\xff\xff\xff\x7f\x85R.",
    "a key that takes long to hash": START + b"}" + doubled(40) + b"K\x00s.",
    "such a key among others": START + b"}(K\x01K\x02" + doubled(40) + b"K\x00u.",
    "a set of it": START + b"cbuiltins\nset\n](" + doubled(40) + b"e\x85R.",
    "an ordered dictionary of it": START
    + b"ccollections\nOrderedDict\n]("
    + doubled(40)
    + b"K\x01\x86e\x85R.",
    "a storage of that name": START + b"(X\x07\x00\x00\x00storageN" + doubled(40) + b"NNtQ.",
    "a call of it, which an error would show": START + doubled(40) + b")R.",
    "text in a slow code": START + b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x08\x00\x00\x00punycode\x86R.",
    "nothing at all": b"",
    "more steps than a checkpoint has": START + b"N0" * 1_600_000 + b"N.",
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_that_asks_torch_for_too_much(name: str, tmp_path: Path) -> None:
    with soon(), pytest.raises(DamagedFile):
        check_pickle(PICKLES[name])


def test_what_torch_itself_writes_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from collections import Counter

    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    whole: dict[Any, Any] = {
        "state": module.state_dict(), "optimizer": optimizer.state_dict(), "set": {1, "a", (1, 2)}, "bytes": b"abc",
        "bytearray": bytearray(b"abc"), "counter": Counter("aab"), "complex": 3 + 4j, "size": torch.Size([1, 2]),
        "dtype": torch.float16, "device": torch.device("cpu"), "long": 10**30, "view": torch.ones(3).expand(4, 3),
        "sparse": torch.eye(3).to_sparse(), "half": torch.ones(2, dtype=torch.bfloat16), (1, (2, 3)): None,
    }  # fmt: skip
    for new in (True, False):
        torch.save(whole, tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        check_torch(tmp_path / "x.pt")
        assert set(torch.load(tmp_path / "x.pt", weights_only=True)) == set(whole)


def test_a_tensor_that_is_far_larger_than_its_file(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from parity.core.errors import CheckpointError
    from parity.weights.checkpoint import load_weights
    from torch_impl import checkpoints

    state = {
        **torch.nn.Linear(3, 2).state_dict(),
        "bias": torch.ones(1, dtype=torch.float64).expand(10**9, 10**4),
    }
    torch.save(state, tmp_path / "x.pt")
    for error, read in ((CheckpointError, load_weights), (DataError, checkpoints.load_weights)):
        with soon(), pytest.raises(error, match="bias"):
            read(torch.nn.Linear(3, 2), tmp_path / "x.pt")


def test_the_bound_on_steps_is_above_what_large_networks_have() -> None:
    state = {f"layers.{i}.weight": (i, (3, 3), (3, 1), False) for i in range(50_000)}
    check_pickle(pickle.dumps(state, 2))
