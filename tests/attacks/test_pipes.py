"""Pipes and folders among data and weights: whoever opens a pipe without a writer waits for ever, so nobody does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.errors import DataError, WriteError
from datasets.files import read_within, replacing, writing
from datasets.lint.files import read_items
from datasets.prediction.sources import read_picture
from datasets.purdue_shapes import generate, load, save
from datasets.tiles import placement, read_bands, read_label_picture, read_polygons
from datasets.training.augment import Augmentation
from datasets.training.runs import read_config
from datasets.voc.files import read_list
from parity.core.errors import UsageError
from parity.core.files.json_file import read_json
from parity.core.files.whole_file import whole_file
from parity.report.repro.write import write
from tests.fuzz import seeds

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")


@contextmanager
def without_waiting() -> Iterator[None]:
    """Ends a wait that would last for ever."""

    def late(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(30)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def lint(path: Path) -> None:
    for _ in read_items(path, None, None)[0]:
        pass


def voc_list(path: Path) -> None:
    lists = path.parent / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    path.rename(lists / "train.txt")
    read_list(path.parent, "train")


def repro(path: Path) -> None:
    write(path, 1, path.with_name("out.py"))


def repro_tensors(path: Path) -> None:
    path.with_name("r.json").write_bytes(seeds.report())
    write(path.with_name("r.json"), 1, path.with_name("out.py"))


def weights(path: Path) -> None:
    from parity.weights.checkpoint import load_weights

    load_weights(None, path)


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "a data set": ("x.gz", load), "a text": ("x.txt", read_within), "a data set to look at": ("x.npz", lint),
    "shapes to look at": ("x.gz", lint), "a picture": ("x.png", read_picture), "bands": ("x.png", read_bands),
    "a TIFF": ("x.tif", read_bands), "labels": ("x.tif", read_label_picture), "where it lies": ("x.tif", placement),
    "polygons": ("x.json", read_polygons), "a list": ("x.txt", voc_list), "config.json": ("config.json", read_config),
    "a pipeline": ("x.yaml", lambda path: Augmentation(str(path), 0)), "a mapping": ("m.json", lambda p: read_json(p, "m")),
    "a report": ("r.json", repro), "its tensors": ("t.safetensors", repro_tensors), "weights .pt": ("x.pt", weights),
    "weights .safetensors": ("x.safetensors", weights), "weights .h5": ("x.weights.h5", weights),
    "weights .keras": ("x.keras", weights),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["pipe", "folder"])
@pytest.mark.parametrize("name", READERS)
def test_a_reader_does_not_wait(name: str, kind: str, tmp_path: Path) -> None:
    file, read = READERS[name]
    path = tmp_path / file
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with without_waiting(), pytest.raises((DataError, UsageError, OSError)):
        read(path)


def test_a_pipe_in_the_place_of_a_cache(tmp_path: Path) -> None:
    save(tmp_path / "x.gz", generate(2, 1, (32, 40)))
    wanted = load(tmp_path / "x.gz", cache=False)
    for make in (os.mkfifo, os.mkdir):
        (tmp_path / "x.gz.cache").unlink(missing_ok=True)
        make(tmp_path / "x.gz.cache")
        with without_waiting():
            assert np.array_equal(load(tmp_path / "x.gz").images, wanted.images)


def test_a_pipe_that_is_named_on_purpose_is_read() -> None:
    code = "from pathlib import Path; from datasets.files import read_within; print(read_within(Path('/dev/stdin')))"
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"abc", capture_output=True, check=True, timeout=60
    )
    assert done.stdout.strip() == b"b'abc'"


def converted(path: Path) -> None:
    from parity.weights.checkpoint import convert

    source = path.with_name("x.pt")
    pytest.importorskip("torch").save(linear().state_dict(), source)
    convert(source, path, f"{__file__}:linear", f"{__file__}:linear")


def linear() -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def written(manager: Any) -> Callable[[Path], None]:
    def write_by(path: Path) -> None:
        with manager(path) as target:
            target.write_text("x") if isinstance(target, Path) else target.write(b"x")

    return write_by


WRITERS: dict[str, Callable[[Path], None]] = {
    "replacing": written(replacing), "writing": written(writing), "whole_file": written(whole_file), "convert": converted,
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_replaces_no_pipe_and_no_device(name: str, tmp_path: Path) -> None:
    path = tmp_path / "y.safetensors"
    os.mkfifo(path)
    with without_waiting(), pytest.raises((WriteError, OSError), match="A pipe or a device"):
        WRITERS[name](path)
    assert path.is_fifo()
    assert {each.name for each in tmp_path.iterdir()} <= {path.name, "x.pt"}
    path.unlink()
    WRITERS[name](path)
    assert path.is_file()
