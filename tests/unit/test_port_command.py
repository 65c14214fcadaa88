"""parity port: what it writes, what it says, and its exit codes."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity
from parity.cli import main
from parity.core.verdict import Verdict

NETS = '''
"""Two networks."""
import torch
from torch import nn


class Unit(nn.Module):
    """A convolution, normalised."""

    def __init__(self, channels, width, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x):
        # without the activation where the caller adds
        return torch.relu(self.bn(self.conv(x)))


class Net(nn.Module):
    def __init__(self, width=4, classes=3):
        super().__init__()
        self.stem = Unit(3, width, stride=2)
        self.body = nn.Sequential(*[Unit(width, width) for _ in range(2)])
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.body(x)
        return self.head(x.mean((2, 3)))


class Spectral(nn.Module):
    def __init__(self):
        super().__init__()
        self.unit = Unit(3, 4)

    def forward(self, x):
        y = self.unit(x)
        return torch.linalg.svdvals(y) + y.mean()


def keras_model(width=4):
    import keras
    from keras import layers

    x = image = keras.Input((None, None, 3))
    for i in range(2):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"block{i}_conv")(x)
        x = layers.BatchNormalization(name=f"block{i}_bn")(x)
        x = layers.ReLU(name=f"block{i}_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="head")(x))
'''


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_torch_module_becomes_keras_source(nets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        ["port", "--torch", "nets.py:Net", "--args", "width=6", "--input", "2x33x46x3", "-o", "made/model.py",
         "--weights", "model.weights.h5", "--json", "port.json", "--train-steps", "1"]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert code == 0, said
    assert "made/model.py: EQUAL" in said
    text = (nets / "made" / "model.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert "Proved equal to nets.py:Net(width=6)" in docstring
    for name in ("outputs", "training", "second size", "reload"):
        assert f"- {name}:" in docstring
    assert "# without the activation where the caller adds" in text
    assert "import torch" not in text
    record = json.loads((nets / "port.json").read_text(encoding="utf-8"))
    assert record["verdict"] == "EQUAL"
    assert record["classes"] == {"Unit": "Unit", "Net": "Net"}
    assert record["unwritten"] == []
    script = (
        "import sys; sys.path.insert(0, 'made'); import numpy as np; import model; net = model.build(); "
        "net.load_weights('model.weights.h5'); print(net(np.ones((1, 20, 24, 3), 'float32')).shape); "
        "assert 'torch' not in sys.modules and 'parity' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "(1, 3)" in done.stdout


@pytest.mark.parametrize("given", [["--input", "2x17x22x3"], []], ids=["given", "declared"])
def test_a_keras_model_becomes_torch_source(nets: Path, given: list[str]) -> None:
    code = main(
        ["port", "--keras", "nets.py:keras_model", *given, "-o", "model.py",
         "--weights", "model.safetensors", "--train-steps", "1"]
    )  # fmt: skip
    assert code == 0
    text = (nets / "model.py").read_text(encoding="utf-8")
    assert "Proved equal to nets.py:keras_model" in text
    assert "import keras" not in text
    assert text.count("class ") == 2, "two blocks of one kind are one class"
    assert (nets / "model.safetensors").stat().st_size > 0


def test_what_has_no_counterpart_is_listed_with_its_place(
    nets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "port",
        "--torch",
        "nets.py:Spectral",
        "--input",
        "2x12x12x3",
        "-o",
        "model.py",
        "--json",
        "p.json",
    ]
    assert main([*arguments, "--dry-run"]) == 2
    assert not (nets / "model.py").exists()
    said = capsys.readouterr().out
    line = 1 + next(i for i, text in enumerate(NETS.splitlines()) if "svdvals" in text)
    assert "svdvals" in said
    assert f"nets.py:{line}" in said
    assert main(arguments) == 2
    text = (nets / "model.py").read_text(encoding="utf-8")
    compile(text, "model.py", "exec")
    assert "raise NotImplementedError" in text
    record = json.loads((nets / "p.json").read_text(encoding="utf-8"))
    assert [one["line"] for one in record["unwritten"]] == [line]
    found = {one["class"]: one["verdict"] for one in record["modules"]}
    assert found["Unit"] == "EQUAL", "what could be written is proved alone"


def test_as_a_function(nets: Path) -> None:
    sys.path.insert(0, str(nets))
    try:
        import nets as module  # type: ignore[import-not-found]

        image: Any = np.random.default_rng(0).standard_normal((2, 20, 24, 3)).astype("float32")
        made = parity.port(lambda: module.Net(width=5), image, steps=1)
        assert made.verdict is Verdict.EQUAL, "\n".join(map(str, made.proofs))
        assert "class Unit" in made.text
        with pytest.raises(parity.UsageError, match="named or given as a function"):
            parity.port(module.Net(), image)
        with pytest.raises(parity.UsageError, match="needs a model"):
            parity.port(7, image)
    finally:
        sys.path.remove(str(nets))
        del sys.modules["nets"]


def test_the_source_keeps_its_weights(nets: Path) -> None:
    sys.path.insert(0, str(nets))
    try:
        import nets as module

        model = module.keras_model()
        before = [np.array(value) for value in model.get_weights()]
        made = parity.port(model, np.ones((1, 9, 9, 3), "float32"), steps=1)
        assert made.proofs
        assert all(np.array_equal(*both) for both in zip(model.get_weights(), before, strict=True))
    finally:
        sys.path.remove(str(nets))
        del sys.modules["nets"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "1x8x8x3", "-o", "a.py"], "one source"),
        (
            ["--torch", "nets.py:Net", "--keras", "nets.py:Net", "--input", "1x8x8x3", "-o", "a.py"],
            "one source",
        ),
        (["--torch", "nets.py:Net", "--input", "1x8x8x3"], "a file to write"),
        (["--torch", "nets.py:Net", "-o", "a.py"], "got no --input"),
        (["--torch", "nets.py:Net(1)", "--args", "2", "--input", "1x8x8x3", "-o", "a.py"], "given once"),
        (["--torch", "nowhere.py:Net", "--input", "1x8x8x3", "-o", "a.py"], "must exist"),
        (["--torch", "nets.py:Net", "--input", "1y8", "-o", "a.py"], "--input must be"),
        (
            ["--keras", "nets.py:Net", "--input", "1x8x8x3", "-o", "a.py"],
            "a torch model, to be written in torch",
        ),
        (["--torch", "nets.py:Net", "--input", "1x8x8x3", "-o", "."], "got the folder"),
        (
            ["--torch", "nets.py:Net", "--input", "1x8x8x3", "-o", "a.py", "--weights", "a.pt"],
            "Change the suffix",
        ),
        (
            ["--torch", "nets.py:Net", "--input", "1x8x8x3", "-o", "a.py", "--quick", "--train-steps", "2"],
            "trains nothing",
        ),
    ],
)
def test_usage_errors(
    nets: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["port", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (nets / "a.py").exists()


def test_a_model_gets_its_weights_back_whatever_happens(nets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from parity.porting import port as module_of_port

    def broken(source: Any, *rest: Any, **more: Any) -> Any:
        source.set_weights([np.zeros_like(value) for value in source.get_weights()])
        raise KeyboardInterrupt

    sys.path.insert(0, str(nets))
    try:
        import nets as module

        model = module.keras_model()
        before = [np.array(value) for value in model.get_weights()]
        monkeypatch.setattr(module_of_port, "prove", broken)
        with pytest.raises(KeyboardInterrupt):
            parity.port(model, np.ones((1, 9, 9, 3), "float32"))
        assert all(np.array_equal(*both) for both in zip(model.get_weights(), before, strict=True))
    finally:
        sys.path.remove(str(nets))
        del sys.modules["nets"]


def test_a_port_that_is_no_python_is_written_all_the_same(
    nets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from parity.porting import port as module_of_port
    from parity.porting.formatting import formatted
    from parity.porting.written import WrittenPort

    text = formatted('"""A port."""\n\n\ndef build(a=1, b):\n    return a\n')
    monkeypatch.setattr(module_of_port, "_written", lambda *rest: WrittenPort(text, {}))
    assert main(["port", "--torch", "nets.py:Net", "--input", "2x9x9x3", "-o", "a.py"]) == 1
    found = (nets / "a.py").read_text(encoding="utf-8")
    assert found.endswith(text)
    assert found.startswith("# NOT proved equal to nets.py:Net")
    assert "SyntaxError" in found


def test_a_port_that_does_not_run_is_written_all_the_same(
    nets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from parity.porting import port as module_of_port
    from parity.porting.written import WrittenPort

    text = '"""A port."""\n\n\ndef build():\n    raise RuntimeError("[not] yet")\n'
    monkeypatch.setattr(module_of_port, "_written", lambda *rest: WrittenPort(text, {}))
    arguments = ["--torch", "nets.py:Net", "--input", "2x9x9x3", "-o", "a.py", "--weights", "a.weights.h5"]
    assert main(["port", *arguments]) == 1
    assert "NOT proved equal" in (nets / "a.py").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert "RuntimeError: [not] yet" in said
    assert "a.weights.h5: not written" in said
    assert not (nets / "a.weights.h5").exists()


def test_what_is_found_names_the_line_of_the_port(nets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from parity.porting import port as module_of_port

    write = module_of_port._written

    def wrong(*arguments: Any) -> Any:
        made = write(*arguments)
        assert "x = x + self.body(x)" in made.text
        return replace(made, text=made.text.replace("x = x + self.body(x)", "x = x - self.body(x)"))

    monkeypatch.setattr(module_of_port, "_written", wrong)
    assert main(["port", "--torch", "nets.py:Net", "--input", "2x9x9x3", "-o", "a.py", "--quick"]) == 1
    text = (nets / "a.py").read_text(encoding="utf-8")
    assert "parity-port-" not in text
    lines = text.splitlines()
    named = {int(number) for number in re.findall(r"a\.py:(\d+)", " ".join(lines[:30]))}
    assert named
    assert any("self.body(x)" in lines[number - 1] for number in named), named
