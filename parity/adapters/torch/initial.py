"""First values of torch tensors: copies of modules whose reset_parameters is called again."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from parity.adapters.torch.adapter import TorchAdapter
from parity.adapters.torch.weights import to_numpy
from parity.core.types import Array

RESETS = ("reset_parameters", "_reset_parameters")
"""How torch's own modules draw their first values, by class."""


class FirstValues:
    """Draws first values of a module's tensors; the module and the random state stay as they are.

    torch has no objects that hold a law: what a class draws in `reset_parameters` is measured. What a constructor
    puts in its place afterwards is not seen.
    """

    def __init__(self, adapter: TorchAdapter) -> None:
        self._objects = adapter.objects
        self._copies: dict[str, Any] = {}
        self._drawn: dict[str, int] = {}

    def value(self, path: str, draw: int) -> Array | None:
        """One draw of a tensor; None where no class on the way to it draws first values."""
        owner, name, reset = self._owner(path)
        if reset is None:
            return None
        if owner not in self._copies:
            self._copies[owner] = copy.deepcopy(self._objects[owner])
        module = self._copies[owner]
        if self._drawn.get(owner) != draw:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(draw)
                getattr(module, reset)()
            self._drawn[owner] = draw
        tensor = module
        for part in name.split("."):
            tensor = getattr(tensor, part)
        return to_numpy(tensor).astype(np.float64)

    def _owner(self, path: str) -> tuple[str, str, str | None]:
        """The innermost module around the tensor that draws first values, the rest of the path, and the method."""
        stem, name = path.rpartition(".")[::2]
        while True:
            module = self._objects.get(stem)
            reset = next((method for method in RESETS if hasattr(module, method)), None)
            if reset is not None or not stem:
                return stem, name, reset
            stem, _, part = stem.rpartition(".")
            name = f"{part}.{name}"
