"""README's table of what is supported is that of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from torch import nn

import parity
from parity.causes import CAUSES
from parity.cli.parser import parser
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


ROWS = {
    "Python": "test_versions", "Keras": "test_versions", "PyTorch": "test_what_torch_gives_is_taken",
    "layers with named causes": "test_layers_and_optimizers", "networks by different authors": "test_other_authors",
    "model files": "test_model_files", "optimizers": "test_layers_and_optimizers", "devices": "test_devices",
}  # fmt: skip
"""Each row of the table and the test that keeps it true."""


def test_every_row_has_its_test() -> None:
    table = README[README.index("| | supported | not |") :].partition("\n\n")[0]
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == list(ROWS)
    assert set(ROWS.values()) <= set(globals())


class Small(nn.Module):
    """Two layers under names of their own, with or without a step of its own between them."""

    def __init__(self, own: bool = False) -> None:
        super().__init__()
        self.lower, self.upper, self.own = nn.Linear(4, 5), nn.Linear(5, 3), own

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.lower(x))
        return self.upper(torch.where(x > 0.1, x * x * 1.7 - x, x.roll(1, -1)) if self.own else x)


class Scaled(nn.Module):
    """What a dense layer with a diagonal kernel does, without the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.tensor([1.0, 2.0, -3.0, 0.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factors


def ported() -> keras.Model:
    x = keras.Input((4,))
    hidden = keras.layers.Dense(5, activation="tanh", name="body")(x)
    return keras.Model(x, keras.layers.Dense(3, name="scores")(hidden))


VALUES = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
HELD = {
    "torch.export": lambda: torch.export.export(Small(), (torch.from_numpy(VALUES),)),
    "torch.fx": lambda: torch.fx.symbolic_trace(Small()),
    "torch.compile": lambda: torch.compile(Small(), backend="eager"),
}


def test_what_torch_gives_is_taken() -> None:
    assert code(row("PyTorch")[0]) == list(HELD)
    for name, made in HELD.items():
        model, module = ported(), made()
        parity.transfer(model, module, inputs=VALUES)  # an exported program takes one batch size
        report = parity.compare(model, module, VALUES, quick=True)
        assert report.verdict == "EQUAL", f"{name}: {report}"


def test_other_authors() -> None:
    """Other names are paired by dataflow. Where no pairing is found, the verdict says so."""
    model, module = ported(), Small()
    parity.transfer(model, module)
    assert parity.compare(model, module, VALUES, quick=True).verdict == "EQUAL"
    x = keras.Input((4,))
    diagonal = keras.Model(x, keras.layers.Dense(4, use_bias=False)(x))
    scaled = Scaled().eval()
    diagonal.set_weights([np.diag(scaled.factors.detach().numpy())])
    verdict = parity.compare(diagonal, scaled, VALUES, quick=True).verdict
    assert verdict == code(row("networks by different authors")[1])[0]


def test_an_own_step_is_located_without_a_name() -> None:
    assert "without a name" in row("layers with named causes")[1]
    for word, start in {
        "attention": "attention",
        "pooling": "pool",
        "resizing": "resize",
        "activations": "activation",
    }.items():
        assert word in row("layers with named causes")[0]
        assert any(name.startswith(start) for name in CAUSES)
    model, module = ported(), Small(own=True)
    parity.transfer(model, module)
    first = parity.compare(model, module, VALUES, quick=True).first
    assert first is not None
    assert (first.cause, first.torch) == (None, "upper")


def test_devices(capsys: pytest.CaptureFixture[str]) -> None:
    (option,) = code(row("devices")[0])
    parser().parse_args(["check", "SkipBlockDN", *option.split()])
    with pytest.raises(SystemExit):
        parser().parse_args(["check", "SkipBlockDN", "--device", "gpu:1"])
    assert "gpu" in capsys.readouterr().err


def test_keras_backends() -> None:
    import parity.adapters.keras as package

    sources = "".join(path.read_text(encoding="utf-8") for path in Path(package.__path__[0]).rglob("*.py"))
    for name, key in (("TensorFlow", "tensorflow"), ("JAX", "jax"), ("PyTorch", "torch")):
        assert name in row("Keras")[0]
        assert f'"{key}"' in sources


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
