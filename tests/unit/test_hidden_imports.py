"""No package reaches behind its wall by a string: import-linter sees `import`, this sees `import_module`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.hidden_imports import Hidden, hidden_imports

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
FORBIDDEN = [contract for contract in CONTRACTS if contract["type"] == "forbidden"]
WALLS = {contract["source_modules"][0]: set(contract["forbidden_modules"]) for contract in FORBIDDEN}

KERAS_BACKEND = "Keras runs on it where the user chose it: a setting that Keras has no name of its own for"
ALLOWED = {
    Hidden(
        "datasets/bounds/helper.py:_answer", "…"
    ): "a reader that check_survival's callers name, in a process of its own",
    Hidden("datasets/files.py:extra", "…"): "imports what its callers name, and each caller is looked at",
    Hidden("parity/adapters/spec.py:_module", "…"): "the module of a model that the user names",
    Hidden(
        "parity/weights/checkpoint.py:read_through", "…"
    ): "the one place that knows both sides: the twin that a half names by a string",
    Hidden("parity/doctor.py:_framework", "…"): "torch and keras, to say whether they can be imported",
    Hidden("tf_impl/_backend.py:make_deterministic", "tensorflow"): KERAS_BACKEND,
    Hidden("tf_impl/_backend.py:make_deterministic", "torch"): KERAS_BACKEND,
    Hidden("tf_impl/distribution.py:_on_tensorflow", "tensorflow"): KERAS_BACKEND,
    Hidden("tf_impl/export.py:_tensorflow", "tensorflow"): "the formats that it writes are TensorFlow's own",
}
STATIC = {
    "tf_impl.checkpoints -> parity.weights.checkpoint",
    "torch_impl.checkpoints -> parity.weights.checkpoint",
    "tf_impl._backend -> jax",
    "tf_impl.distribution -> jax",
}
"""The imports that import-linter is to pass over; pyproject.toml gives their reasons."""


def test_every_package_has_its_wall() -> None:
    assert set(WALLS) == {"tf_impl", "torch_impl", "datasets", "parity"}
    assert {"keras", "torch", "tf_impl", "torch_impl", "parity"} <= WALLS["datasets"]


@pytest.mark.parametrize("package", WALLS)
def test_no_package_reaches_behind_its_wall_by_a_string(package: str) -> None:
    allowed = {each for each in ALLOWED if each.place.startswith(f"{package}/")}
    found = hidden_imports(ROOT, package, WALLS[package])
    assert sorted(found - allowed) == [], "import it plainly, or hand it in from above"
    assert sorted(allowed - found) == [], "these exceptions are not needed any more"


def test_the_exceptions_of_import_linter_are_these() -> None:
    assert {each for contract in FORBIDDEN for each in contract.get("ignore_imports", ())} == STATIC


SEEDED = {
    "a call": ('import importlib\nimportlib.import_module("torch_impl.train")', "torch_impl.train"),
    "the builtin": ('__import__("parity")', "parity"),
    "from importlib": ('from importlib import import_module\nimport_module("torch")', "torch"),
    "another name": ('from importlib import import_module as load\nload("torch")', "torch"),
    "an alias of the module": ('import importlib as il\nil.import_module("keras.layers")', "keras.layers"),
    "by keyword": ('import importlib\nimportlib.import_module(name="torch")', "torch"),
    "an f-string": ('import importlib\nhalf = "tf_impl"\nimportlib.import_module(f"{half}.train")', "tf_impl.train"),
    "an f-string that says nothing": ('import importlib\ndef f(half):\n    importlib.import_module(f"{half}.train")', "…"),
    "an f-string that ends open": ('import importlib\nimportlib.import_module(f"torch_impl.{1 + 1}")', "torch_impl.…"),
    "a sum": ('import importlib\nimportlib.import_module("torch" + "_impl")', "torch_impl"),
    "a loop": ('import importlib\nfor name in ("numpy", "torch"):\n    importlib.import_module(name)', "torch"),
    "an argument": ("import importlib\ndef f(name):\n    return importlib.import_module(name)", "…"),
    "a format": ('import importlib\nimportlib.import_module("{}.train".format("tf_impl"))', "…"),
    "handed on": ("import importlib\nload = importlib.import_module", "…"),
    "by getattr": ('import importlib\ngetattr(importlib, "import_" + "module")("torch")', "…"),
    "by our own extra": ('from datasets.files import extra\nextra("parity")', "parity"),
    "by its module": ('from datasets import files\nfiles.extra("parity")', "parity"),
    "resolve_name": ('import pkgutil\npkgutil.resolve_name("torch_impl.train:make_model")', "torch_impl.train.make_model"),
    "run_module": ('import runpy\nrunpy.run_module("parity")', "parity"),
    "exec": ('exec("…")', "…"),
}  # fmt: skip


@pytest.mark.parametrize("name", SEEDED)
def test_a_hidden_import_is_found(tmp_path: Path, name: str) -> None:
    source, module = SEEDED[name]
    (tmp_path / "datasets" / "room").mkdir(parents=True)
    (tmp_path / "datasets" / "room" / "file.py").write_text(source)
    found = hidden_imports(tmp_path, "datasets", WALLS["datasets"])
    assert [each.module for each in found] == [module]
    assert next(iter(found)).place.startswith("datasets/room/file.py:")


HARMLESS = {
    "another package": 'import importlib\nimportlib.import_module("tqdm")',
    "its own": 'import importlib\nimportlib.import_module(f"{__name__}.{1 + 1}")',
    "an open end of another package": 'import importlib\nimportlib.import_module(f"scipy.{1 + 1}")',
    "a method of that name": "def f(model):\n    model.eval()\n    model.import_module('torch')",
    "names of other functions": 'def f(extra):\n    return extra["torch"]',
    "a loop": 'import importlib\nfor name in ("onnx", "tqdm"):\n    importlib.import_module(name)',
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_stays_on_its_side_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "file.py").write_text(HARMLESS[name])
    assert hidden_imports(tmp_path, "datasets", WALLS["datasets"]) == set()
