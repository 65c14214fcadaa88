"""README's table of what is supported is that of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from parity.core.rules import NAMES
from parity.core.types import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def row(name: str) -> list[str]:
    """The cells of a row of the table."""
    (line,) = re.findall(rf"^\| {re.escape(name)} \|(.*)\|$", README, re.MULTILINE)
    return [cell.strip() for cell in line.split("|")]


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def least(extra: str, package: str) -> str:
    (found,) = (re.fullmatch(rf"{package}>=([\d.]+)", need) for need in PROJECT["optional-dependencies"][extra]
                if need.startswith(f"{package}>="))  # fmt: skip
    assert found
    return found[1]


def test_versions() -> None:
    low, high = re.findall(r"(\d+\.\d+) to (\d+\.\d+)", row("Python")[0])[0]
    assert PROJECT["requires-python"] == f">={low},<3.{int(high.split('.')[1]) + 1}"
    assert row("Keras")[0].startswith(f"{least('tf', 'keras')} and later")
    assert row("PyTorch")[0].startswith(f"{least('torch', 'torch')} and later")


def test_layers_and_optimizers() -> None:
    assert code(row("layers with named causes")[0]) == list(FAMILIES)
    assert code(row("optimizers")[0]) == list(NAMES)


@pytest.mark.parametrize("kind", [".keras", ".pt2", ".safetensors", ".pt", ".weights.h5"])
def test_model_files(kind: str) -> None:
    assert kind in code(row("model files")[0])
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "parity").rglob("*.py")]
    assert any(f'"{kind}"' in text for text in sources)


def test_what_is_refused_is_refused_in_the_code() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "parity").rglob("*.py"))
    for word in ("TorchScript", "quantised"):
        assert word in row("PyTorch")[1]
        assert f"got {word}" in text


def test_the_extras_are_there() -> None:
    table = README[README.index("| extra | brings | disk |") :].partition("\n\n")[0]
    named = [code(line)[0] for line in table.splitlines()[2:]]
    assert set(named) <= set(PROJECT["optional-dependencies"])
    assert "segparity[tf,torch,report]" in README
