"""`datasets` is a namespace package: it needs NumPy alone, and lives beside Hugging Face's package of that name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

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


def run(python: Path | str, code: str, folder: Path) -> None:
    """Run code in a folder of its own, where nothing but what is installed can be imported."""
    environment = {**os.environ, "HF_HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    command = [python, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources: the build leaves files behind, and would take in stale ones."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


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
