"""README's blocks and the example folder do what they say: same lines, same causes, same table."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

import parity
from parity.cli import main

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
MODULES = ("torch_net", "keras_port", "keras_mended")
CAUSES = ["same-padding-asymmetry", "batchnorm-epsilon"]
# Figures that another machine may round in another way, and the time.
VARYING = (
    (r"greatest difference \S+ \(\S+ of the scale [^)]+\) at index \([\d, ]+\)", "greatest difference ..."),
    (r"agrees to [\d.e+-]+", "agrees to ..."),
    (r" +\d+\.\d  (?=DIVERGED)", " ... "),
    (r"\d+\.\d s\b", "... s"),
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def statements(code: str) -> list[str]:
    """The lines of a script without its comments."""
    return [line.partition("  #")[0].rstrip() for line in code.splitlines() if line.strip()]


def steady(text: str) -> list[str]:
    """The lines of what was printed, without what varies."""
    for pattern, replacement in VARYING:
        text = re.sub(pattern, replacement, text)
    return [line.rstrip() for line in text.splitlines()]


@pytest.fixture(autouse=True)
def in_examples(keras_torch: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is the current one, and its modules are imported from it anew."""
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_the_python_block_is_the_example_and_finds_both_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    (block,) = blocks("python")
    example = EXAMPLES / "check_my_pair.py"
    lines = statements(example.read_text())
    assert [line for line in lines if line in statements(block)] == statements(block)
    names: dict[str, object] = {}
    torch.manual_seed(0)  # the example draws its weights
    exec(block, names)
    report = names["report"]
    assert isinstance(report, parity.Report)
    assert report.verdict == "DIVERGED"
    assert [finding.cause for finding in report.findings] == CAUSES
    assert all(finding.fix_verified for finding in report.findings)
    printed = capsys.readouterr().out
    assert all(cause in printed for cause in CAUSES)
    torch.manual_seed(0)
    runpy.run_path(str(example), run_name="__main__")
    assert steady(capsys.readouterr().out) == steady(printed)


def test_the_mended_port_is_equal() -> None:
    from keras_mended import build  # type: ignore[import-not-found]
    from torch_net import Net  # type: ignore[import-not-found]

    module, model = Net(), build()
    parity.transfer(module, model)
    report = parity.compare(model, module)
    assert report.verdict == "EQUAL", str(report)


def test_the_shell_block_prints_the_table_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = (block for block in blocks("sh") if "parity check" in block)
    folder, command = block.splitlines()
    assert folder == "cd examples"
    program, *arguments = shlex.split(command)
    assert program == "parity"
    assert main(arguments) == 1
    printed = capsys.readouterr().out
    (table,) = (block for block in blocks("text") if "system" in block)
    assert steady(printed) == steady(table)
    assert re.findall(r"\[([a-z-]+)\]", printed) == CAUSES


def test_a_table_with_another_cause_is_another_table() -> None:
    """What is left out of the comparison leaves enough to fail it."""
    (table,) = (block for block in blocks("text") if "system" in block)
    for old, new in (
        ("batchnorm-epsilon", "kernel-flip"),
        ("0.001 in Keras", "0.01 in Keras"),
        ("at norm", "at body"),
    ):
        assert old in table
        assert steady(table.replace(old, new)) != steady(table)
