"""[tool.parity] of pyproject.toml: pairs by name on the command line and in pytest, and what is refused."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from parity.cli import asked, main
from parity.cli.asked import of_project
from parity.cli.options.given import check_options, given
from parity.cli.parser import parser
from parity.cli.project.file import project_of, read
from parity.cli.project.keys import known_keys
from parity.core.errors import UsageError

pytest_plugins = ["pytester"]

MODELS = """
import keras
from torch import nn

def build(channels=4, flipped=False):
    x = keras.Input((None, None, 3))
    y = keras.layers.Conv2D(channels, (3, 2), name="conv")(x)
    return keras.Model(x, -y if flipped else y)

class Net(nn.Module):
    def __init__(self, channels=4):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, (3, 2))
    def forward(self, x):
        return self.conv(x)
"""
TOML = """
[tool.parity]
quick = true

[tool.parity.pairs.right]
keras = "net_of_mine.py:build"
torch = "net_of_mine.py:Net"
args = { channels = 5 }
inputs = "2x9x12x3"
range = "0..255"

[tool.parity.pairs.wrong]
keras = "net_of_mine.py:build"
keras-args = "4, flipped=True"
torch = "net_of_mine.py:Net"
inputs = ["2x9x12x3"]
weights = "torch-to-keras"
seed = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net_of_mine.py").write_text(MODELS)
    (tmp_path / "pyproject.toml").write_text(TOML)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def pair_of(table: str, folder: Path, *arguments: str) -> asked.Pair:
    (folder / "pyproject.toml").write_text(f"[tool.parity.pairs.p]\n{table}\n")
    options = parser().parse_args(["check", *arguments])
    options.arguments = ("check", *arguments)
    return of_project("p", project_of(), options)


BOTH = 'keras = "net_of_mine:build"\ntorch = "net_of_mine:Net"\n'


def test_pairs_are_checked_by_name_and_all_of_them_without_one(
    folder: Path, capsys: pytest.CaptureFixture[str], keras_torch: None
) -> None:
    assert main(["check", "right"]) == 0
    assert "1 of 1 EQUAL" in capsys.readouterr().out
    assert main(["check", "--json", str(folder / "r.json")]) == 1
    out = capsys.readouterr().out
    assert "1 of 2 EQUAL" in out
    written = json.loads((folder / "r.json").read_text())
    assert [(one["name"], one["verdict"]) for one in written] == [("right", "EQUAL"), ("wrong", "DIVERGED")]
    assert list(written[1]["comparisons"]) == ["torch-to-keras, random input"]
    assert written[0]["parameters"] == 5 * (3 * 3 * 2 + 1)


def test_values_reach_the_check(folder: Path) -> None:
    values = """
inputs = {x = "2x9x12x3"}
range = [0, 255]
dtype = "float32"
tolerance = 1e-3
strict = true
mapping = {conv = "conv"}
layout = "same"
ignore = ["aux.*", "b"]
gradients = true
"""
    pair = pair_of(BOTH + values, folder)
    (wanted,) = pair.pictures["random input"]
    assert (wanted.name, wanted.least, wanted.below, wanted.dtype) == ("x", 0.0, 255.0, "float32")
    assert pair.settings is not None
    expected: dict[str, Any] = {
        "dtype": "float32", "tolerance": 1e-3, "layout": "same", "ignore": ("aux.*", "b"), "gradients": True,
    }  # fmt: skip
    assert {key: pair.settings[key] for key in expected} == expected
    assert pair.strict is True
    assert pair.mapping == {"conv": "conv"}


def test_files_of_weights_begin_at_the_folder_of_the_file(folder: Path) -> None:
    (folder / "w.safetensors").write_bytes(b"")
    pair = pair_of(BOTH + 'weights = {torch = "w.safetensors"}', folder)
    assert pair.settings is not None
    assert pair.settings["weights"] == {"torch": folder / "w.safetensors"}
    assert (pair.settings["kept"], pair.settings["directions"]) == (("torch",), ("torch-to-keras",))
    with pytest.raises(UsageError, match="or files for keras and torch; got 'tf'"):
        pair_of(BOTH + 'weights = {tf = "w.safetensors"}', folder)


def test_the_command_line_goes_before_the_file(folder: Path) -> None:
    pair = pair_of(BOTH + 'dtype = "float32"\nweights = "none"\ninputs = "2x9x12x3"', folder)
    assert pair.settings is not None
    assert (pair.settings["dtype"], pair.settings["directions"]) == ("float32", ("none",))
    pair = pair_of(BOTH + 'dtype = "float32"\nweights = "none"\ninputs = "2x9x12x3"', folder,
                   "--dtype", "float64", "--transfer", "both", "--input", "1x8x8x3")  # fmt: skip
    assert pair.settings is not None
    assert (pair.settings["dtype"], pair.settings["directions"]) == ("float64", asked.DIRECTIONS)
    assert [one.sizes for one in pair.pictures["random input"]] == [(1, 8, 8, 3)]


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (BOTH + 'inputz = "1x2x3x4"', "got 'inputz'. Did you mean 'inputs'"),
        (BOTH + "tolerances = 1e-3", "got 'tolerances'. Did you mean 'tolerance'"),
        (BOTH + "zzzz = 1", "Known: "),
        (BOTH + 'json = "a"', "got 'json'"),
        ('keras = "a:b"', 'no torch = "module:attribute"'),
        (BOTH + 'dtype = "float33"', "invalid choice: 'float33'"),
        (BOTH + 'weights = "sideways"', "invalid choice: 'sideways'"),
        (BOTH + 'dtype = "float64"\ntolerance = 0.1', "Structure has no tolerance"),
        (BOTH + "tolerance = 2", "between 0 and 1"),
        (BOTH + 'range = "9..1"\ninputs = "1x8x8x3"', "range of"),
        (BOTH + 'range = "0..1"', "needs inputs"),
        (BOTH + 'inputs = [["a"]]', "a list of them"),
        ('keras = "net_of_mine:build(3)"\ntorch = "net_of_mine:Net"\nargs = "3"', "given once"),
        ('keras = "net_of_mine:build"\ntorch = "net_of_mine:Net"\nargs = "open(1)"', "literals"),
        ('keras = "no_such:build"\ntorch = "net_of_mine:Net"', "no_such"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    table: str, text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pyproject.toml").write_text(f"[tool.parity.pairs.p]\n{table}\n")
    assert main(["check"]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "content",
    [
        "[tool.parity",
        "[tool]\nparity = 3",
        "[tool.parity]\npairs = 3",
        "[tool.parity.pairs]\na = 3",
    ],
)
def test_tables_of_another_form_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    with pytest.raises(UsageError):
        read(tmp_path / "pyproject.toml")


def test_a_wrong_key_for_all_pairs_is_refused_without_pairs_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pyproject.toml").write_text("[tool.parity]\nstrct = true\n")
    assert main(["check"]) == 2
    assert "got 'strct'. Did you mean 'strict'" in capsys.readouterr().err


def test_the_nearest_project_that_names_parity_is_taken(folder: Path) -> None:
    (folder / "sub" / "pyproject.toml").write_text("[tool.black]\n")
    assert project_of().file == folder / "pyproject.toml"
    assert list(project_of().pairs) == ["right", "wrong"]
    assert project_of(folder.parent).pairs == {}


def test_a_name_of_neither_is_refused_with_near_ones(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "rihgt"]) == 2
    assert "Nearest: right" in capsys.readouterr().err


def test_every_option_is_a_key_but_those_of_what_is_said() -> None:
    assert {"keras", "torch", "inputs", "weights", "args", "range", "dtype", "tolerance", "strict"} <= set(
        known_keys()
    )
    assert "html" in check_options()
    assert given(["check", "a", "--dtype", "float64"]) == {"names": ["a"], "dtype": "float64"}
    assert given(["check"]) == {"names": []} or given(["check"]) == {}


def test_pairs_without_a_command_line_have_their_own_settings(folder: Path) -> None:
    pair = of_project("right", project_of())
    assert pair.settings is not None
    assert pair.settings["quick"] is True
    assert isinstance(parser().parse_args(["check"]), Namespace)


@pytest.mark.usefixtures("keras_torch")
@pytest.mark.parametrize("how", ["testpaths", "file", "folder"])
def test_pytest_collects_the_pairs(how: str, pytester: pytest.Pytester) -> None:
    import torch  # noqa: F401, I001
    import keras  # noqa: F401

    pytester.makepyfile(net_of_mine=MODELS)
    extra = '\n[tool.pytest.ini_options]\ntestpaths = ["tests"]\n' if how == "testpaths" else ""
    pytester.path.joinpath("pyproject.toml").write_text(TOML + extra)
    pytester.path.joinpath("tests").mkdir()
    pytester.path.joinpath("tests", "test_a.py").write_text("def test_a(): pass\n")
    arguments = {"testpaths": [], "file": ["pyproject.toml"], "folder": ["."]}[how]
    result = pytester.runpytest_inprocess("-p", "no:xdist", "-rA", *arguments)
    result.assert_outcomes(passed=1 + (how != "file"), failed=1)
    result.stdout.fnmatch_lines(["*DIVERGED*", "*1. error: *", "PASSED pyproject.toml::right"])
    assert "pytest_plugin.py" not in result.stdout.str()
    only = pytester.runpytest_inprocess("-p", "no:xdist", "tests/test_a.py")
    only.assert_outcomes(passed=1)
