"""One word, one meaning: no name of a class or of a type is given twice in parity."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

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
