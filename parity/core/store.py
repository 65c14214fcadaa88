"""Keeps the arrays of a run: in memory up to a limit, on disk beyond it."""

from __future__ import annotations

import tempfile
from collections.abc import Hashable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from parity.core.types import Array

LIMIT = 1 << 30
"""Bytes that stay in memory unless told otherwise."""


class Store:
    """Arrays by key. Equal arrays are held once; beyond the limit the oldest go to a temporary folder.

    Use it as a context manager: the folder goes when it is closed.

    Args:
        limit: bytes to keep in memory.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.held = limit, 0
        self._keys: dict[Hashable, int] = {}
        self._memory: dict[int, Array] = {}
        self._files: dict[int, Path] = {}
        self._by_digest: dict[Hashable, int] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget everything and remove what is on disk."""
        for known in (self._keys, self._memory, self._files, self._by_digest):
            known.clear()
        self.held = 0
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __setitem__(self, key: Hashable, array: Array) -> None:
        digest = _digest(array)
        number = self._by_digest.get(digest)
        if number is None or not _same(self._load(number), array):
            number = self._by_digest[digest] = len(self._memory) + len(self._files)
            self._memory[number] = array
            self.held += array.nbytes
            self._spill()
        self._keys[key] = number

    def __getitem__(self, key: Hashable) -> Array:
        """The array; one that is on disk comes as a read-only view of its file."""
        return self._load(self._keys[key])

    def __contains__(self, key: Hashable) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def spilled(self) -> int:
        """How many arrays are on disk."""
        return len(self._files)

    def _load(self, number: int) -> Array:
        if number in self._memory:
            return self._memory[number]
        found: Array = np.load(self._files[number], mmap_mode="r")
        return found

    def _spill(self) -> None:
        while self.held > self.limit and self._memory:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="parity-", ignore_cleanup_errors=True)
            number, array = next(iter(self._memory.items()))
            if array.nbytes == 0:
                return
            path = Path(self._folder.name) / f"{number}.npy"
            np.save(path, array)
            self._files[number] = path
            self.held -= array.nbytes
            del self._memory[number]


def _digest(array: Array) -> Hashable:
    """Cheap and equal for equal arrays: shape, type, and the bytes of up to 64 elements."""
    flat = array.reshape(-1)
    return array.shape, str(array.dtype), flat[:: max(flat.size // 64, 1)].tobytes()


def _same(first: Array, second: Array) -> bool:
    return bool(np.array_equal(first, second, equal_nan=second.dtype.kind in "fc"))
