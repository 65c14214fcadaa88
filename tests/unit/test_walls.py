"""Each half imports and works without the other's framework; datasets with NumPy alone; nothing loads early."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCKER = """
import importlib.util, sys
def banned(name):
    return name.partition(".")[0] in BANNED
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if banned(name):
            raise ModuleNotFoundError(f"{name} is walled off", name=name)
sys.meta_path.insert(0, Blocked())
find_spec = importlib.util.find_spec  # who only asks whether a package is there must be told that it is not
importlib.util.find_spec = lambda name, package=None: None if banned(name) else find_spec(name, package)
"""
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}


def run_behind_wall(banned: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter in which the banned packages cannot be imported."""
    program = f"BANNED = {sorted(banned)!r}\n{BLOCKER}\n{code}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False
    )


IMPORT_ALL = """
import importlib, pkgutil
package = importlib.import_module({name!r})
found = [module.name for module in pkgutil.walk_packages(package.__path__, {name!r} + ".")]
for name in found:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(found))
"""

CASES = {
    "torch_impl": {"keras", "tensorflow", "jax", "tf_impl", "parity"},
    "tf_impl": {"torch", "torch_impl", "parity"},
    "datasets": {
        *FRAMEWORKS,
        "tf_impl",
        "torch_impl",
        "parity",
        "matplotlib",
        "tqdm",
        "PIL",
        "skimage",
        "scipy",
        "rasterio",
        "shapely",
    },
    "parity.adapters.torch.adapter": {"keras", "tensorflow", "jax", "tf_impl", "torch_impl"},
    "parity.adapters.keras.adapter": {"torch", "tf_impl", "torch_impl"},
}


@pytest.mark.parametrize("package", [name for name in CASES if "." not in name])
def test_every_module_imports_behind_its_wall(package: str) -> None:
    done = run_behind_wall(CASES[package], IMPORT_ALL.format(name=package))
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 3


@pytest.mark.parametrize("module", [name for name in CASES if "." in name])
def test_each_adapter_imports_without_the_other_framework(module: str) -> None:
    done = run_behind_wall(CASES[module], f"import {module}")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("package", ["parity", "parity.cli", "parity.catalog", "datasets.purdue_shapes"])
def test_importing_loads_no_framework(package: str) -> None:
    code = f"import {package}, sys\nprint(sorted({FRAMEWORKS!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize(
    ("banned", "code"),
    [
        ({"torch"}, "import torch"),
        ({"keras"}, "import keras.layers"),
        ({"tensorflow"}, "import tensorflow as tf"),
    ],
)
def test_the_wall_holds(banned: set[str], code: str) -> None:
    """A wall that lets things through would make the tests above pass for nothing."""
    done = run_behind_wall(banned, code)
    assert done.returncode != 0
    assert "is walled off" in done.stderr
