"""Inputs that the fuzzer found and that took a reader's process with them: each is a named error within seconds."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest

from tests.fuzz.readers import READERS, crash_of

KEPT = {"hdf5-heap-in-a-circle": "HDF5 weights"}
"""File in the folder `kept`, and the reader that it was found with."""


@pytest.mark.slow
@pytest.mark.parametrize("name", KEPT)
def test_a_kept_input_is_a_named_error_soon(name: str, keras_torch: None) -> None:
    data = gzip.decompress((Path(__file__).parent / "kept" / f"{name}.gz").read_bytes())
    start = time.perf_counter()
    assert crash_of(READERS[KEPT[name]], data) is None
    assert time.perf_counter() - start < 30
