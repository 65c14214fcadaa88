"""The lecture's own package, DLStudio, imported without the packages that its segmentation never calls."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# DLStudio imports these at its top; the segmentation classes use none of them.
STUBS = (
    "pymsgbox",
    "torchvision",
    "torchvision.transforms",
    "torchmetrics",
    "torchmetrics.image",
    "torchmetrics.image.lpip",
)
# Stubs for these too where they are not installed: the networks draw nothing; the readers need Pillow itself.
DRAWING = ("PIL", "PIL.Image", "PIL.ImageFilter", "matplotlib", "matplotlib.pyplot")


@functools.cache
def import_dlstudio() -> Any:
    """Import DLStudio's class `DLStudio`, from whose namespace hang the networks and the data set classes.

    Returns:
        The class, as in `import_dlstudio().SemanticSegmentation.mUNet(depth=16)`. Stub modules stand in for
        pymsgbox, torchvision, torchmetrics and missing drawing packages during the import alone.
    """
    missing = [name for name in DRAWING if importlib.util.find_spec(name.partition(".")[0]) is None]
    with _stubs([*STUBS, *missing]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its docstrings hold invalid escape sequences
        return importlib.import_module("DLStudio").DLStudio


@contextmanager
def _stubs(names: list[str]) -> Iterator[None]:
    """Put empty modules under these names, and afterwards whatever was there before."""
    before = {name: sys.modules.get(name) for name in names}
    modules = {name: types.ModuleType(name) for name in names}
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    lpip: Any = modules["torchmetrics.image.lpip"]
    lpip.LearnedPerceptualImagePatchSimilarity = object
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
