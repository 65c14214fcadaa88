"""The proof of a port: what it says of a right one, and that it finds the class that is wrong."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from parity.core.verdict import Verdict
from parity.porting.by_class import each_class
from parity.porting.docstring import with_proofs
from parity.porting.proof import PortCheck, built, carried, prove, state, whole

CLASSES = {name: name for name in ("Unit", "Gate", "Stage", "Net")}


class Unit(nn.Module):
    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)))


class Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.fc(x.mean((2, 3), keepdim=True)))


class Stage(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.down = Unit(channels, width, 2)
        self.unit = Unit(width, width)
        self.gate = Gate(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.down(x)
        return self.gate(torch.cat([x + self.unit(x)], 1))


class Net(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stage1 = Stage(3, 6)
        self.stage2 = Stage(6, 8)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stage2(self.stage1(x))
        return self.head(self.drop(x.amax((2, 3))))


PORT = '''"""Net in Keras 3."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("port_under_test")
class Unit(layers.Layer):
    def __init__(self, width, stride=1, **kwargs):
        super().__init__(**kwargs)
        self.width, self.stride = width, stride
        self.pad = layers.ZeroPadding2D(1)
        self.conv = layers.Conv2D(width, 3, strides=stride, use_bias=False)
        self.bn = layers.BatchNormalization(epsilon=1e-3, momentum=0.9)

    def call(self, x):
        return ops.relu(self.bn(self.conv(self.pad(x))))

    def get_config(self):
        return {**super().get_config(), "width": self.width, "stride": self.stride}


@keras.saving.register_keras_serializable("port_under_test")
class Gate(layers.Layer):
    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.fc = layers.Conv2D(channels, 1)

    def call(self, x):
        return x * ops.sigmoid(self.fc(ops.mean(x, axis=(1, 2), keepdims=True)))

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


@keras.saving.register_keras_serializable("port_under_test")
class Stage(layers.Layer):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.down = Unit(width, 2)
        self.unit = Unit(width)
        self.gate = Gate(width)

    def call(self, x):
        x = self.down(x)
        return self.gate(x + self.unit(x))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("port_under_test")
class Net(keras.Model):
    def __init__(self, classes=3, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes
        self.stage1 = Stage(6)
        self.stage2 = Stage(8)
        self.drop = layers.Dropout(0.2)
        self.head = layers.Dense(classes)

    def call(self, x):
        x = self.stage2(self.stage1(x))
        return self.head(self.drop(ops.max(x, axis=(1, 2))))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


def build():
    model = Net()
    model(keras.Input((None, None, 3)))
    return model
'''

FAULTS = {
    "epsilon": ("epsilon=1e-3", "epsilon=1e-5", "Unit"),
    "activation": ("ops.relu(self.bn(self.conv(self.pad(x))))", "self.bn(self.conv(self.pad(x)))", "Unit"),
    "padding": (
        "layers.ZeroPadding2D(1)\n        self.conv = layers.Conv2D(width, 3, strides=stride, use_bias=False)",
        'layers.Identity()\n        self.conv = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)',
        "Unit",
    ),
    "gate": ("ops.sigmoid(self.fc", "ops.tanh(self.fc", "Gate"),
    "axis": ("ops.mean(x, axis=(1, 2), keepdims=True)", "ops.mean(x, axis=1, keepdims=True)", "Gate"),
    "residual": ("self.gate(x + self.unit(x))", "self.gate(x - self.unit(x))", "Stage"),
    "order": ("self.gate(x + self.unit(x))", "x + self.gate(self.unit(x))", "Stage"),
    "pooling": ("ops.max(x, axis=(1, 2))", "ops.mean(x, axis=(1, 2))", "Net"),
    "scale": ("self.stage2(self.stage1(x))", "self.stage2(2 * self.stage1(x))", "Net"),
    "skipped": ("return self.gate(x + self.unit(x))", "return x + self.unit(x) + 0 * self.gate(x)", "Stage"),
}
"""Ten wrong ports: what is written for what, and the class that is wrong."""

TRAINING_FAULTS = {
    "momentum": ("momentum=0.9", "momentum=0.99"),
    "dropout": ("layers.Dropout(0.2)", "layers.Dropout(0.5)"),
    "frozen": ("layers.Conv2D(channels, 1)", "layers.Conv2D(channels, 1, trainable=False)"),
}


def inputs(height: int = 33, width: int = 46) -> Any:
    return np.random.default_rng(0).standard_normal((2, height, width, 3)).astype("float32")


def written(folder: Path, *change: str) -> Path:
    if change:
        assert PORT.count(change[0]) == 1
    file = folder / "port.py"
    file.write_text(PORT.replace(*change) if change else PORT, encoding="utf-8")
    return file


def test_a_right_port_is_proved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, file = Net().eval(), written(tmp_path)
    own = state(source)
    proofs = list(prove(source, file, inputs()))
    assert [proof.name for proof in proofs] == ["outputs", "training", "second size", "reload"]
    assert whole(proofs), "\n".join(map(str, proofs))
    text = with_proofs(PORT, "net:Net", proofs, {"segparity": "1.0", "keras": "3", "torch": "2"})
    compile(text, "port.py", "exec")
    assert text.startswith(
        '"""Net in Keras 3.\n\nProved equal to net:Net by parity 1.0 (Keras 3, PyTorch 2):\n- outputs:'
    )
    assert text.endswith(PORT.partition('"""\n')[2])
    last = built(file, inputs())
    carried(source, last, inputs(), own)
    assert all(np.array_equal(value, own[path]) for path, value in state(source).items())
    with torch.no_grad():
        wanted = source(torch.from_numpy(inputs().transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(np.asarray(last(inputs())), wanted.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_port_is_found_at_its_class(name: str, tmp_path: Path) -> None:
    right, wrong, where = FAULTS[name]
    source, file = Net().eval(), written(tmp_path, right, wrong)
    proofs = list(prove(source, file, inputs()))
    assert [proof.verdict for proof in proofs] == [Verdict.DIVERGED]
    port = built(file, inputs())
    carried(source, port, inputs(), state(source))
    taken = [inputs().transpose(0, 3, 1, 2)]
    modules = list(each_class(source, port, taken, CLASSES, copied=True))
    assert {one.name for one in modules if one.verdict is Verdict.DIVERGED} == {where}
    assert {one.name for one in modules if one.verdict is Verdict.EQUAL} >= {"Unit", "Gate"} - {where}


@pytest.mark.parametrize("name", TRAINING_FAULTS)
def test_what_differs_in_training_alone_is_found(name: str, tmp_path: Path) -> None:
    proofs = {
        proof.name: proof
        for proof in prove(Net().eval(), written(tmp_path, *TRAINING_FAULTS[name]), inputs(), steps=2)
    }
    assert proofs["outputs"].verdict is Verdict.EQUAL
    assert proofs["training"].verdict is not Verdict.EQUAL


@pytest.mark.parametrize(
    ("right", "wrong", "name"),
    [
        (
            '{**super().get_config(), "width": self.width, "stride": self.stride}',
            "super().get_config()",
            "reload",
        ),
    ],
)
def test_other_faults_have_their_own_proof(right: str, wrong: str, name: str, tmp_path: Path) -> None:
    found = {
        proof.name: proof for proof in prove(Net().eval(), written(tmp_path, right, wrong), inputs(), steps=1)
    }
    assert found[name].verdict is not Verdict.EQUAL


def test_a_port_with_a_stub_is_proved_class_by_class(tmp_path: Path) -> None:
    file = written(tmp_path, "self.head(self.drop(ops.max(x, axis=(1, 2))))", "ops.custom()")
    text = file.read_text(encoding="utf-8").replace(
        "return ops.custom()", 'raise NotImplementedError("torch.amax")'
    )
    text = text.replace("    model(keras.Input((None, None, 3)))\n", "")
    file.write_text(text, encoding="utf-8")
    source = Net().eval()
    taken = [inputs().transpose(0, 3, 1, 2)]
    from parity.adapters.spec import load_model

    modules = list(each_class(source, load_model(f"{file}:build"), taken, CLASSES, copied=False))
    verdicts = {(one.name, one.path): one.verdict for one in modules}
    assert verdicts.pop(("Net", "")) is Verdict.INCONCLUSIVE
    assert len(verdicts) == 8
    assert set(verdicts.values()) == {Verdict.EQUAL}


def test_proofs_do_not_break_the_docstring() -> None:
    proof = PortCheck("outputs", Verdict.DIVERGED, 'a """ within, and a \\ too')
    text = with_proofs('"""A port."""\n\nx = 1\n', "m:A", [proof], {})
    assert "NOT proved equal to m:A" in text
    scope: dict[str, Any] = {}
    exec(compile(text, "port.py", "exec"), scope)
    assert scope["x"] == 1


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("    model = Net()\n", "    model = Nett()\n", "build() raised NameError"),
        (
            "x = self.stage2(self.stage1(x))",
            "x = self.stage2(self.stage3(x))",
            "build() raised",
        ),
        ("self.head(self.drop(", "self.head(self.head(", "build() raised"),
        ("self.stage1 = Stage(6)", "self.stage1 = Stage(7)", "PairingError"),
    ],
)
def test_a_port_that_does_not_run_is_no_traceback(right: str, wrong: str, said: str, tmp_path: Path) -> None:
    proofs = list(prove(Net().eval(), written(tmp_path, right, wrong), inputs()))
    assert [proof.verdict for proof in proofs] == [Verdict.INCONCLUSIVE]
    assert said in proofs[0].text


def test_a_check_that_raises_is_not_left_out(tmp_path: Path) -> None:
    text = "    def call(self, x):\n        x = self.stage2("
    change = text.replace("x):", "x, training=False):\n        assert not training")
    proofs = {
        one.name: one for one in prove(Net().eval(), written(tmp_path, text, change), inputs(), steps=1)
    }
    assert proofs["outputs"].verdict is Verdict.EQUAL
    assert proofs["training"].verdict is not Verdict.EQUAL


SECOND_TIME = """
COUNT = sys.__dict__.setdefault("_made_ports", [])


def build():
    COUNT.append(1)
    model = Net() if len(COUNT) == 1 else Stage(6)
"""


def test_as_many_tensors_come_back_as_were_saved(tmp_path: Path) -> None:
    file = written(tmp_path, "\n\ndef build():\n    model = Net()\n", SECOND_TIME)
    file.write_text(
        file.read_text(encoding="utf-8").replace("import keras\n", "import sys\n\nimport keras\n", 1),
        encoding="utf-8",
    )
    try:
        found = {one.name: one for one in prove(Net().eval(), file, inputs(), quick=True)}
    finally:
        vars(sys).pop("_made_ports", None)
    assert found["outputs"].verdict is Verdict.EQUAL
    assert found["reload"].verdict is not Verdict.EQUAL


def test_names_cannot_end_the_docstring() -> None:
    source = 'nets.py:Net(text=\'""" + open("/dev/null").read() + """\\\')'
    text = with_proofs('"""A port."""\n\nx = 1\n', source, [PortCheck("outputs", Verdict.EQUAL, "fine")], {})
    assert [type(node).__name__ for node in ast.parse(text).body] == ["Expr", "Assign"]
