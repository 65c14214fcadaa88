"""The lecture's own package, DLStudio, imported without the packages that its segmentation never calls."""

from __future__ import annotations

import functools
import importlib
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.conftest import needs

# DLStudio imports these at its top; the segmentation classes use none of them.
STUBS = (
    "pymsgbox",
    "torchvision",
    "torchvision.transforms",
    "torchmetrics",
    "torchmetrics.image",
    "torchmetrics.image.lpip",
)


@functools.cache
def import_dlstudio() -> Any:
    """Import DLStudio's class `DLStudio`, from whose namespace hang the networks and the data set classes.

    Returns:
        The class, as in `import_dlstudio().SemanticSegmentation.mUNet(depth=16)`. Stub modules stand in for
        pymsgbox, torchvision and torchmetrics during the import alone.
    """
    needs("torch")
    needs("reference")
    with _stubs(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its docstrings hold invalid escape sequences
        return importlib.import_module("DLStudio").DLStudio


@contextmanager
def _stubs() -> Iterator[None]:
    """Put empty modules under the names of STUBS, and afterwards whatever was there before."""
    before = {name: sys.modules.get(name) for name in STUBS}
    modules = {name: types.ModuleType(name) for name in STUBS}
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
