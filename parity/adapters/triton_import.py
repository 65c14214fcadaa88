"""Lets triton and TensorFlow work in one process, whichever is imported first.

Both carry an LLVM. TensorFlow shows its own to every library that is loaded later (RTLD_GLOBAL). Triton's
library then binds to TensorFlow's LLVM instead of its own, and the process ends: with a segmentation fault,
or with "LLVM ERROR: inconsistency in registered CommandLine options". PyTorch's CUDA build brings triton and
loads it with the first optimizer, so `import keras`, `import torch`, `torch.optim.SGD(...)` is enough.

`parity` and `torch_impl` hold this file, the same text: neither may import the other.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:  # a command that needs none of this starts at once
    from importlib.abc import Loader, MetaPathFinder
else:
    Loader = MetaPathFinder = object

LIBRARIES = "triton._C."
TOO_LATE = (
    "triton must be imported before TensorFlow where the memory allocator is replaced (LD_PRELOAD); "
    "got tensorflow first. PyTorch goes on without triton; import triton before keras to have it."
)


def watch_triton() -> None:
    """From now on, load triton's libraries so that they keep their own LLVM; imports nothing itself."""
    if not any(isinstance(finder, TritonFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, TritonFinder())


class TritonFinder(MetaPathFinder):
    """Finds triton's compiled libraries once TensorFlow is loaded; leaves every other import alone."""

    def __init__(self) -> None:
        self.warned = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The library's usual specification, with a loader that binds the library to itself.

        Raises:
            ImportError: the library cannot be bound to itself here, and would end the process if it were not.
        """
        if not fullname.startswith(LIBRARIES) or "tensorflow" not in sys.modules:
            return None
        if not hasattr(os, "RTLD_DEEPBIND"):  # loaders without it do not mix libraries up in this way
            return None
        if _allocator_is_replaced():
            if not self.warned:  # torch tries again and again
                warnings.warn(TOO_LATE, RuntimeWarning, stacklevel=2)
            self.warned = True
            raise ImportError(TOO_LATE, name=fullname)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _BoundToItself(spec.loader)
        return spec


class _BoundToItself(Loader):
    """Loads a library so that it takes its own function of a name before another library's."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        with _deep_binding():
            return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _deep_binding():
            self.loader.exec_module(module)


@contextmanager
def _deep_binding() -> Iterator[None]:
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    try:
        yield
    finally:
        sys.setdlopenflags(flags)


def _allocator_is_replaced() -> bool:
    """Whether the process takes malloc from another library (tcmalloc, jemalloc) than the C library.

    A library bound to itself would free with the one what the other gave: "double free or corruption".
    """
    import ctypes

    process, c_library = ctypes.CDLL(None), ctypes.CDLL("libc.so.6")
    used, own = (ctypes.cast(library.malloc, ctypes.c_void_p).value for library in (process, c_library))
    return used != own
