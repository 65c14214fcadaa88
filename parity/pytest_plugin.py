"""A pytest plugin: the fixture `assert_parity`, and options for its device, precision and reports.

Every pytest run where segparity is installed loads it. So it imports neither framework, and the rest of parity
only when the fixture is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from parity.report.result import Report

LONGEST_NAME = 80


def pytest_addoption(parser: pytest.Parser) -> None:
    """The four options."""
    group = parser.getgroup("parity", "parity: Keras models against torch modules")
    group.addoption(
        "--parity-device", choices=("cpu", "gpu"), default="cpu",
        help="where assert_parity evaluates both sides (default: cpu)",
    )  # fmt: skip
    group.addoption(
        "--parity-dtype", choices=("float64", "float32", "float16", "bfloat16"), default="float64",
        help="precision that assert_parity judges in (default: float64, the structure alone)",
    )  # fmt: skip
    group.addoption(
        "--parity-report", metavar="DIR", type=Path, default=None,
        help="write HTML, JSON and tensors of every comparison that fails to this folder",
    )  # fmt: skip
    group.addoption(
        "--parity-strict", action="store_true",
        help="assert_parity fails too where the verdict is EQUAL and something stays unproven",
    )  # fmt: skip


@pytest.fixture
def assert_parity(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """Compare a Keras model with a torch module. Unless they are equal, the test fails and says where and why.

    Below a test that fails or prints (-rA), each EQUAL comparison says in a line what it rests on.

    Args of the function that the fixture gives:
        keras_model: a built Keras model or layer.
        torch_module: a torch module.
        inputs: as for parity.compare; None draws random ones.
        strict: fail too where something stays unproven; None leaves it to --parity-strict.
        arguments: further arguments of parity.compare; they go before the command line's options.
    """
    config, taken = request.config, 0

    def check(
        keras_model: Any, torch_module: Any, inputs: Any = None, strict: bool | None = None, **arguments: Any
    ) -> Report:
        __tracebackhide__ = True
        from parity.core.errors import ParityError
        from parity.report.rests import rests_on, too_little
        from parity.report.text import screen
        from parity.verdict.compare import compare

        nonlocal taken
        arguments.setdefault("device", config.getoption("--parity-device"))
        arguments.setdefault("dtype", config.getoption("--parity-dtype"))
        report = compare(keras_model, torch_module, inputs, **arguments)
        lacking = (
            too_little(report) if (config.getoption("--parity-strict") if strict is None else strict) else ""
        )
        if report and not lacking:
            print(f"{report.verdict}: {rests_on(report)}")
            return report
        taken += 1
        folder = config.getoption("--parity-report")
        if folder is None:
            hint = ["Whole report: run pytest with --parity-report DIR."]
        else:
            hint = _write(report, Path(folder) / file_name(request.node.nodeid, taken))
        raise ParityError(
            screen(
                report,
                [f"Not enough where all must be proven (strict): {lacking}.", *hint] if lacking else hint,
            )
        )

    return check


def file_name(nodeid: str, count: int) -> str:
    """A short file name, without suffix, for a test's failing comparison; `count` counts them from 1."""
    plain = re.sub(r"[^0-9A-Za-z_=.]+", "-", nodeid.replace(".py::", "-")).strip("-")
    if len(plain) > LONGEST_NAME:
        plain = f"{plain[:LONGEST_NAME]}-{sha256(nodeid.encode()).hexdigest()[:8]}"
    return plain if count == 1 else f"{plain}-{count}"


def _write(report: Report, stem: Path) -> list[str]:
    """Write the report's files; returns the lines that say where."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    report.to_html(f"{stem}.html")
    report.to_json(f"{stem}.json")
    lines = [f"Whole report: {stem}.html"]
    if any(finding.tensors for finding in report.findings):
        lines.append(f"As a script: parity repro {stem}.json --finding 1 -o repro.py")
    return lines
