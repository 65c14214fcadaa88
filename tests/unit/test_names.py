"""One word, one meaning: no class or type shares its name with another, and the two sides are `keras` and `torch`."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

PARITY = Path(__file__).parents[2] / "parity"
TYPE = re.compile(r"_?[A-Z]\w*[a-z]\w*")
"""How classes and type aliases are spelt; constants are in capitals, and twins may share them."""


def given_twice(sources: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of classes and type aliases that more than one module gives, with the modules."""
    places: dict[str, list[str]] = {}
    for module, source in sources.items():
        for statement in ast.parse(source).body:
            names = []
            if isinstance(statement, ast.ClassDef):
                names = [statement.name]
            elif isinstance(statement, ast.Assign):
                names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            for name in names:
                if TYPE.fullmatch(name):
                    places.setdefault(name, []).append(module)
    return {name: modules for name, modules in places.items() if len(modules) > 1}


def test_no_name_has_two_meanings() -> None:
    sources = {str(path.relative_to(PARITY)): path.read_text() for path in sorted(PARITY.rglob("*.py"))}
    assert len(sources) > 50
    assert given_twice(sources) == {}


def test_a_name_that_is_given_twice_is_seen() -> None:
    sources = {"a": "class Step: ...", "b": "Step = tuple[int, int]", "c": "STEPS = 3", "d": "STEPS = 4"}
    assert given_twice(sources) == {"Step": ["a", "b"]}


ANOTHER = {"causes", "pairing", "weights"}
"""Rooms in which `other` means another one of the same side, such as another unit or another kernel."""
ROOMS = sorted(path.parent.name for path in PARITY.glob("*/__init__.py"))
UNCLEAR = {"ours", "theirs", "our", "their", "mine", "mate", "mates", "other", "others"}
"""Names that leave open which of the two sides is meant: these are `keras` and `torch`."""


def unclear(source: str) -> set[str]:
    """Names of variables, arguments, attributes and functions that do not say which side they are of."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = {getattr(node, field, None) for field in ("id", "arg", "attr", "name", "asname")}
        words = {word for name in names if isinstance(name, str) for word in name.lower().split("_")}
        found |= words & UNCLEAR
    return found


def test_rooms_are_there() -> None:
    assert {"adapters", "core", "replay", "training", "verdict"} <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_the_two_sides_are_keras_and_torch(room: str) -> None:
    found = {path.name: unclear(path.read_text()) for path in sorted((PARITY / room).rglob("*.py"))}
    allowed = {"other", "others"} if room in ANOTHER else set()
    assert {name: words - allowed for name, words in found.items() if words - allowed} == {}


def test_a_name_that_does_not_say_its_side_is_seen() -> None:
    source = "def gap(ours, torch_values):\n    mine = [other for other in ours]\n    return self.their_loss"
    assert unclear(source) == {"ours", "mine", "other", "their"}
