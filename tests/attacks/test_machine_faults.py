"""Commands on a machine that refuses: a full disk, folders that are none, too little memory. One line, exit code 2."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.purdue_shapes import generate, save
from tests.kills.commands import MODELS, TINY, with_weights

FULL = 3000
"""Bytes that one file may have where the disk is full: enough for a line, too few for a picture or weights."""
MEGABYTE = 2**20


def run(*arguments: str, disk: int | None = None, memory: int | None = None) -> tuple[int, str]:
    """Run a command where files or memory are limited; returns its code and what it said of errors.

    The limits are the system's own: writing beyond them fails in every library, as on a full disk.
    """

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the error, not the signal
        if disk is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    # The models' code is not the matter here; compiled files would be written beyond the limit too.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": "/dev/null"}
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
        env=environment,
    )
    return done.returncode, done.stderr


def check_one_line(code: int, said: str) -> None:
    """That a command ended as it should."""
    lines = [line for line in said.splitlines() if line.startswith(("error: ", "parity: "))]
    assert code == 2, said
    assert "Traceback" not in said, said
    assert "Report it" not in said, said
    assert len(lines) == 1, said


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands read, and a file that is no folder."""
    folder = tmp_path_factory.mktemp("home")
    save(folder / "x-train.gz", generate(6, 1, (32, 40)))
    save(folder / "x-test.gz", generate(2, 2, (32, 40)))
    (folder / "models.py").write_text(MODELS)
    (folder / "file").write_text("no folder")
    from PIL import Image

    Image.new("L", (40, 32)).save(folder / "labels.png")
    Image.effect_noise((40, 32), 90).save(folder / "image.png")
    return folder


def tiles(home: Path, out: str) -> list[str]:
    flags = [
        "--labels",
        str(home / "labels.png"),
        "--instances",
        "--names",
        "ground",
        "cell",
        "--size",
        "16",
        "16",
    ]
    return ["-m", "datasets.tiles", str(home / "image.png"), "--out", str(home / out), *flags]


def shapes(home: Path, out: str) -> list[str]:
    return [
        "-m",
        "datasets.purdue_shapes",
        "generate",
        "--out",
        str(home / out),
        "--train",
        "20",
        "--test",
        "1",
    ]


def figure(home: Path, out: str) -> list[str]:
    return ["-m", "datasets.purdue_shapes", "figure", "--out", str(home / out / "x.png"), "--count", "1"]


def train(home: Path, out: str) -> list[str]:
    return ["-m", "torch_impl.train", "--data", str(home / "x-train.gz"), "--out", str(home / out), *TINY]


def models(home: Path, out: str) -> list[str]:
    return ["-m", "parity", "models", "--json", str(home / out / "models.json")]


LIGHT: dict[str, Callable[[Path, str], list[str]]] = {"tiles": tiles, "shapes": shapes, "train": train}


@pytest.mark.parametrize("name", LIGHT)
def test_a_file_in_the_place_of_the_folder(name: str, home: Path) -> None:
    check_one_line(*run(*LIGHT[name](home, "file")))
    check_one_line(*run(*LIGHT[name](home, "file/deeper")))
    assert (home / "file").read_text() == "no folder"


@pytest.mark.parametrize("name", ["tiles", "shapes"])
def test_a_full_disk(name: str, home: Path) -> None:
    check_one_line(*run(*LIGHT[name](home, f"full-{name}"), disk=100))
    left = [path for path in (home / f"full-{name}").rglob("*") if path.is_file()]
    assert not left, "no half file stays"


@pytest.mark.slow
def test_a_full_disk_while_weights_are_saved(home: Path) -> None:
    check_one_line(*run(*train(home, "full-train"), disk=20_000))
    assert not list((home / "full-train").glob("*.pt"))
    assert not list((home / "full-train").glob("partial-*"))


@pytest.mark.slow
@pytest.mark.usefixtures("keras_torch")
def test_a_full_disk_and_a_file_for_a_folder_in_convert_and_check(home: Path) -> None:
    with_weights(home)
    pair = ["--keras", f"{home}/models.py:keras_model", "--torch", f"{home}/models.py:torch_module"]
    for out, disk in (("full.pt", 200), ("file/x.pt", None), ("full.weights.h5", 9200)):
        check_one_line(*run("-m", "parity", "convert", str(home / "x.pt"), str(home / out), *pair, disk=disk))
        assert not (home / out).exists()
    check_one_line(*run("-m", "parity", "check", *pair, "--json", str(home / "file/r.json")))


def test_a_read_only_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the system says it: a test's own user may be allowed to write everywhere."""
    import errno

    from datasets.purdue_shapes import __main__ as command

    def refused(path: object, *_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "open", refused)
    code = command.main(["generate", "--out", str(home / "readonly"), "--train", "1", "--test", "0"])
    check_one_line(code, capsys.readouterr().err)


def test_too_little_memory(home: Path) -> None:
    flags = ["generate", "--out", str(home / "memory"), "--train", "60000", "--test", "0"]
    check_one_line(*run("-m", "datasets.purdue_shapes", *flags, memory=700 * MEGABYTE))
    assert not list((home / "memory").glob("*.gz"))


@pytest.mark.slow
@pytest.mark.parametrize("half", ["torch_impl", "tf_impl"])
def test_a_checkpoint_that_was_cut_short(
    half: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import importlib

    from tests.conftest import needs

    needs({"torch_impl": "torch", "tf_impl": "keras"}[half])
    checkpoints = importlib.import_module(f"{half}.checkpoints")
    (tmp_path / checkpoints.STATE).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    command = importlib.import_module(f"{half}.train")
    code = command.main(["--data", str(home / "x-train.gz"), "--out", str(tmp_path), "--resume", *TINY])
    said = capsys.readouterr().err
    check_one_line(code, said)
    assert "Take it away to begin anew" in said
