"""action.yml and docs/ci.md: they parse, their scripts run under bash, and the Markdown says what the report says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parity.core.finding import Finding, Kind
from parity.core.verdict import Verdict
from parity.report.formats.markdown import MOST, escaped, markdown
from parity.report.result import Result
from tests.unit.test_cli_output import RESULTS

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).resolve().parents[2]
RUNNER = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]
"""How GitHub starts the script of a step with `shell: bash`."""
EXPRESSION = re.compile(r"\$\{\{ *([\w.-]+) *\}\}")


def action() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return read


def step(name: str) -> dict[str, Any]:
    (found,) = [one for one in action()["runs"]["steps"] if one.get("name") == name]
    return dict(found)


# --- the files -----------------------------------------------------------------------------------------


def test_every_expression_names_something_that_is_there() -> None:
    made = action()
    steps = made["runs"]["steps"]
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    known = {f"inputs.{name}" for name in made["inputs"]}
    known |= {f"steps.{one['id']}" for one in steps if "id" in one}
    for name in EXPRESSION.findall(text):
        assert (
            name in known
            or name.split(".")[0] in {"github", "runner"}
            or ".".join(name.split(".")[:2]) in known
        )
    assert all("run" in one or "uses" in one for one in steps)
    assert all(one["shell"] == "bash" for one in steps if "run" in one)
    assert all(entry["description"] for entry in [*made["inputs"].values(), *made["outputs"].values()])
    scripts = "\n".join(one["run"] for one in steps if "run" in one)
    assert not EXPRESSION.search(scripts), "a script gets its values by env: an input is data, never code"


def test_the_workflow_of_the_documentation_uses_inputs_that_there_are() -> None:
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    workflow = blocks[0]
    assert True in workflow or "on" in workflow  # YAML 1.1 reads `on` as true
    (job,) = workflow["jobs"].values()
    assert job["permissions"]["pull-requests"] == "write"
    used = [one for block in blocks for one in steps_of(block) if "parity" in str(one.get("uses", ""))]
    assert used
    for one in used:
        assert set(one.get("with", {})) <= set(action()["inputs"])
    for name in action()["inputs"]:
        assert f"`{name}`" in text


def steps_of(block: Any) -> list[dict[str, Any]]:
    if isinstance(block, list):
        return block
    return [one for job in block.get("jobs", {}).values() for one in job["steps"]]


# --- the scripts ---------------------------------------------------------------------------------------

PARITY = """#!{python}
import sys
sys.path.insert(0, {root!r})
from parity.cli import check, main
from tests.unit.test_cli_output import RESULTS
open({seen!r}, "a").write(repr(sys.argv[1:]) + "\\n")
if "nothing" in sys.argv:
    sys.exit(main(["check", "--keras", "alone"]))
check._results = lambda *_: iter(RESULTS if "all" in sys.argv else RESULTS[:1])
check.asked.pairs = lambda options: [check.asked.Pair("p", "k:m", "t:m", {{}}, {{}})]
sys.exit(main(sys.argv[1:]))
"""
GH = """#!{python}
import json, os, re, subprocess, sys
arguments = sys.argv[1:]
open({seen!r}, "a").write(json.dumps(arguments) + "\\n")
if os.environ.get("REFUSED"):
    sys.exit("HTTP 403")
if "--jq" in arguments:
    comments = os.environ["COMMENTS"]
    sys.exit(subprocess.run(["jq", "-r", arguments[-1]], input=comments, text=True).returncode)
"""


@pytest.fixture
def runner(tmp_path: Path) -> dict[str, str]:
    """The environment of a step, with programs in front of the others that note how they are called."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("parity", PARITY), ("gh", GH)):
        seen = str(tmp_path / f"{name}-seen")
        (programs / name).write_text(text.format(python=sys.executable, root=str(ROOT), seen=seen))
        (programs / name).chmod(0o755)
    (programs / "python").write_text(f'#!/bin/sh\n[ "$2" = pip ] && echo "$@" >> {tmp_path}/pip-seen && exit\n'
                                     f'exec {sys.executable} "$@"\n')  # fmt: skip
    (programs / "python").chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}
    return {
        **kept,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "REPORT": str(tmp_path / "the report"),
        "NAME": "parity",
    }


def run(
    name: str, environment: dict[str, str], folder: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    (folder / "script").write_text(step(name)["run"])
    assert set(more) <= {*step(name)["env"], "COMMENTS", "REFUSED"}
    return subprocess.run(
        [*RUNNER, str(folder / "script")],
        cwd=folder,
        env={**environment, **more},
        capture_output=True,
        text=True,
    )


pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def test_install_takes_arguments_as_a_shell_would(runner: dict[str, str], tmp_path: Path) -> None:
    done = run(
        "Install",
        runner,
        tmp_path,
        REQUIREMENTS="-r 'my list.txt' keras",
        EXTRAS="tf,torch",
        ACTION="/the/action",
    )
    assert done.returncode == 0, done.stderr
    done = run("Install", runner, tmp_path, REQUIREMENTS="", EXTRAS="jax,torch", ACTION="/the/action")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pip-seen").read_text().splitlines() == [
        "-m pip install --quiet -r my list.txt keras",
        "-m pip install --quiet /the/action[tf,torch]",
        "-m pip install --quiet /the/action[jax,torch]",
    ]


def test_words_that_cannot_be_read_stop_the_step(runner: dict[str, str], tmp_path: Path) -> None:
    """A quote that is left open must not check all pairs in place of the one that is meant, nor install nothing."""
    assert run("Check", runner, tmp_path, PAIRS="right --input 'ids=2x3").returncode != 0
    assert not (tmp_path / "parity-seen").exists()
    done = run("Install", runner, tmp_path, REQUIREMENTS="'keras", EXTRAS="tf", ACTION="/the/action")
    assert done.returncode != 0
    assert not (tmp_path / "pip-seen").exists()


@pytest.mark.parametrize(("pairs", "code"), [("right --input 'ids=2x3'", 0), ("all", 1), ("nothing", 2)])
def test_check_keeps_every_report_and_the_exit_code(
    pairs: str, code: int, runner: dict[str, str], tmp_path: Path
) -> None:
    done = run("Check", runner, tmp_path, PAIRS=pairs)
    assert done.returncode == 0, done.stderr  # the last step fails, behind the comment
    assert (tmp_path / "output").read_text().splitlines() == [
        f"exit-code={code}",
        f"report={runner['REPORT']}",
    ]
    report, summary = Path(runner["REPORT"]), (tmp_path / "summary").read_text()
    assert summary == (report / "report.md").read_text()
    names = {path.name for path in report.iterdir()}
    if code == 2:
        assert names == {"report.md", "output.txt"}
        assert "no verdict" in summary
        assert "    parity: --keras and --torch go together; got one of them." in summary
        return
    assert names == {f"report.{end}" for end in ("json", "html", "xml", "sarif", "md")} | {"output.txt"}
    assert ("::error file=" in done.stdout) == (code == 1)  # annotations still come out
    called = (tmp_path / "parity-seen").read_text()
    assert ("'right', '--input', 'ids=2x3', '--json'" in called) == (code == 0)
    assert run("Verdict", runner, tmp_path, CODE=str(code)).returncode == code


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize(
    ("comments", "call"),
    [
        ([], ["POST", "repos/me/mine/issues/7/comments"]),
        ([[3, "<!-- parity-report: other -->"], [4, "hello"]], ["POST", "repos/me/mine/issues/7/comments"]),
        (
            [[3, "hello"], [5, "<!-- parity-report: parity -->\nold"]],
            ["PATCH", "repos/me/mine/issues/comments/5"],
        ),
    ],
)
def test_the_comment_is_updated_where_there_is_one(
    comments: list[Any], call: list[str], runner: dict[str, str], tmp_path: Path
) -> None:
    report = Path(runner["REPORT"])
    report.mkdir()
    (report / "report.md").write_text("### the report\n")
    mark = EXPRESSION.sub("parity", step("Comment")["env"]["MARK"])
    values = {
        "REPOSITORY": "me/mine",
        "NUMBER": "7",
        "MARK": mark,
        "ARTIFACT": "address",
        "GH_TOKEN": "token",
    }
    values["COMMENTS"] = json.dumps([{"id": number, "body": body} for number, body in comments])
    done = run("Comment", runner, tmp_path, **values)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    calls = [json.loads(line) for line in (tmp_path / "gh-seen").read_text().splitlines()]
    assert calls[1] == ["api", "--method", *call, "-F", f"body=@{report}/comment.md", "--silent"]
    assert (report / "comment.md").read_text() == f"{mark}\n### the report\n\n[The whole report](address)\n"
    done = run("Comment", runner, tmp_path, **values, REFUSED="1")
    assert done.returncode == 0  # a pull request from a fork fails or passes by its verdict alone
    assert done.stdout.startswith("::notice title=parity::no comment was written")


# --- the Markdown --------------------------------------------------------------------------------------


def test_the_markdown_has_a_row_a_pair_and_the_causes_with_lines_and_fixes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_SHA", raising=False)
    text = markdown(RESULTS)
    lines = text.splitlines()
    assert lines[0] == "### ❌ parity: 1 of 3 EQUAL"
    assert lines[4] == "| right | ✅ EQUAL | 0.0e+00 |  |  |"
    assert (
        lines[5]
        == "| wrong, 1 | ❌ DIVERGED | 0.0e+00 |  | `same-padding-asymmetry`, `batchnorm-epsilon`, `unmatched` |"
    )
    assert "#### right" not in text
    cause = "**error: `same-padding-asymmetry`** at `down / body.down` · `port.py:10` · `net.py:13`"
    assert cause in lines
    assert lines[lines.index(cause) + 2] == "> Fix (verified): pad: explicitly"
    assert "- it differs by 50 %, at (1, 2)" in lines
    assert lines.count("<details><summary>What was measured</summary>") == lines.count("</details>") == 4
    assert "**warning: `unmatched`** at `aux`" in lines
    for name, value in (("SERVER_URL", "https://host"), ("REPOSITORY", "me/mine"), ("SHA", "abc")):
        monkeypatch.setenv(f"GITHUB_{name}", value)
    assert "[`port.py:10`](https://host/me/mine/blob/abc/port.py#L10)" in markdown(RESULTS)
    assert "· [`net.py:13`](https://host/me/mine/blob/abc/net.py#L13) · [`port.py" in markdown(
        RESULTS, reference="keras"
    )
    assert markdown(RESULTS[:1]).startswith("### ✅ parity: 1 of 1 EQUAL")
    strict = markdown(RESULTS[:1], RESULTS[:1])
    assert "⚠️ EQUAL, something unproven" in strict
    assert "- unproven: a limit was not reached" in strict


def test_a_name_cannot_be_markup_and_notifies_nobody() -> None:
    hostile = "a|b\n# <img src=x> @everyone `c` [d](e) **f**"
    finding = Finding(hostile, None, Kind.LAYER, None, hostile, hostile)
    text = markdown([Result(hostile, verdict=Verdict.DIVERGED, findings=[finding])])
    row = text.splitlines()[4]
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
    assert "@everyone" not in re.sub(r"`[^`]*`", "", text)
    assert not re.search(r"(?<!\\)<img", re.sub(r"`[^`]*`", "", text))
    md = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    for wanted in (escaped(hostile), text):
        html = md.render(wanted)
        assert "<img" not in html
        assert "<a " not in html
    assert "<strong>f" not in html


def test_a_report_of_any_size_fits_a_comment() -> None:
    findings = [
        Finding(f"layer{i}", None, Kind.LAYER, None, "long " * 2000, effect=1.0 + i) for i in range(30)
    ]
    results = [Result(f"pair {i}", verdict=Verdict.DIVERGED, findings=findings) for i in range(40)]
    text = markdown(results)
    assert len(text) <= MOST
    assert text.count("| pair ") == 41
    assert "The rest is in the report." in text
    many = markdown([Result("x" * 100, verdict=Verdict.DIVERGED) for _ in range(2000)])
    assert len(many) <= MOST
    assert re.search(r"… and \d+ more pairs", many)
