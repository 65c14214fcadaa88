"""The documentation's site: every cause has its page, the tables are those of the code, and its code blocks run."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.causes import CAUSES
from parity.causes.known.fixes import fix_of
from tests.conftest import needs
from tests.doc_scripts import doc_script

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")) if path.name != "CHANGELOG.md"
]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of docs/book."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    from book import api, causes

    return {"api": api, "causes": causes}


def test_every_cause_has_a_page_from_the_code_s_own_table(book: Any) -> None:
    pages = book["causes"].cause_pages(ROOT)
    assert {f"handbook/cause-{name}.md" for name in CAUSES} | {"handbook/index.md"} == set(pages)
    for name, cause in CAUSES.items():
        page = pages[f"handbook/cause-{name}.md"].replace("\\", "")
        for text in (cause.mechanism, cause.signature, cause.fix):
            assert text[1:] in page, name
        assert page.count("<svg") == (2 if "The sizes differ" in page else 3), name
        assert all(way in page for way in (fix_of(name).keras, fix_of(name).torch)), name
        assert f"(cause-{name}.md)" in pages["handbook/index.md"]


def test_every_cause_was_measured() -> None:
    record = json.loads((ROOT / "docs" / "records" / "causes.json").read_text(encoding="utf-8"))
    assert list(record) == list(CAUSES), "run `python docs/handbook.py CAUSE` for a new one"
    for name, row in record.items():
        assert row["evidence"], name
        for image in (row["pictures"] or {}).get("images", []):
            assert image["source"].startswith("data:image/png;base64,"), name


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    docs = ROOT / "docs"
    for page in docs.rglob("*.html"):  # a text of the same name would be written over it
        title = re.findall(r"<title>.*?</title>", page.read_text(encoding="utf-8"))
        assert title[0] in (tmp_path / "site" / page.relative_to(docs)).read_text(encoding="utf-8"), page
    assert len(pages) > 100
    site = {
        page.relative_to(tmp_path / "site").as_posix(): page.read_text(encoding="utf-8") for page in pages
    }
    assert 'highlight columns"><pre tabindex="0">' in site["results.html"]
    assert '<code class="flag">--strict</code>' in site["parity.html"]
    assert '<a class="larger" href="figures/report.png"><img' in site["index.html"]
    own = {name: text for name, text in site.items() if name.startswith(("models/", "ports/", "ported/"))}
    assert len(own) > 20
    for name, text in own.items():
        assert re.search(r'href="[^"]*\.py"|href="\.\./\.\./', text) is None, name
        assert re.search(r'<p class="up"><a href="(?:index|\.\./networks|\.\./porting)\.html">', text), name
    loaded = (
        r"""<(?:script|img|iframe|source)[^>]*\bsrc=["']?(?:https?:)?//|<link[^>]*rel=["']?(?:stylesheet|preconnect|icon)"""
        + (r"""["']?[^>]*href=["']?(?:https?:)?//""")
    )
    for page in pages:
        assert re.search(loaded, page.read_text(encoding="utf-8")) is None, page
    if shutil.which("chromium"):  # with --require=browser the browser's own tests fail without it
        from tests.browser.test_site_pages import overflowing

        assert overflowing(tmp_path / "site", tmp_path) == {}


def test_the_api_lists_what_is_there(book: Any) -> None:
    for names in book["api"].PARITY.values():
        for name in names:
            place = ROOT / (name.replace(".", "/") + ".py")
            if not place.exists():
                place, _, wanted = name.rpartition(".")
                text = (ROOT / (place.replace(".", "/") + ".py")).read_text(encoding="utf-8")
                assert wanted in {getattr(node, "name", "") for node in ast.parse(text).body}, name
    for half in ("tf_impl", "torch_impl"):
        assert [name for name in book["api"].HALVES if not (ROOT / half / f"{name}.py").exists()] == []


def test_the_table_of_defaults_is_that_of_both_frameworks() -> None:
    needs("keras")
    needs("torch")
    script = doc_script("defaults")
    assert script.page() == script.PAGE.read_text(encoding="utf-8"), "run `python docs/defaults.py`"


def test_another_default_changes_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("keras")
    needs("torch")
    from torch import nn

    script = doc_script("defaults")
    before = script.page()
    monkeypatch.setattr(nn.LayerNorm.__init__, "__defaults__", (1e-3, True, True, None, None))
    after = script.page()
    assert before != after
    assert "[LayerNormalization](#layernormalization-and-nnlayernorm) | `epsilon`" in before
    assert "[LayerNormalization](#layernormalization-and-nnlayernorm) | `epsilon`" not in after


def commands(text: str) -> list[list[str]]:
    """Every command line of the shell blocks, comments and continuations taken away."""
    lines = [
        line
        for language, code in BLOCK.findall(text)
        if language == "sh"
        for line in code.replace("\\\n", " ").splitlines()
    ]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def options() -> set[str]:
    """Every option of every command of the command line."""
    from parity.cli.parser import parser

    found: set[str] = set()
    parsers: list[argparse.ArgumentParser] = [parser()]
    while parsers:
        for action in parsers.pop()._actions:
            found |= set(action.option_strings)
            parsers += list(action.choices.values()) if isinstance(action, argparse._SubParsersAction) else []
    return found


def trouble(words: list[str]) -> str:
    """Why a command cannot be run; "" where it can."""
    words = [word for word in words if not re.fullmatch(r"[A-Z_]+=\S*", word)]
    if not words:
        return ""
    program = Path(words[0]).name
    if program == "make":
        rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        unknown = [
            word for word in words[1:] if "=" not in word and not word.startswith("-") and word not in rules
        ]
        return f"no such rule: {unknown}" if unknown else ""
    if program.startswith("python") and "-m" in words:
        module = words[words.index("-m") + 1]
        places = [ROOT / (module.replace(".", "/") + end) for end in (".py", "/__main__.py")]
        ours = module.partition(".")[0] in {
            "datasets",
            "parity",
            "tf_impl",
            "torch_impl",
            "tests",
            "benchmarks",
        }
        return f"no such module: {module}" if ours and not any(place.exists() for place in places) else ""
    if program == "parity":
        known = options()
        flags = [word.partition("=")[0] for word in words if word.startswith("--")]
        return (
            f"no such option: {missing}" if (missing := [flag for flag in flags if flag not in known]) else ""
        )
    return ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_code_blocks_are_code_and_commands_are_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for language, code in BLOCK.findall(text):
        if language == "python":
            ast.parse(code)
    assert [why for words in commands(text) if (why := trouble(words))] == []


def test_a_wrong_command_is_noticed() -> None:
    text = "```sh\nmake nothing\npython -m datasets.nothing\nparity check --nothing 3\nmake test REQUIRE=x  # fine\n```\n"
    assert [trouble(words) for words in commands(text)] == [
        "no such rule: ['nothing']", "no such module: datasets.nothing", "no such option: ['--nothing']", "",
    ]  # fmt: skip


def test_the_tutorial_does_what_it_says() -> None:
    """Its files, its two causes, its fix, and EQUAL in the end."""
    needs("keras")
    needs("torch")
    import parity

    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    files: dict[str, dict[str, Any]] = {}
    for language, code in BLOCK.findall(text):
        if language == "python" and (name := re.match(r"# (\w+\.py.*)\n", code)):
            files[name[1]] = {"__name__": name[1]}
            exec(code, files[name[1]])
    shape = re.search(r"--input (\d+)x(\d+)x(\d+)x(\d+)\n", text)
    assert shape
    images = np.random.default_rng(0).normal(size=tuple(map(int, shape.groups()))).astype(np.float32)
    causes = {}
    for name in ("keras_port.py", "keras_port.py, fixed"):
        module, model = files["torch_net.py"]["Net"](), files[name]["build"]()
        randomise(adapt(module), 0)  # as the command line does
        parity.transfer(module, model)
        report = parity.compare(model, module, images, quick=True)
        causes[report.verdict] = [finding.cause for finding in report.findings]
    assert causes == {"DIVERGED": re.findall(r"^\| \[`([\w-]+)`\]", text, re.MULTILINE), "EQUAL": []}
