"""The cache is quick, read-only, and never serves anything but what the file holds now."""

from __future__ import annotations

import gzip
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from datasets.purdue_shapes import Data, DatasetError, generate, load, save
from datasets.purdue_shapes import cache as module

NAME = "PurdueShapes5MultiObject-6-train.gz"
SIZE = (40, 56)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own cache folder out of it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "segparity"


@pytest.fixture
def data() -> Data:
    return generate(6, 0, SIZE)


@pytest.fixture
def path(tmp_path: Path, data: Data) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    save(folder / NAME, data)
    return folder / NAME


def assert_same(found: Data, expected: Data) -> None:
    assert len(found) == len(expected) > 0
    assert np.array_equal(found.images, expected.images)
    assert np.array_equal(found.masks, expected.masks)
    assert found.boxes == expected.boxes
    assert all(type(side) is int for image in found.boxes for boxes in image for box in boxes for side in box)


def is_mapped(data: Data) -> bool:
    return isinstance(data.images, np.memmap) and isinstance(data.masks, np.memmap)


def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the file was unpacked")

    monkeypatch.setattr(module, "read", fail)


def test_the_second_load_does_not_unpack(path: Path, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(path)
    assert sorted(os.listdir(path.parent)) == [NAME, f"{NAME}.cache"]
    no_reading(monkeypatch)
    second = load(path)
    for loaded in (first, second):
        assert_same(loaded, data)
        assert is_mapped(loaded)
        assert loaded.classes == data.classes
    monkeypatch.chdir(path.parent)
    assert_same(load(NAME), data)


@pytest.mark.parametrize("cache", [True, False])
def test_loaded_arrays_are_read_only(path: Path, cache: bool) -> None:
    for _ in range(2):
        loaded = load(path, cache=cache)
        assert is_mapped(loaded) == cache
        for array in (loaded.images, loaded.masks):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


def test_without_a_cache_none_is_written_or_read(path: Path, data: Data, home: Path) -> None:
    assert_same(load(path, cache=False), data)
    assert os.listdir(path.parent) == [NAME]
    assert not home.exists()
    load(path)
    module.write_cache(path.with_name(f"{NAME}.cache"), generate(6, 9, SIZE), fingerprint(path))
    assert_same(load(path), generate(6, 9, SIZE))  # the cache is what is served,
    assert_same(load(path, cache=False), data)  # but not here


def fingerprint(path: Path) -> list:
    with path.open("rb") as file:
        return module.fingerprint(file)


def test_a_file_that_is_written_again_is_read_again(path: Path) -> None:
    load(path)
    other = generate(5, 1)
    save(path, other)
    assert_same(load(path), other)
    assert_same(load(path), other)
    assert sorted(os.listdir(path.parent)) == [NAME, f"{NAME}.cache"]


def test_a_file_of_the_same_size_and_time_is_read_again(path: Path) -> None:
    """Files stored without compression differ in one pixel, and in nothing that the file system tells."""
    versions = []
    for pixel in (3, 4):
        data = generate(2, 0, SIZE)
        data.images[1, 20, 30, 2] = pixel
        save(path, data)
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 0, mtime=0))
        os.utime(path, ns=(10**18, 10**18))
        versions.append((path.stat().st_size, path.stat().st_mtime_ns))
        assert load(path).images[1, 20, 30, 2] == pixel
    assert versions[0] == versions[1]


def test_a_file_that_was_only_touched_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(path)
    os.utime(path, ns=(10**18, 10**18 + 1))
    no_reading(monkeypatch)
    with pytest.raises(AssertionError, match="was unpacked"):
        load(path)


def test_damage_in_the_middle_is_not_hidden_by_the_cache(path: Path) -> None:
    load(path)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DatasetError, match=NAME):
        load(path)


def test_a_file_that_is_gone_is_not_served(path: Path) -> None:
    load(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        load(path)


def test_a_bad_file_leaves_no_cache(path: Path) -> None:
    path.write_bytes(gzip.compress(pickle.dumps([[], {}])))
    with pytest.raises(DatasetError):
        load(path)
    assert os.listdir(path.parent) == [NAME]


def test_a_cache_of_an_older_format_is_written_again(
    path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(path)
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    reads = count_reads(monkeypatch)
    assert_same(load(path), data)
    assert_same(load(path), data)
    assert len(reads) == 1


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    reads: list[int] = []
    read = module.read
    monkeypatch.setattr(module, "read", lambda *a: (reads.append(1), read(*a))[1])
    return reads


def test_a_damaged_cache_is_written_again(path: Path, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte of the header and the box table counts; the pixels are not checked, for speed."""
    place = path.with_name(f"{NAME}.cache")
    load(path)
    whole = place.read_bytes()
    words = len(whole[: module.HEADER].rstrip())
    table = module.HEADER + data.images.size + data.masks.size
    assert words > 100
    assert len(whole) > table + 100
    reads = count_reads(monkeypatch)
    changes = 0
    for at in [*range(words), *range(table, len(whole), 5)]:
        for new in (whole[at] ^ 1, ord("0")):
            if new == whole[at]:
                continue
            place.write_bytes(whole[:at] + bytes([new]) + whole[at + 1 :])
            assert_same(load(path), data)
            changes += 1
            assert len(reads) == changes
            assert place.read_bytes() == whole
    for length in (0, 1, 7, 8, 100, words, module.HEADER - 1, module.HEADER, table, len(whole) - 1):
        place.write_bytes(whole[:length])
        assert_same(load(path), data)
    place.write_bytes(whole + b"\0")
    assert_same(load(path), data)
    for junk in (b"00000000[]", b"00000000{}", b'00000000{"format": 1}', b"00000000null", b"\xff" * 5000):
        place.write_bytes(junk)
        assert_same(load(path), data)
    assert len(reads) == changes + 16


def test_a_folder_that_cannot_be_written_to(
    path: Path, data: Data, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.with_name(f"{NAME}.cache").mkdir()  # stands in the way, even of the root user
    assert_same(load(path), data)
    assert len(os.listdir(home)) == 1
    assert sorted(os.listdir(path.parent)) == [NAME, f"{NAME}.cache"]
    no_reading(monkeypatch)
    assert is_mapped(load(path))
    assert_same(load(path), data)


def test_files_of_one_name_in_two_folders_have_two_caches(tmp_path: Path, home: Path) -> None:
    for seed, folder in enumerate(("a", "b")):
        (tmp_path / folder / f"{NAME}.cache").mkdir(parents=True)
        save(tmp_path / folder / NAME, generate(6, seed, SIZE))
    for seed, folder in enumerate(("a", "b")):
        assert_same(load(tmp_path / folder / NAME), generate(6, seed, SIZE))
    assert len(os.listdir(home)) == 2


def test_nowhere_to_write(path: Path, data: Data, tmp_path: Path) -> None:
    path.with_name(f"{NAME}.cache").mkdir()
    (tmp_path / "home").touch()
    with pytest.warns(UserWarning, match=rf"the cache of .*{NAME} must go next to it .*or pass cache=False"):
        loaded = load(path)
    assert_same(loaded, data)
    assert not loaded.images.flags.writeable
    assert not is_mapped(loaded)


def test_a_full_disk_leaves_nothing_behind(path: Path, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module.np, "ascontiguousarray", lambda array: (_ for _ in ()).throw(OSError("no space left"))
    )
    with pytest.warns(UserWarning, match="neither can be written"):
        assert_same(load(path), data)
    assert os.listdir(path.parent) == [NAME]


LOADER = """
import hashlib, sys
from datasets.purdue_shapes import load
for _ in range(5):
    data = load(sys.argv[1])
    print(hashlib.sha256(data.images.tobytes() + data.masks.tobytes() + repr(data.boxes).encode()).hexdigest())
"""


def test_processes_that_load_at_once_all_get_the_data(path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "error", "-c", LOADER, str(path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(4)]
    digests = [process.communicate(timeout=60)[0].split() for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert [len(found) for found in digests] == [5] * 4
    assert len({digest for found in digests for digest in found}) == 1
    assert sorted(os.listdir(path.parent)) == [NAME, f"{NAME}.cache"]


def test_a_cache_that_others_replace_and_remove_all_the_time(path: Path, data: Data) -> None:
    place, stop = path.with_name(f"{NAME}.cache"), threading.Event()
    right, wrong = fingerprint(path), [1, 2, "3"]

    def disturb() -> None:
        while not stop.is_set():
            module.write_cache(place, data, right)
            module.write_cache(place, generate(1, 5), wrong)
            place.unlink(missing_ok=True)

    others = [threading.Thread(target=disturb) for _ in range(2)]
    for thread in others:
        thread.start()
    try:
        for _ in range(60):
            assert_same(load(path), data)
    finally:
        stop.set()
        for thread in others:
            thread.join()


def test_a_mapped_set_outlives_its_cache(path: Path, data: Data) -> None:
    loaded = load(path)
    save(path, generate(3, 7))
    load(path)
    path.with_name(f"{NAME}.cache").unlink()
    assert_same(loaded, data)


def test_a_set_without_boxes(path: Path) -> None:
    empty = Data(
        np.zeros((2, *SIZE, 3), np.uint8), np.zeros((2, 5, *SIZE), np.uint8), [[[] for _ in range(5)]] * 2
    )
    save(path, empty)
    for _ in range(2):
        assert_same(load(path), empty)


@pytest.mark.slow
def test_10000_cached_images_open_at_once(tmp_path: Path) -> None:
    path = tmp_path / "PurdueShapes5MultiObject-10000-train.gz"
    data = generate(10_000, 0)
    save(path, data)
    assert_same(load(path), data)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        loaded = load(path)
        seconds.append(time.perf_counter() - start)
        assert is_mapped(loaded)
        assert len(loaded) == 10_000
    assert min(seconds) < 0.2
