"""What the documents say is there is there: files, names in them, links, and the version."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "models").glob("*.md"))
)
PLACE = re.compile(
    r"`((?:parity|datasets|tf_impl|torch_impl|tests|docs|examples|benchmarks)/[\w./-]*)(?:::(\w+))?`"
)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
RELEASE = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def defined(path: Path) -> set[str]:
    """Names that a module binds at its top level."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def wrong_places(text: str) -> list[str]:
    """Every `path` and `path::name` that is not there; NAME stands for any name."""
    return [
        f"{path}::{name}" if name else path
        for path, name in PLACE.findall(text)
        if "NAME" not in path and (not (ROOT / path).exists() or (name and name not in defined(ROOT / path)))
    ]


def made(link: str) -> bool:
    """Whether `make docs` writes this page of the handbook."""
    from parity.causes import CAUSES

    return link == "handbook/index.md" or link in {f"handbook/cause-{name}.md" for name in CAUSES}


def dead_links(text: str, folder: Path) -> list[str]:
    """Links to files that are not there, and that `make docs` does not write."""
    links = LINK.findall(text)
    return [
        link for link in links if not (folder / link).exists() and not (folder.name == "docs" and made(link))
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_and_name_that_a_document_gives_exists(document: str) -> None:
    assert not wrong_places(text_of(document))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    assert not dead_links(text_of(document), (ROOT / document).parent)


def test_a_wrong_place_and_a_dead_link_are_found() -> None:
    text = "`parity/check.py::check_pair` `parity/check.py::mein` `parity/clj.py` [a](check.py) [b](cli.md#x) [c](https://x.y/z)"
    assert wrong_places(text) == ["parity/check.py::mein", "parity/clj.py"]
    assert dead_links(text, ROOT / "parity") == ["cli.md"]
    text = "[a](handbook/cause-kernel-flip.md) [b](handbook/cause-kernel-flop.md)"
    assert dead_links(text, ROOT / "docs") == ["handbook/cause-kernel-flop.md"]


def test_the_documents_list_every_cause_kind_and_network() -> None:
    from datasets.training.networks import NETWORKS
    from parity.causes import CAUSES
    from parity.core.finding import Kind

    count = re.search(r"It knows more than (\d+) causes", text_of("README.md"))
    assert count
    assert 0 <= len(CAUSES) - int(count[1]) < 10
    kinds = [f"| `{kind.value}` | {kind.meaning} | {'yes' if kind.proves else 'no'} |" for kind in Kind]
    assert "\n".join(kinds) in text_of("docs/parity.md")
    assert [name for name in NETWORKS if name not in text_of("docs/training.md")] == []


def test_the_changelog_begins_with_the_version() -> None:
    releases = RELEASE.findall(text_of("CHANGELOG.md"))
    version = tomllib.loads(text_of("pyproject.toml"))["project"]["version"]
    assert releases[0][0] == version
    numbers = [tuple(map(int, number.split("."))) for number, _ in releases]
    assert numbers == sorted(set(numbers), reverse=True)
    assert [day for _, day in releases] == sorted((day for _, day in releases), reverse=True)
