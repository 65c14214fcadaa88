"""Models named by strings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parity.adapters.spec import load_model, split_call
from parity.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ("mUnet", "mUnet", None),
        ("mUnet()", "mUnet", ([], {})),
        ("mUnet(depth=8)", "mUnet", ([], {"depth": 8})),
        (
            "Conv(3, (1, 2), padding='same', bias=False)",
            "Conv",
            ([3, (1, 2)], {"padding": "same", "bias": False}),
        ),
    ],
)
def test_split_call(text: str, name: str, arguments: Any) -> None:
    assert split_call(text) == (name, arguments)


@pytest.mark.parametrize(
    "text", ["f(open('x'))", "f(a)", "f(1", "f(1)(2)", "f(1) + 1", "f(*[1])", "f(**{'a': 1})", "f(1).g"]
)
def test_anything_but_literals_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must be literals"):
        split_call(text)


SOURCE = """
from torch import nn
class Net(nn.Module):
    def __init__(self, size=2):
        super().__init__()
        self.size = size
        self.linear = nn.Linear(size, 3)
def build(size=4):
    return Net(size)
made = Net(5)
class Box:
    inner = staticmethod(lambda: Net(6))
"""


@pytest.mark.parametrize(
    ("attribute", "size"),
    [("Net", 2), ("Net(7)", 7), ("build", 4), ("build(size=8)", 8), ("made", 5), ("Box.inner", 6)],
)
def test_objects_classes_and_functions(attribute: str, size: int, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(SOURCE)
    assert load_model(f"{tmp_path / 'net.py'}:{attribute}").size == size


def test_two_files_of_one_name_do_not_mix(tmp_path: Path) -> None:
    for folder, size in (("a", 11), ("b", 12)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(SOURCE.replace("Net(5)", f"Net({size})"))
    assert load_model(f"{tmp_path / 'a' / 'net.py'}:made").size == 11
    assert load_model(f"{tmp_path / 'b' / 'net.py'}:made").size == 12


def test_a_file_may_bear_the_name_of_a_module(tmp_path: Path) -> None:
    import json

    (tmp_path / "json.py").write_text(SOURCE)
    assert load_model(f"{tmp_path / 'json.py'}:made").size == 5
    import sys

    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    "spec",
    ["", ":", "a:", "nowhere.py:x", "no_such_module:x", "json:nothing", "json:dumps.nothing", "math:pi"],
)
def test_mistakes(spec: str) -> None:
    with pytest.raises(UsageError):
        load_model(spec)
