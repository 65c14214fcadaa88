"""The tree of errors: as its docstring draws it, and everywhere the most particular error that fits."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import datasets.errors
from datasets.errors import DataError, DatasetError, MissingExtra, RunError, SettingsError
from datasets.exits import exit_code
from datasets.files import extra
from datasets.purdue_shapes import generate, load
from datasets.scores.metrics import SegmentationMetrics
from datasets.tiles import parts_of, read_polygons
from datasets.training.networks import named
from datasets.training.order import Batch
from datasets.training.recipe import Recipe
from datasets.training.runlog import finite
from datasets.training.runs import check_pairs
from datasets.voc.files import read_list

ROOT = Path(__file__).resolve().parents[2]
ERRORS = {
    name: value
    for name, value in vars(datasets.errors).items()
    if isinstance(value, type) and issubclass(value, Exception)
}


def drawn(text: str) -> dict[str, str]:
    """Each class of a tree that a docstring draws, and the class that it hangs from."""
    found: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in text.splitlines():
        if match := re.match(r"([ │├└─]*)(\w+Error|MissingExtra)\b", line):
            depth = len(match[1]) // 4
            above[depth] = match[2]
            if depth:
                found[match[2]] = above[depth - 1]
    return found


def test_the_docstring_draws_the_tree() -> None:
    tree = {name: error.__bases__[0].__name__ for name, error in ERRORS.items()}
    assert drawn(datasets.errors.__doc__ or "") == tree
    assert len(tree) == 6


def test_a_wrong_drawing_is_noticed() -> None:
    assert drawn("A\nValueError\n└── RunError  x\n    └── DataError y") == {
        "RunError": "ValueError",
        "DataError": "RunError",
    }


GENERAL = {
    "datasets/export/agreement.py",
    "datasets/training/runlog.py",
    "tf_impl/export.py",
    "torch_impl/export.py",
}
"""Where RunError itself is right: what a run or an export computes is wrong."""


def too_general(source: str) -> list[int]:
    """Lines that raise ValueError or RunError with a message where a particular error is to be raised."""
    tree = ast.parse(source)
    within = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.Try) and block.handlers
        for statement in block.body
        for node in ast.walk(statement)
    }  # a signal for the handlers of the same try
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id in ("ValueError", "RunError")
        and id(node) not in within
    ]


COMMANDS = ["checkpoints.py", "distribution.py", "engine.py", "export.py", "predict.py", "train.py"]


def test_everywhere_the_particular_error_is_raised() -> None:
    files = sorted((ROOT / "datasets").rglob("*.py"))
    files += [ROOT / half / name for half in ("tf_impl", "torch_impl") for name in COMMANDS]
    found = {
        path.relative_to(ROOT).as_posix(): lines for path in files if (lines := too_general(path.read_text()))
    }
    assert not set(found) - GENERAL


@pytest.mark.parametrize("name", ["ValueError", "RunError"])
def test_a_general_error_is_noticed(name: str) -> None:
    assert too_general(f"def f(x):\n    if x:\n        raise {name}('x must be 0')") == [3]
    assert too_general(f"try:\n    raise {name}('signal')\nexcept ValueError:\n    pass") == []
    assert too_general("raise DataError('x')") == []


def garbage(folder: Path) -> Path:
    path = folder / "shapes.gz"
    path.write_bytes(b"no gzip")
    return path


CASES: dict[str, tuple[type[RunError], Callable[[Path], Any]]] = {
    "a recipe": (SettingsError, lambda folder: Recipe(epochs=0)),
    "a network": (SettingsError, lambda folder: named("NoNet")),
    "tiles": (SettingsError, lambda folder: parts_of((4, 4), (0, 1))),
    "scores": (SettingsError, lambda folder: SegmentationMetrics(())),
    "generated images": (SettingsError, lambda folder: generate(-1, 0)),
    "a list": (DataError, lambda folder: read_list(folder, "train")),
    "polygons": (DataError, lambda folder: read_polygons(folder / "none.json")),
    "arrays": (DataError, lambda folder: check_pairs(np.zeros((1, 4, 4, 3), np.uint8), np.zeros((2, 5, 4, 4), np.uint8))),
    "a file of shapes": (DatasetError, lambda folder: load(garbage(folder))),
    "a package": (MissingExtra, lambda folder: extra("no_such_package")),
    "a loss": (RunError, lambda folder: finite(float("nan"), Batch(1, 1, 1, np.arange(2), False))),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_raised_and_what_a_command_makes_of_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, fault = CASES[name]
    with pytest.raises(ValueError, match=r".") as raised:
        fault(tmp_path)
    assert raised.type is kind
    assert exit_code(lambda options: fault(tmp_path), argparse.Namespace()) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_error_that_nobody_raised_on_purpose_is_one_line_with_its_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(options: argparse.Namespace) -> None:
        finite("no number", None)  # type: ignore[arg-type]

    assert exit_code(faulty, argparse.Namespace()) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert re.search(r"got TypeError: .* at datasets/training/runlog\.py:\d+", line)
    monkeypatch.setenv("SEGPARITY_TRACEBACK", "1")
    assert exit_code(faulty, argparse.Namespace()) == 2
    assert "Traceback" in capsys.readouterr().err
