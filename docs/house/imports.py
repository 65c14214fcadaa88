"""Who imports whom, read from the sources with grimp; nothing of the project is imported for it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
from pathlib import Path

import grimp

FRAMEWORKS = ("keras", "tensorflow", "jax", "torch", "lightning")


@dataclass(frozen=True)
class House:
    """The modules of some packages and their imports of one another.

    Attributes:
        root: the folder that holds the packages.
        packages: the packages' names, in the order that they were asked for.
        modules: the dotted name of every file, to whether the file is an `__init__.py`.
        imports: what each module imports among `modules`. Imports inside functions and those for type checking count.
        frameworks: the frameworks that each module imports.
    """

    root: Path
    packages: tuple[str, ...]
    modules: Mapping[str, bool]
    imports: Mapping[str, frozenset[str]]
    frameworks: Mapping[str, frozenset[str]]


def read(root: Path, packages: Sequence[str]) -> House:
    """Reads every import statement of the packages under `root`.

    Raises:
        ValueError: a package is not under `root`.
    """
    root = root.resolve()
    for package in packages:
        if not (root / package).is_dir():
            raise ValueError(
                f"every package must be a folder of {root}; got {package!r}. Name another --root."
            )
    with _packages_of(root, packages):
        graph = grimp.build_graph(*packages, include_external_packages=True, cache_dir=None)
    modules = {}
    for name in sorted(graph.modules):
        path = root.joinpath(*name.split("."))
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            modules[name] = path.is_dir()
    imported = {name: graph.find_modules_directly_imported_by(name) for name in modules}
    return House(
        root=root,
        packages=tuple(packages),
        modules=modules,
        imports={name: frozenset(found & modules.keys()) for name, found in imported.items()},
        frameworks={name: frozenset(found & set(FRAMEWORKS)) for name, found in imported.items()},
    )


@contextmanager
def _packages_of(root: Path, packages: Sequence[str]) -> Iterator[None]:
    """While this lasts, the packages' names lead into `root` and nowhere else.

    `datasets` is a namespace package, so that Python would join the folders of that name from the whole path: an
    installed copy of this project, or another project's package.
    """
    before = sys.path.copy(), sys.meta_path.copy()
    loaded = {name: sys.modules.pop(name) for name in packages if name in sys.modules}
    sys.path[:] = [str(root)]
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, PathFinder]
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:], sys.meta_path[:] = before
        sys.modules.update(loaded)
        importlib.invalidate_caches()
