"""Fixtures and options shared by every test; a required peer that is missing is a failure, not a skip."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

import pytest

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
