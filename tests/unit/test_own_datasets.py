"""Another `datasets` in front of ours: each package of ours still finds its own, and the other one is not changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPIES = ("parity", "tf_impl/_shared", "torch_impl/_shared")

PROJECTS = {
    "a package": {"datasets/__init__.py": "mine = 1\n", "datasets/loader.py": "kept = 2\n"},
    "a module": {"datasets.py": "mine = 1\n"},
    "a folder": {"datasets/loader.py": "kept = 2\n"},
    "a lazy package": {
        "datasets/__init__.py": "mine = 1\ndef __getattr__(name):\n    raise AttributeError(name)\n"
    },
}
CLASHES = {
    "a module": {"datasets/__init__.py": "", "datasets/training.py": ""},
    "a package": {"datasets/__init__.py": "", "datasets/training/__init__.py": "", "datasets/errors.py": ""},
}


def project(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the folder, which comes first on the path, and our packages behind it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_three_copies_are_the_same() -> None:
    assert len({(ROOT / folder / "own_datasets.py").read_bytes() for folder in COPIES}) == 1


EVERY = [(files, first, "tf_impl") for files in PROJECTS for first in ("project", "segparity")]
EVERY += [("a package", "project", "parity.core"), ("a package", "project", "torch_impl")]


@pytest.mark.parametrize(("kind", "first", "package"), EVERY)
def test_both_are_found(kind: str, first: str, package: str, tmp_path: Path) -> None:
    """Whichever is imported first; what the project's own code sees is as without us."""
    files = PROJECTS[kind]
    theirs = "import datasets\n" + (
        "assert datasets.mine == 1\n" if "__init__" in str(files) or "datasets.py" in files else ""
    )
    theirs += "from datasets.loader import kept\nassert kept == 2\n" if "datasets/loader.py" in files else ""
    ours = f"import {package}\nfrom datasets.training.recipe import Recipe\nfrom datasets.errors import RunError\n"
    code = theirs + ours + theirs if first == "project" else ours + theirs
    done = run(project(tmp_path, files), "-c", f"import sys\nsys.modules['torch'] = None\n{code}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("half", ["tf_impl", "torch_impl"])
def test_training_starts_in_such_a_project(half: str, tmp_path: Path) -> None:
    pytest.importorskip("torch" if half == "torch_impl" else "keras")
    done = run(project(tmp_path, PROJECTS["a package"]), "-m", f"{half}.train", "--help")
    assert done.returncode == 0, done.stderr
    assert "--data" in done.stdout


@pytest.mark.parametrize("files", CLASHES.values(), ids=CLASHES)
def test_a_name_that_is_taken_is_said_in_a_sentence(files: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = run(project(tmp_path, files), "-m", "torch_impl.train", "--help")
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-1]
    assert "must be segparity's; got" in said
    assert str(tmp_path) in said
    assert "Rename that file" in said


def test_the_project_s_own_import_of_such_a_name_is_its_own(tmp_path: Path) -> None:
    files = {"datasets/__init__.py": "", "datasets/training.py": "mine = 1\n"}
    done = run(
        project(tmp_path, files), "-c", "import tf_impl\nfrom datasets.training import mine\nassert mine == 1"
    )
    assert done.returncode == 0, done.stderr


def test_nothing_changes_where_ours_is_the_only_one() -> None:
    code = f"""
import tf_impl, parity.core, torch_impl, sys
import datasets
places = {{place for place in datasets.__path__ if not place.startswith('__editable__')}}  # a mark of pip's
assert places == {{{str(ROOT / "datasets")!r}}}, datasets.__path__
assert sum(getattr(each, '__module__', '').endswith('own_datasets') for each in sys.meta_path) == 1
"""
    done = run(ROOT, "-c", code)
    assert done.returncode == 0, done.stderr


def test_a_copy_without_the_folder_changes_nothing(tmp_path: Path) -> None:
    """A half that was copied into a project alone."""
    shutil.copytree(ROOT / "torch_impl" / "_shared", tmp_path / "net" / "torch_impl" / "_shared")
    code = "import sys\nfrom own_datasets import reach\nbefore = list(sys.meta_path)\nreach()\n"
    code += "assert sys.meta_path == before"
    done = run(tmp_path / "net" / "torch_impl" / "_shared", "-c", code)
    assert done.returncode == 0, done.stderr
