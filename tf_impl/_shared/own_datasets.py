"""Lets `import datasets.x` find ours where another `datasets` comes first: Hugging Face's, or a project's own.

Ours is a namespace package, so any regular package or module of that name hides it. The other one stays what
`import datasets` gives; our folder is put last among the places in which its submodules are looked for.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:  # `parity --version` imports this file: nothing here may take time
    from importlib.machinery import ModuleSpec
    from typing import Any

NAME = "datasets"
ROOT = os.path.realpath(__file__)
for _ in __name__.split("."):  # parity.own_datasets lies one folder deep, tf_impl._shared.own_datasets two
    ROOT = os.path.dirname(ROOT)
FOLDER = os.path.join(ROOT, NAME)
OURS = tuple(os.path.join(ROOT, name, "") for name in (NAME, "parity", "tf_impl", "torch_impl"))


def own_names() -> set[str]:
    """The modules and packages in our folder."""
    found = (os.path.splitext(name) for name in os.listdir(FOLDER) if name != "__pycache__")
    return {name for name, ending in found if ending in ("", ".py")}


class Finder:
    """Adds our folder to whatever `datasets` is, and says in a sentence where a name of ours is taken."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """As in `sys.meta_path`: only `datasets` and what lies directly in it."""
        if name == NAME:
            spec = PathFinder.find_spec(name, path)
            if spec is not None:
                spec.submodule_search_locations = with_ours(spec.submodule_search_locations)
            return spec
        package, _, inner = name.partition(".")
        if package == NAME and inner in own_names():
            spec = PathFinder.find_spec(name, path)
            if spec is not None and not _in_ours(spec) and _ours_asks():
                raise ImportError(
                    f"{name} must be segparity's; got {_places(spec)[0]} in front of it. Rename that file, or run "
                    f"from another folder (python -P leaves the current one out).",
                    name=name,
                )
        return None


def with_ours(places: Any) -> Any:
    """The places of a package's submodules, and our folder behind them."""
    if places is None:
        return [FOLDER]
    if not any(os.path.realpath(place) == FOLDER for place in places):
        places.append(FOLDER)
    return places


def reach() -> None:
    """Make `import datasets.x` find ours, now and later; calling it twice changes nothing."""
    if not os.path.isdir(FOLDER) or any(_is_here(finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, Finder)
    module = sys.modules.get(NAME)
    if module is not None:
        module.__path__ = with_ours(getattr(module, "__path__", None))


def _is_here(finder: Any) -> bool:
    """Whether it is this class, or its copy in another of our packages."""
    return str(getattr(finder, "__module__", "")).endswith(".own_datasets")


def _places(spec: ModuleSpec) -> list[str]:
    return [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])


def _in_ours(spec: ModuleSpec) -> bool:
    return any(os.path.realpath(place).startswith(OURS[0]) for place in _places(spec))


def _ours_asks() -> bool:
    """Whether the import statement stands in one of our files; another package may have such names."""
    frame = sys._getframe(2)
    while frame.f_back is not None and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return os.path.realpath(frame.f_code.co_filename).startswith(OURS)
