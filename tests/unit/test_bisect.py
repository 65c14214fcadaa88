"""parity bisect: the commit at which a pair parted, and a repository that stays as it was."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from parity.cli import asked, main
from parity.cli.bisecting.along import Along
from parity.cli.bisecting.command import searched
from parity.cli.bisecting.repository import Commit, Repository
from parity.cli.bisecting.search import Bisection, CommitCheck
from parity.cli.bisecting.shown import as_data, conclusion, named_lines
from parity.cli.bisecting.worker import _foreign, judged
from parity.cli.parser import parser
from parity.cli.shown.amount import Amount
from parity.cli.terminal import Screen
from parity.core.errors import UsageError
from parity.core.verdict import Verdict
from parity.report.data import Result

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
RIGHT = """
import keras
from torch import nn

def build():
    x = keras.Input((None, None, 3))
    y = keras.layers.Conv2D(4, 3, name="conv")(x)
    return keras.Model(x, keras.layers.BatchNormalization(epsilon=1e-5, name="norm")(y))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
    def forward(self, x):
        return self.norm(self.conv(x))
"""
WRONG = RIGHT.replace("epsilon=1e-5, ", "")
TORN = RIGHT.replace("class Net", "class class Net")
LATER = WRONG.replace("nn.Conv2d(3, 4, 3)", "nn.Conv2d(3, 4, 3, stride=2)")
STATES = {"good": Verdict.EQUAL, "bad": Verdict.DIVERGED, "open": Verdict.INCONCLUSIVE}
PAIR = ("--keras", "net.py:build", "--torch", "net.py:Net", "--input", "1x6x7x3", "--quick")


def git(folder: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    person = {f"GIT_{who}_{what}": "Ada" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *arguments],
        cwd=folder, env={**environment, **person}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def committed(folder: Path, message: str, **files: str) -> str:
    """A commit of these files; gives its hash."""
    for name, text in files.items():
        (folder / name.replace("_py", ".py")).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD").strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, which is the current folder; no configuration of this machine reaches it."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    git(folder, "init", "-q")
    monkeypatch.chdir(folder)
    return folder


def judged_by_a_file(commit: Commit, folder: Path) -> CommitCheck:
    """A check that reads its answer from the commit, so that histories of any form take no second."""
    state = (folder / "state").read_text() if (folder / "state").exists() else "none"
    if state not in STATES:
        return CommitCheck(commit, None, f"state is {state}")
    return CommitCheck(commit, Result("pair", verdict=STATES[state]))


def search(good: str, bad: str, check: Callable[[Commit, Path], CommitCheck] = judged_by_a_file) -> Bisection:
    repository = Repository(Path.cwd())
    ends = repository.commit(good, "--good"), repository.commit(bad, "--bad")
    return searched(repository, *ends, check, Screen(), Amount.USUAL)


def history(project: Path, states: str) -> list[str]:
    """A commit for each word."""
    return [committed(project, f"{i} {state}", state=state) for i, state in enumerate(states.split())]


# --- the search ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "first"),
    [
        ("good bad", 1),
        ("good good bad bad", 2),
        ("good good good good good good bad bad bad bad", 6),
        ("good none open good bad none bad bad", 4),
        ("good bad bad bad bad bad bad bad bad", 1),
    ],
)
def test_the_first_bad_commit_is_found(
    states: str, first: int, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commits = history(project, states)
    found = search(commits[0], "HEAD")
    assert found.first is not None
    assert found.first.sha == commits[first]
    assert found.first.subject == f"{first} bad"
    assert len(found.tried) <= 8
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"{len(commits) - 1} commit")
    assert len([line for line in out if re.match("[0-9a-f]{7}  ", line)]) == len(found.tried)


def test_where_all_between_is_skipped_those_it_may_be_are_listed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commits = history(project, "good good none open none bad bad")
    found = search(commits[0], commits[-1])
    assert found.first is None
    assert {commit.sha for commit in found.possible} == set(commits[2:6])
    assert "state is none" in capsys.readouterr().out
    repository, bad = Repository(project), found.of(found.tried[1].commit).commit
    screen = Screen()
    for part in conclusion(found, repository, bad, screen, Amount.USUAL):
        screen.show(part)
    assert "the first bad commit is one of 4" in capsys.readouterr().out
    assert as_data(found, repository, bad, bad)["first_bad"] is None


def test_a_merge_that_brings_the_fault_is_followed_into_its_branch(project: Path) -> None:
    good = committed(project, "start", state="good")
    git(project, "checkout", "-q", "-b", "side")
    fault = committed(project, "the fault", state="bad")
    committed(project, "more", other="1")
    git(project, "checkout", "-q", "main")
    committed(project, "meanwhile", third="1")
    git(project, "merge", "-q", "--no-ff", "-m", "merge", "side")
    found = search(good, "main")
    assert found.first is not None
    assert found.first.sha == fault


def test_a_good_commit_on_another_branch_is_searched_from_where_they_parted(project: Path) -> None:
    committed(project, "start", state="good")
    git(project, "branch", "other")
    fault = committed(project, "the fault", state="bad")
    git(project, "checkout", "-q", "other")
    committed(project, "elsewhere", other="1")
    found = search("other", "main")
    assert found.first is not None
    assert found.first.sha == fault
    git(project, "checkout", "-q", "-b", "fixed", "main")
    committed(project, "mended", state="good")
    git(project, "checkout", "-q", "main")
    committed(project, "still", other="2")
    with pytest.raises(UsageError, match="git bisect must succeed; got: The merge base"):
        search("fixed", "main")


@pytest.mark.parametrize(
    ("states", "good", "bad", "message"),
    [
        ("good good", "HEAD~1", "HEAD", "--bad must name .* DIVERGED; got EQUAL at .* What is not committed"),
        ("bad bad", "HEAD~1", "HEAD", "--good must name .* EQUAL; got DIVERGED at .* Give an earlier commit"),
        ("none bad", "HEAD~1", "HEAD", r"got no check \(state is none\) at"),
        ("open bad", "HEAD~1", "HEAD", "got INCONCLUSIVE at"),
        ("good bad", "HEAD", "HEAD~1", "--good must lie before --bad; got .* Exchange them"),
        ("good bad", "main", "HEAD", "--good and --bad must name two commits"),
        ("good bad", "nowhere", "HEAD", "--good must name a commit of .*; got 'nowhere'. git log lists them"),
        ("good bad", "HEAD~1", "-x", "--bad must name a commit of .*; got '-x'"),
    ],
)
def test_ends_that_are_not_what_they_must_be_are_refused_in_one_line(
    states: str, good: str, bad: str, message: str, project: Path
) -> None:
    history(project, states)
    with pytest.raises(UsageError, match=message) as caught:
        search(good, bad)
    assert "\n" not in str(caught.value)


def test_a_shallow_clone_says_how_to_get_the_rest(project: Path, tmp_path: Path) -> None:
    commits = history(project, "good bad")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{project}", "shallow")
    with pytest.raises(UsageError, match="--unshallow"):
        Repository(tmp_path / "shallow").commit(commits[0], "--good")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bisect", *PAIR], "required: --good"),
        (["bisect", "--good", "HEAD"], "bisect needs|needs something to check"),
        (["bisect", "--good", "HEAD", "mUnet", "FCN"], "must be given one pair|must be"),
        (["bisect", "--good", "HEAD", "--keras", "net.py:build"], "--keras and --torch go together"),
    ],
)
def test_arguments_that_name_no_single_pair_are_refused(
    arguments: list[str], message: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        raise SystemExit(main(arguments))  # argparse raises it by itself
    assert end.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_no_git_and_no_repository_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(RIGHT)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert main(["bisect", "--good", "HEAD", *PAIR]) == 2
    error = capsys.readouterr().err
    assert error.startswith("parity: parity bisect must run in a git repository with a working tree; got ")
    assert error.count("\n") == 1
    monkeypatch.setenv("PATH", "")
    assert main(["bisect", "--good", "HEAD", *PAIR]) == 2
    assert (
        capsys.readouterr().err
        == "parity: parity bisect needs git; got no program of that name. Install git.\n"
    )


# --- the user's repository -----------------------------------------------------------------------------


def state_of(project: Path) -> dict[str, object]:
    """Everything that a bisection could leave behind."""
    files = {
        path: path.read_bytes() for path in project.rglob("*") if path.is_file() and ".git/" not in str(path)
    }
    ours = {
        "objects",
        "logs",
        "packed-refs",
    }  # the last holds a head line alone: for-each-ref lists what is in it
    inside = " ".join(sorted(path.name for path in (project / ".git").iterdir() if path.name not in ours))
    commands = (("for-each-ref",), ("worktree", "list"), ("status", "--short"), ("rev-parse", "HEAD"))
    return {"files": files, "git": inside, **{words[0]: git(project, *words) for words in commands}}


def test_the_user_s_tree_refs_hooks_and_own_bisection_stay_as_they_are(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = history(project, "good good bad bad")
    hook = project / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {project}/the-hook-ran\n")
    hook.chmod(0o755)
    git(project, "bisect", "start", "--no-checkout", commits[3], commits[0])
    (project / "state").write_text("not committed")
    (project / "notes").write_text("not tracked")
    monkeypatch.setenv("GIT_INDEX_FILE", str(project / ".git" / "another"))  # as within a hook
    before = state_of(project)

    def untidy(commit: Commit, folder: Path) -> CommitCheck:
        tried = judged_by_a_file(commit, folder)
        (folder / "state").write_text("changed by the models")
        (folder / "left").mkdir()
        return tried

    found = search(commits[0], commits[3], untidy)
    assert found.first is not None
    assert found.first.sha == commits[2]
    assert state_of(project) == before


def test_an_error_in_the_middle_leaves_nothing(project: Path) -> None:
    commits = history(project, "good good bad bad")
    before, places = state_of(project), []

    def failing(commit: Commit, folder: Path) -> CommitCheck:
        places.append(folder)
        if len(places) == 3:
            raise KeyboardInterrupt
        return judged_by_a_file(commit, folder)

    with pytest.raises(KeyboardInterrupt):
        search(commits[0], commits[3], failing)
    assert state_of(project) == before
    assert not places[0].parent.exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_removes_the_worktree(name: str, project: Path, tmp_path: Path) -> None:
    first = committed(project, "right", net_py=RIGHT)
    committed(project, "wrong", net_py=WRONG)
    before = state_of(project)
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "parity", "bisect", "--good", first, *PAIR],
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    for _ in range(600):
        if git(project, "worktree", "list").count("\n") == 2:
            break
        time.sleep(0.05)
    time.sleep(0.3)
    if name == "SIGINT":  # the keyboard's goes to all of them
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == "parity: interrupted\n"
    assert state_of(project) == before
    assert list((tmp_path / "temporary").iterdir()) == []


# --- the pair ------------------------------------------------------------------------------------------


def pair_of(*arguments: str) -> asked.Pair:
    options = parser().parse_args(["bisect", "--good", "HEAD", *arguments])
    options.arguments = ("bisect", "--good", "HEAD", *arguments)
    (pair,) = asked.pairs(options)
    return pair


def test_a_real_pair_from_the_commit_that_changed_epsilon(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keras_torch: None
) -> None:
    """In this process: what the commits hold is compared, not what the user has now, and the cause is named."""
    good = committed(project, "A pair", net_py=RIGHT)
    fault = committed(project, "Simplify\n\nThe usual epsilon is enough.", net_py=WRONG, notes="1")
    committed(project, "Another one", net_py=LATER)
    (project / "net.py").write_text(RIGHT)  # not committed
    repository = Repository(project)
    ends = repository.commit(good, "--good"), repository.commit("HEAD", "--bad")
    along, pair = Along(repository, ends), pair_of(*PAIR)
    settings = {"directions": ("torch-to-keras",), "quick": True}

    def check(commit: Commit, folder: Path) -> CommitCheck:
        moved, given = along.pair(pair, settings, folder)
        with monkeypatch.context() as inside:
            inside.chdir(folder)
            return CommitCheck(commit, *judged(moved, given))

    found = search(good, "HEAD", check)
    assert found.first is not None
    assert found.first.sha == fault
    assert len(capsys.readouterr().out.splitlines()) == 4
    screen = Screen()
    for part in conclusion(found, repository, ends[1], screen, Amount.USUAL):
        screen.show(part)
    out = capsys.readouterr().out
    for text in ("first bad commit: ", "Simplify", "  Ada, ", "  The usual epsilon is enough.", "changed net.py",
                 "added   notes", "[batchnorm-epsilon]", "Fix (verified)", "there is also: "):  # fmt: skip
        assert text in out, text
    data = json.loads(json.dumps(as_data(found, repository, *ends)))
    assert data["first_bad"]["files"] == [{"status": "M", "path": "net.py"}, {"status": "A", "path": "notes"}]
    assert [cause["cause"] for cause in data["first_bad"]["result"]["causes"]] == ["batchnorm-epsilon"]
    assert [one["verdict"] for one in data["checked"]] == ["EQUAL", "DIVERGED", "DIVERGED"]
    (project / "net.py").write_text(TORN)
    result, why = judged(pair, settings)
    assert result is None
    assert re.fullmatch(
        r"the models' own code must run; got SyntaxError: .* at .*net\.py:10 \(class class Net.*", why
    )


@pytest.mark.slow
def test_the_whole_command_with_processes_of_its_own(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keras_torch: None
) -> None:
    """Modules by name, from a folder in the repository, with a pair of pyproject.toml that no commit holds."""
    (project / "models").mkdir()
    committed(project, "A pair", **{"models/net_py": RIGHT, "models/helper_py": "print('not to be seen')"})
    fault = committed(project, "Simplify", **{"models/net_py": WRONG})
    (project / "models" / "mine.py").write_text("import helper\nfrom net import Net, build\n")
    (project / "models" / "pyproject.toml").write_text(
        '[tool.parity.pairs.p]\nkeras = "mine.py:build"\ntorch = "net:Net"\ninputs = "1x6x7x3"\nquick = true\n'
    )
    monkeypatch.chdir(project / "models")
    assert main(["bisect", "--good", "HEAD~1", "p", "--json", "-"]) == 0
    printed = capsys.readouterr()
    data = json.loads(printed.out)
    assert data["first_bad"]["sha"] == fault
    assert data["first_bad"]["result"]["causes"][0]["cause"] == "batchnorm-epsilon"
    assert "not to be seen" not in printed.err
    assert git(project, "worktree", "list").count("\n") == 1


def test_what_commits_hold_is_moved_and_what_they_do_not_hold_is_not(project: Path, tmp_path: Path) -> None:
    committed(project, "A pair", net_py=RIGHT, weights_pt="kept")
    (project / "src").mkdir()
    (project / "own.pt").write_text("the user's own")
    (project / "own.py").write_text("from net import Net")
    repository = Repository(project)
    head = repository.commit("HEAD", "--bad")
    along, top = Along(repository, (head,)), tmp_path / "checked-out"
    (top / "src").mkdir(parents=True)
    moved, _ = along.pair(asked.Pair("p", "net.py:build", "net:Net", {}, {}), {}, top)
    assert (moved.keras, moved.torch) == (f"{top / 'net.py'}:build", "net:Net")
    weights = {"keras": Path("weights_pt"), "torch": project / "own.pt"}
    moved, settings = along.pair(
        asked.Pair("p", "own.py:Net", "net:Net", {}, {}, {"weights": weights}), {}, top
    )
    assert settings["weights"] == {"keras": top / "weights_pt", "torch": project / "own.pt"}
    assert (top / "own.py").read_text() == "from net import Net"
    path = along.search_path(top)
    assert path[:2] == [str(top), str(top / "src")]


def test_the_search_path_leads_into_the_commit(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editable install puts the user's own folder there; an environment in the project stays."""
    committed(project, "A pair", net_py=RIGHT)
    (project / "lib").mkdir()
    inside = project / "venv" / "lib" / "site-packages"
    monkeypatch.setattr(sys, "path", ["", str(project), str(project / "lib"), str(inside), "/elsewhere"])
    top = tmp_path / "checked-out"
    top.mkdir()
    path = Along(Repository(project), ()).search_path(top)
    assert path == [str(top), str(top / "lib"), str(inside), "/elsewhere"]


def test_modules_from_the_user_s_own_tree_are_noticed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed(project, "A pair", net_py=RIGHT)
    for name, folder in (
        ("seeded_a", project),
        ("seeded_b", tmp_path / "out"),
        ("seeded_c", project / "site-packages"),
    ):
        module = ModuleType(name)
        module.__file__ = str(folder / "net.py")
        monkeypatch.setitem(sys.modules, name, module)
    assert _foreign(project, tmp_path / "out") == ["seeded_a"]


def test_lines_that_findings_name_are_those_of_the_repository(project: Path) -> None:
    from parity.core.finding import Finding

    committed(project, "A pair", net_py=RIGHT)
    (project / "sub").mkdir()
    finding = Finding("a", "b", "layer", None, "text", keras_at="net.py:3", torch_at="net.py:9 or net.py:12")  # type: ignore[arg-type]
    result = Result("p", findings=[finding, finding])
    assert named_lines(Repository(project / "sub"), result) == {"sub/net.py": [3, 9]}
