"""The pytest plugin: what a failing test says, what it writes, and that it costs nothing where it is not used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from parity.core.finding import Finding
from parity.pytest_plugin import file_name
from parity.report.result import Report
from parity.report.text import screen

pytest_plugins = ["pytester"]

TESTS = """
import numpy as np
import pytest
import torch
import keras

def port(epsilon, channels=3):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    image = keras.Input((None, None, channels))
    conv, norm = keras.layers.Conv2D(4, 3, name="conv"), keras.layers.BatchNormalization(epsilon=epsilon, name="norm")
    model = keras.Model(image, norm(conv(image)))
    conv.set_weights([module[0].weight.detach().numpy().transpose(2, 3, 1, 0), module[0].bias.detach().numpy()])
    return model, module

PICTURE = np.random.default_rng(0).standard_normal((2, 9, 12, 3)).astype("float32")
MAPPING = {"conv": "0", "norm": "1"}

def test_equal(assert_parity):
    report = assert_parity(*port(1e-5), PICTURE, mapping=MAPPING)
    assert report.verdict == "EQUAL"
    assert report.dtype == EXPECTED_DTYPE

def test_argument_before_option(assert_parity):
    assert assert_parity(*port(1e-5), PICTURE, mapping=MAPPING, dtype="float64").dtype == "float64"

@pytest.mark.parametrize("side", ["a b", "c/d"])
def test_port(assert_parity, side):
    assert_parity(*port(1e-3), PICTURE, mapping=MAPPING)

def test_twice(assert_parity):
    for _ in range(2):
        with pytest.raises(AssertionError, match="DIVERGED"):
            assert_parity(*port(1e-3), PICTURE, mapping=MAPPING)
"""


@pytest.fixture
def frameworks(keras_torch: None) -> None:
    """Imported here, and torch first: pytester forgets what the inner run imports, and neither loads twice."""
    import torch  # noqa: F401, I001
    import keras  # noqa: F401


def run(pytester: pytest.Pytester, *options: str, dtype: str = "float64") -> pytest.RunResult:
    pytester.makepyfile(test_port=TESTS.replace("EXPECTED_DTYPE", repr(dtype)))
    return pytester.runpytest_inprocess("-p", "no:xdist", *options)


@pytest.mark.usefixtures("frameworks")
def test_a_failure_names_the_layer_and_fits_a_screen(pytester: pytest.Pytester) -> None:
    result = run(pytester)
    result.assert_outcomes(passed=3, failed=2)
    message = [line for line in result.outlines if line.startswith("E   ")]
    result.stdout.fnmatch_lines(
        [
            "E   *ParityError: DIVERGED (float64)",
            "E *1. layer at norm / 1*",
            "E *fix (verified)*",
            "E *--parity-report DIR.",
        ]
    )
    assert len(message) <= 2 * 20
    assert max(map(len, message)) <= 80
    assert "pytest_plugin.py" not in "\n".join(result.outlines)  # the plugin's own lines are not shown
    assert not list(pytester.path.glob("**/*.html"))


@pytest.mark.usefixtures("frameworks")
def test_options_reach_the_comparison_and_reports_are_written(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--parity-dtype=float32", "--parity-report=out", dtype="float32")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(["E *Whole report: out*test_port-test_port-a-b.html"])
    names = {path.name for path in (pytester.path / "out").glob("*.html")}
    stems = {
        "test_port-test_port-a-b",
        "test_port-test_port-c-d",
        "test_port-test_twice",
        "test_port-test_twice-2",
    }
    assert names == {f"{stem}.html" for stem in stems}
    written = json.loads((pytester.path / "out" / "test_port-test_twice.json").read_text())
    assert written["verdict"] == "DIVERGED"
    assert written["findings"][0]["torch"] == "1"


BRANCH = """
def test_branch(assert_parity):
    model, module = port(1e-5)
    class Net(torch.nn.Sequential):
        def forward(self, x):
            return super().forward(x if x.shape[0] != 7 else x + 1)
    assert_parity(model, Net(*module), PICTURE, mapping=MAPPING)
"""


@pytest.mark.usefixtures("frameworks")
def test_strict_fails_where_a_branch_was_not_taken(pytester: pytest.Pytester) -> None:
    source = TESTS[: TESTS.index("def test_equal")] + BRANCH
    pytester.makepyfile(test_branch=source)
    line = 1 + source.strip().splitlines().index(
        next(line for line in source.splitlines() if "!= 7" in line)
    )  # fmt: skip
    plain = pytester.runpytest_inprocess("-p", "no:xdist", "-rP")
    plain.assert_outcomes(passed=1)
    plain.stdout.fnmatch_lines([f"EQUAL: *branches taken*test_branch.py:{line}*"])
    strict = pytester.runpytest_inprocess("-p", "no:xdist", "--parity-strict")
    strict.assert_outcomes(failed=1)
    strict.stdout.fnmatch_lines(
        [f"E *unproven: test_branch.py:{line}: *", "E *not all of it proven: 1 branch not taken*"]
    )


def test_a_wrong_option_is_a_usage_error(pytester: pytest.Pytester) -> None:
    assert pytester.runpytest_inprocess("--parity-dtype=int8").ret == pytest.ExitCode.USAGE_ERROR


def test_loading_the_plugin_imports_no_framework() -> None:
    code = (
        "import sys, parity.pytest_plugin\n"
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules), 'a framework was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_plugin_is_registered(request: pytest.FixtureRequest) -> None:
    assert request.config.pluginmanager.has_plugin("parity"), (
        "run pip install -e . again: the entry point is new"
    )


FINDINGS = [
    Finding(
        f"block.{i}.conv", f"stage.{i}.c", "layer", "kernel-flip", "word " * 80, f"{'turn ' * 60}{i}", True
    )
    for i in range(40)  # a fix of its own each: of one fix they would be one entry
]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 40])
@pytest.mark.parametrize("long", [False, True])
def test_the_message_fits_one_screen(count: int, long: bool) -> None:
    findings = FINDINGS[:count] if long else [Finding("a", "b", "layer", None, "short") for _ in range(count)]
    report = Report("DIVERGED", 1.0, 0.5, findings, elements=7)
    lines = screen(report, ["a hint", "another"]).splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 72
    assert lines[0].startswith("DIVERGED")
    assert lines[-2:] == ["a hint", "another"]
    shown = sum(line.lstrip()[0].isdigit() for line in lines[1:])
    left = [line for line in lines if line.startswith("... and")]
    assert shown >= min(count, 2)
    assert (f"... and {count - shown} more" in left[0]) if shown < count else not left
    if long and count:
        assert "1. layer at block.0.conv / stage.0.c [kernel-flip]" in lines
        assert any(line.startswith("   fix (verified): turn turn") for line in lines)


def test_without_any_output_the_message_says_so() -> None:
    text = screen(
        Report("INCONCLUSIVE", float("inf"), float("inf"), [Finding(None, None, "error", None, "x")])
    )
    assert text.splitlines()[:2] == ["INCONCLUSIVE (float64)", "no outputs could be compared"]


def test_file_names_are_plain_short_and_distinct() -> None:
    assert (
        file_name("tests/unit/test_a.py::TestB::test_c[x/y z]", 1) == "tests-unit-test_a-TestB-test_c-x-y-z"
    )
    assert file_name("test_a.py::test_c", 3) == "test_a-test_c-3"
    names = {file_name(f"test_a.py::test_c[{'x' * 200}{i}]", 1) for i in range(3)}
    assert len(names) == 3
    assert max(map(len, names)) < 100
    assert all(Path(name).name == name for name in names)
