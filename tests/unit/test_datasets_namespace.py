"""The wheel; and `datasets`, a namespace package that lives with Hugging Face's package of that name."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs

ROOT = Path(__file__).parents[2]
PACKAGES = ("datasets", "parity", "tf_impl", "torch_impl")
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "matplotlib", "scipy", "PIL", "tqdm")

OURS = """
import numpy as np
from datasets.purdue_shapes import generate, load, save
data = generate(3, 0)
save("a.gz", data)
assert np.array_equal(load("a.gz").images, data.images)
"""
THEIRS = """
import datasets
assert datasets.__file__, "no regular package"
rows = datasets.Dataset.from_dict({"value": [1, 2, 3]})
assert rows.map(lambda row: {"value": row["value"] * 2})["value"][:] == [2, 4, 6]
"""
ALONE = "import datasets\nassert getattr(datasets, '__file__', None) is None, datasets.__file__\n"


def addresses(home: str) -> dict[str, str]:
    """What setup.py makes of a remote's address; it is not run, because that would build."""
    names: dict[str, Any] = {}
    text = (ROOT / "setup.py").read_text(encoding="utf-8").partition("\nsetup(")[0]
    exec(compile(text, "setup.py", "exec"), names)
    return names["addresses"](home)


def run(python: Path | str, code: str, folder: Path) -> None:
    """Run code in a folder of its own, where nothing but what is installed can be imported."""
    environment = {**os.environ, "HF_HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    command = [python, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def built(folder: Path, home: str = "") -> Path:
    """The wheel, built from a copy of the sources: the build leaves files behind, and would take in stale ones."""
    copy = folder / "source"
    copy.mkdir(parents=True)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        (copy / name).write_bytes((ROOT / name).read_bytes())  # with the time of now
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(copy)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "PROJECT_HOME": home}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("wheel"))


def test_two_builds_are_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    """`make wheel` sets SOURCE_DATE_EPOCH to the commit's time."""
    assert (
        hashlib.sha256(built(tmp_path).read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()
    )


def test_the_wheel_is_fit_for_a_package_index(wheel: Path) -> None:
    pytest.importorskip("twine")
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", str(wheel)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_holds_licence_types_and_nothing_of_others(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    for package in ("parity", "tf_impl", "torch_impl", *(f"datasets/{each}" for each in own_packages())):
        assert f"{package}/py.typed" in names, package
    assert "datasets/py.typed" not in names  # it would speak for Hugging Face's package in the same folder
    (licence,) = (name for name in names if name.endswith("/licenses/LICENSE"))
    assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    (metadata,) = (archive.read(name).decode() for name in names if name.endswith("dist-info/METADATA"))
    assert "License-Expression: Apache-2.0" in metadata
    assert "Classifier: Typing :: Typed" in metadata
    extras = set(re.findall(r"^Provides-Extra: (.*)$", metadata, re.MULTILINE))
    assert {"tf", "torch", "jax", "train", "tiles", "report", "export", "docs", "dev"} <= extras
    shipped = {Path(name).suffix for name in names if ".dist-info/" not in name}
    assert shipped == {".py", ".css", ".js", ".typed"}  # all written here: one licence


@pytest.mark.parametrize(
    "home",
    [
        "https://code.example.org/team/segparity.git",
        "https://name:token@code.example.org/team/segparity",
        "git@code.example.org:team/segparity.git",
        "ssh://git@code.example.org/team/segparity.git",
        "ssh://git@code.example.org:2222/team/segparity.git",
    ],
)
def test_the_addresses_are_those_of_the_repository(home: str) -> None:
    found = addresses(home)
    assert found["Source"] == "https://code.example.org/team/segparity"
    assert found["Changelog"] == "https://code.example.org/team/segparity/blob/main/CHANGELOG.md"
    assert len(found) == 4


@pytest.mark.parametrize("home", ["", "/srv/segparity", "../segparity", "file:///srv/segparity.git"])
def test_a_folder_is_no_address(home: str) -> None:
    assert addresses(home) == {}


def test_the_metadata_name_the_repository(wheel: Path, tmp_path: Path) -> None:
    def urls(path: Path) -> list[str]:
        archive = zipfile.ZipFile(path)
        (name,) = (name for name in archive.namelist() if name.endswith("dist-info/METADATA"))
        return re.findall(r"^Project-URL: (.*)$", archive.read(name).decode(), re.MULTILINE)

    assert urls(wheel) == []
    named = urls(built(tmp_path, "git@code.example.org:team/segparity.git"))
    assert "Source, https://code.example.org/team/segparity" in named
    assert len(named) == 4


def own_packages() -> list[str]:
    return [path.parent.name for path in (ROOT / "datasets").glob("*/__init__.py")]


def test_the_citation_names_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"\nversion: {version[1]}\n" in text
    assert "\nlicense: Apache-2.0\n" in text


def test_the_sources_hold_no_init_file() -> None:
    assert not (ROOT / "datasets" / "__init__.py").exists()
    assert (ROOT / "datasets" / "purdue_shapes" / "__init__.py").exists()


def test_the_wheel_holds_every_module_and_no_init_file(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "datasets/__init__.py" not in names
    sources = [path.relative_to(ROOT).as_posix() for path in (ROOT / "datasets").rglob("*.py")]
    assert len(sources) >= 8
    assert set(sources) <= set(names)
    assert "datasets/purdue_shapes/py.typed" in names


def test_datasets_needs_numpy_alone(tmp_path: Path) -> None:
    """Every module is imported while no framework can be."""
    paths = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "datasets").rglob("*.py")]
    modules = [".".join(path.parts) for path in paths if path.stem not in ("__init__", "__main__")]
    assert len(modules) >= 8
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
sys.modules.update(dict.fromkeys({FRAMEWORKS!r}))
import importlib
for name in {modules!r}:
    importlib.import_module(name)
{OURS}
heavy = [name for name in sys.modules if name.split(".")[0] in {FRAMEWORKS!r} and sys.modules[name]]
assert not heavy, heavy
"""
    run(sys.executable, code, tmp_path)


def in_directory(folder: Path) -> set[str]:
    """Return the names by which Python imports what is in a package's folder."""
    return {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()} - {"__pycache__"}


@pytest.mark.slow
@pytest.mark.reference
def test_ours_and_hugging_face_s_live_in_one_environment(wheel: Path, tmp_path: Path) -> None:
    """Segparity alone; Hugging Face's installed over it; that alone; segparity installed over it."""
    needs("reference")
    venv.create(tmp_path / "env", with_pip=True)
    python = next(path for path in (tmp_path / "env").glob("*/python*") if path.stem == "python")
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [python, "-m", "pip", "--disable-pip-version-check", *arguments]
        command += ["--no-compile"] * ("install" in arguments)  # most modules are never imported here
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)

    if pip("install", "numpy").returncode:
        pytest.skip("needs reference; no package index to install Hugging Face's datasets from")
    assert pip("install", "--no-deps", str(wheel)).returncode == 0
    run(python, ALONE + OURS, folder)
    packages = next((tmp_path / "env").rglob("site-packages")) / "datasets"
    segparity = in_directory(packages)
    assert "purdue_shapes" in segparity

    installed = pip("install", "datasets")
    assert installed.returncode == 0, installed.stderr
    run(python, OURS + THEIRS, folder)
    run(python, THEIRS + OURS, folder)

    assert pip("uninstall", "-y", "segparity").returncode == 0
    run(python, THEIRS, folder)
    hugging_face = in_directory(packages)
    assert {"arrow_dataset", "utils"} <= hugging_face
    assert not segparity & hugging_face

    assert pip("install", "--no-deps", str(wheel)).returncode == 0
    run(python, OURS + THEIRS, folder)
    assert pip("uninstall", "-y", "datasets").returncode == 0
    run(python, ALONE + OURS, folder)
