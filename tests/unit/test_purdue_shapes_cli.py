"""The command line writes the lecture's files and a picture, and says what went wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datasets.purdue_shapes import constant_mse, generate, load, save
from datasets.purdue_shapes.__main__ import TEST_SEED, main


@pytest.mark.parametrize("keys", ["mask-value", "shape-index"])
def test_generate_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: str) -> None:
    out = tmp_path / "a" / "b"
    assert (
        main(["generate", "--out", str(out), "--train", "20", "--test", "7", "--seed", "3", "--keys", keys])
        == 0
    )
    train, test = generate(20, 3), generate(7, 3 + TEST_SEED)
    names = ["PurdueShapes5MultiObject-20-train.gz", "PurdueShapes5MultiObject-7-test.gz"]
    assert sorted(path.name for path in out.iterdir()) == names
    for name, expected in zip(names, (train, test), strict=True):
        save(tmp_path / "expected.gz", expected, keys)
        assert (out / name).read_bytes() == (tmp_path / "expected.gz").read_bytes()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(out / name) for name in names]
    scores = [float(re.search(r"MSE (\S+)", line)[1]) for line in lines]
    assert scores == [round(constant_mse(train.masks), 1), round(constant_mse(test.masks, train.masks), 1)]


def test_train_and_test_images_differ() -> None:
    train, test = generate(300, 0), generate(300, TEST_SEED)
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in test.images}


def test_one_of_the_files_can_be_left_out(tmp_path: Path) -> None:
    assert main(["generate", "--out", str(tmp_path), "--train", "0", "--test", "3"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["PurdueShapes5MultiObject-3-test.gz"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["generate", "--out", "OUT", "--train", "0", "--test", "0"], "--train or --test must be 1 or more"),
        (["generate", "--out", "FILE/x", "--train", "1"], "FILE"),
        (["figure", "--out", "OUT/a.png", "--count", "0"], "--count must be 1 or more; got count=0"),
        (["figure", "--out", "OUT/a.png", "--data", "FILE"], "FILE: the file must be an intact gzip file"),
        (["figure", "--out", "OUT/a.png", "--data", "MISSING"], "MISSING"),
    ],
)
def test_errors_are_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    (tmp_path / "FILE").write_text("no data")
    for name in ("OUT", "FILE", "MISSING"):
        arguments = [argument.replace(name, str(tmp_path / name)) for argument in arguments]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert told in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["generate"],
        ["generate", "--out", "x", "--train", "-1"],
        ["generate", "--out", "x", "--keys", "k"],
    ],
)
def test_usage_errors_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m datasets.purdue_shapes" in capsys.readouterr().err


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "datasets.purdue_shapes"]
    command += ["generate", "--out", str(tmp_path), "--train", "4", "--test", "0", "--seed", "0"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(load(tmp_path / "PurdueShapes5MultiObject-4-train.gz")) == 4


@pytest.mark.parametrize("size", [(64, 64), (40, 72)])
def test_figure(tmp_path: Path, size: tuple[int, int]) -> None:
    """Each panel shows its colours: the images', the classes' on black, and the boxes'."""
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    data = generate(5, 1, size)
    save(tmp_path / "a.gz", data)
    picture = tmp_path / "a.png"
    assert main(["figure", "--out", str(picture), "--data", str(tmp_path / "a.gz"), "--count", "2"]) == 0
    shown = {tuple(pixel) for pixel in np.rint(imread(picture)[..., :3] * 255).astype(int).reshape(-1, 3)}
    for i in range(2):
        assert {tuple(pixel) for pixel in data.images[i].reshape(-1, 3)} <= shown
    assert tuple(data.images[2, 0, 0]) not in shown


def test_figure_mixes_the_colours_of_classes_that_overlap() -> None:
    from datasets.purdue_shapes.figure import mix

    masks = np.zeros((5, 2, 3), np.uint8)
    masks[1, 0, :2], masks[4, :, 1] = 100, 250
    mixed = mix(masks, np.eye(5)[:, 1:4])
    expected = np.zeros((2, 3, 3))
    expected[0, 0] = [1, 0, 0]
    expected[0, 1] = [0.5, 0, 0]  # class 4 is black here
    assert np.array_equal(mixed, expected)
