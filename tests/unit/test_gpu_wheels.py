"""The wheels that travel to a bare machine: pinned, complete, and installed without a network."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from benchmarks.gpu import wheels
from tests.conftest import needs
from tests.gpu_work import ROOT, started


def test_every_wheel_has_its_version_in_the_constraints() -> None:
    text = (ROOT / "constraints.txt").read_text()
    found = wheels.pins(wheels.PURE + wheels.COMPILED, text)
    assert len(found) == len(wheels.PURE) + len(wheels.COMPILED)
    assert all(re_pin.count("==") == 1 for re_pin in found)
    with pytest.raises(ValueError, match="got none for no-such-package"):
        wheels.pins(["no-such-package"], text)


def test_wheels_hold_everything_that_keras_needs_and_a_bare_machine_lacks() -> None:
    """NumPy comes with PyTorch and JAX, and so do these two's own needs."""
    needs("keras")
    from importlib.metadata import requires

    fetched = {wheels.normal(name) for name in (*wheels.PURE, *wheels.COMPILED)}
    waiting, seen = ["keras", "rich"], set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        plain = [line for line in requires(name) or [] if "extra ==" not in line]
        needed = {wheels.normal(re.split(r"[^\w.-]", line)[0]) for line in plain}
        waiting += needed - seen - {"numpy"}
    assert seen <= fetched


def wheel_of(folder: Path, name: str, version: str) -> None:
    """A wheel with one module."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: a test\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")


def test_only_what_is_missing_is_installed_and_without_a_network(tmp_path: Path) -> None:
    folder, site = tmp_path / "wheels", tmp_path / "site"
    folder.mkdir()
    assert started("benchmarks/gpu/wheels.py", "install", str(folder), str(site)).returncode == 2
    wheel_of(folder, "no_such_package_here", "1.2")
    wheel_of(folder, "pytest", "0.1")  # is installed, in another version
    assert wheels.lacking(folder) == ["no_such_package_here==1.2"]
    done = started("benchmarks/gpu/wheels.py", "install", str(folder), str(site))
    assert done.returncode == 0, done.stderr
    assert (site / "no_such_package_here.py").read_text() == "VERSION = '1.2'\n"
    assert not list(site.glob("pytest*"))
