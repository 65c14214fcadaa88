"""What lies around segparity that is known to bite: names that others take, versions, and builds of torch."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from parity.own_datasets import FOLDER, OURS, own_names

PACKAGES = ("numpy", "torch", "keras", "tensorflow", "jax", "parity", "tf_impl", "torch_impl")
HUGGING_FACE = "arrow_dataset"
REQUIREMENT = re.compile(r"^(keras|torch|tensorflow|jax|numpy|h5py|safetensors)>=([\d.]+)")


@dataclass(frozen=True)
class Check:
    """One thing looked at: whether it is well, what was found, and what to do."""

    ok: bool
    subject: str
    found: str
    advice: str = ""


def around(folder: Path) -> list[Check]:
    """Every check that needs no framework; `folder` is where the user's commands run."""
    return [datasets_check(folder), shadow_check(folder), version_check()]


def datasets_check(folder: Path) -> Check:
    """Whose `datasets` is found first from this folder, and whether it takes a name that ours needs."""
    spec = PathFinder.find_spec("datasets", [str(folder), *sys.path])
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    first = spec.origin if spec is not None and spec.origin else ""
    if not first or str(Path(first).resolve().parent) == FOLDER:
        return Check(True, "datasets", "segparity's own is found")
    inside = {path.stem for place in places for path in Path(place).glob("*") if path.stem != "__init__"}
    owner = "Hugging Face's" if HUGGING_FACE in inside else "another"
    together = any(str(Path(place).resolve()) == FOLDER for place in places)  # one folder in site-packages
    taken = set() if together else (inside & own_names()) - {"__pycache__"}
    if taken:
        return Check(
            False, "datasets", f"{first} is found first, and has {', '.join(sorted(taken))} as segparity has",
            "rename these files, or run training from another folder",
        )  # fmt: skip
    return Check(
        True, "datasets", f"{owner} is found first ({first}); parity, tf_impl and torch_impl load theirs by path",
        "" if together else "run segparity's own commands as `python -P -m datasets.lint`: -P leaves this folder out",
    )  # fmt: skip


def shadow_check(folder: Path) -> Check:
    """A file or folder here that Python would import in place of a package."""
    found = []
    for name in PACKAGES:
        spec = PathFinder.find_spec(name, [str(folder)])
        if spec is None or not spec.origin or str(Path(spec.origin).resolve()).startswith(OURS):
            continue
        found.append(spec.origin)
    if found:
        text = f"{', '.join(found)} would be imported instead of the package"
        return Check(False, "names here", text, "rename it, or run from another folder")
    return Check(True, "names here", "no file in this folder hides a package")


def version_check() -> Check:
    """Installed versions against the least ones that segparity states."""
    try:
        stated = requires("segparity") or []
    except PackageNotFoundError:
        return Check(True, "versions", "segparity is not installed; what it needs is not known")
    old = set()
    for line in stated:
        match = REQUIREMENT.match(line)
        if match is None:
            continue
        name, least = match.groups()
        try:
            there = version(name)
        except PackageNotFoundError:
            continue
        if _numbers(there) < _numbers(least):
            old.add(f"{name} {there} (at least {least} is needed)")
    if old:
        return Check(False, "versions", ", ".join(sorted(old)), "pip install --upgrade these")
    return Check(True, "versions", "each is new enough")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])
