"""torchvision's definitions of public networks, from a folder of its own: it does not load beside a CPU torch as it is."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs

FOLDER = Path(__file__).parents[1] / "build" / "torchvision"


@functools.cache
def import_torchvision() -> Any:
    """`torchvision.models`; the two operators that its import wants, and its networks do not, are declared first.

    torchvision stays off the path afterwards: packages that use it where they find it would fail beside a CPU torch.
    """
    needs("torch")
    if not FOLDER.is_dir():
        pytest.skip("needs reference; `make env` puts torchvision into build/torchvision")
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import_torchvision.library = library  # type: ignore[attr-defined]  # it goes when this goes
    sys.path.append(str(FOLDER))
    load = torch.ops.load_library
    torch.ops.load_library = (
        refuse  # a CUDA torch would load its compiled part, and abort on the operators above
    )
    try:
        return importlib.import_module("torchvision.models")
    finally:
        torch.ops.load_library = load
        sys.path.remove(str(FOLDER))


def refuse(path: str) -> None:
    """Loads nothing; torchvision's definitions do without their compiled part where it is not to be had."""
    raise OSError(f"{path} is not loaded: the definitions alone are wanted")
