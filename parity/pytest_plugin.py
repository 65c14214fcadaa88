"""A pytest plugin: the fixture `assert_parity`, options for its device, precision and reports, and a project's pairs.

The pairs of [tool.parity] in pyproject.toml are tests, `pyproject.toml::NAME`. They run where pytest is called without
files or folders, or with pyproject.toml or its folder.

Every pytest run where segparity is installed loads it. So it imports neither framework, and the rest of parity
only when the fixture is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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


def pytest_configure(config: pytest.Config) -> None:
    """Where `testpaths` says what is collected, the project's own file is collected too."""
    file = config.rootpath / "pyproject.toml"
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS and file.is_file():
        from parity.cli.project.file import read

        project = read(file)
        if project is not None and project.pairs:
            config.args.append(str(file))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The pairs of a pyproject.toml."""
    if file_path.name != "pyproject.toml":
        return None
    from parity.cli.project.file import read

    project = read(file_path)
    if project is None or not project.pairs:
        return None
    made: PairFile = PairFile.from_parent(parent, path=file_path)
    return made


class PairFile(pytest.File):
    """A pyproject.toml with pairs."""

    def collect(self) -> Iterator[PairTest]:
        """A test for each pair."""
        from parity.cli.project.file import read

        project = read(self.path)
        assert project is not None
        for name in project.pairs:
            yield PairTest.from_parent(self, name=name)


class PairTest(pytest.Item):
    """One pair of a project, checked as `parity check NAME` does."""

    def runtest(self) -> None:
        """Check it.

        Raises:
            ParityError: it is not equal, or not proven whole where it must be.
            UsageError: a key or a value is not one that can be.
        """
        from parity.adapters.frameworks import import_frameworks
        from parity.cli.asked import of_project
        from parity.cli.project.file import read
        from parity.core.errors import ParityError
        from parity.report.rests import rests_on, tolerated, too_little
        from parity.report.text import listed

        project = read(self.path)
        assert project is not None
        pair = of_project(self.name, project)
        import_frameworks()
        from parity.check import check_pair

        result = check_pair(
            pair.name, pair.keras, pair.torch, pair.pictures, mapping=pair.mapping, **(pair.settings or {})
        )
        lines = [f"{result.verdict}: {rests_on(result)}".rstrip(": "), *tolerated(result)]
        strict = pair.strict or self.config.getoption("--parity-strict")
        lacking = too_little(result) if strict else ""
        if result.verdict != "EQUAL" or lacking:
            raise ParityError("\n".join([*lines, *listed(result.findings), *([lacking] if lacking else [])]))
        self.add_report_section("call", "parity", "\n".join(lines))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong, without the lines of parity that found it."""
        from parity.core.errors import ParityError, UsageError

        if isinstance(excinfo.value, ParityError | UsageError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """What a failure is called."""
        return self.path, None, f"pair {self.name}"


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
