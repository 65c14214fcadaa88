"""Fixtures and options shared by every test; a required peer that is missing is a failure, not a skip."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.shares import share_of

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# JAX compiles in half the time, for all processes that tests start; one of test_train.py's takes it back.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# Keras' own test configuration imports torch before TensorFlow, citing a segmentation fault.
if importlib.util.find_spec("torch"):
    import torch  # noqa: F401

PEERS = {"keras": "keras", "torch": "torch", "jax": "jax", "reference": "DLStudio", "triton": "triton"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require",
        default="",
        help="comma-separated peers (keras, torch, jax, reference, triton, browser): without them tests fail, not skip",
    )
    parser.addoption("--whole", action="store_true", help="every row of the long tables, not a share of them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the long tables keep a share of each group: one row in so many, not the same one in every group."""
    if config.getoption("--whole"):
        return
    left_out = [item for item in items if item.get_closest_marker("whole")]
    tables: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("table"):
            tables.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for rows in tables.values():
        said: dict[str, Any] = rows[0].get_closest_marker("table").kwargs  # type: ignore[union-attr]
        by = said.get("by", lambda **row: None)
        kept = share_of([(by(**row.callspec.params), row) for row in rows], said["share"])  # type: ignore[attr-defined]
        left_out += [row for row in rows if row not in kept]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _required(config: pytest.Config) -> set[str]:
    return {name for name in str(config.getoption("--require")).split(",") if name}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turn a skip into a failure where the command line requires the peer that the skip names."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = str(call.excinfo.value) if call.excinfo else ""
        for name in _required(item.config):
            if f"needs {name}" in reason:
                report.outcome = "failed"
                report.longrepr = f"--require={name}: {reason}"


def needs(name: str) -> None:
    """Skip the running test unless the named peer can be imported."""
    if importlib.util.find_spec(PEERS[name]) is None:
        pytest.skip(f"needs {name}; install the extra that holds it")


@pytest.fixture
def keras_torch() -> None:
    """Both frameworks, or a skip that --require turns into a failure."""
    needs("keras")
    needs("torch")
