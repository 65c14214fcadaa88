"""How models are held: exported, compiled, parallel and complex ones work; others get one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import parity
from parity.adapters import adapt, held
from parity.adapters.probe import randomise

X = np.random.default_rng(0).standard_normal((2, 12, 14, 3)).astype(np.float32)
IMAGE = torch.from_numpy(X).permute(0, 3, 1, 2).contiguous()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.dense = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


def keras_net(epsilon: float = 1e-5, momentum: float = 0.99) -> Any:
    x = image = keras.Input((12, 14, 3))
    x = L.Conv2D(6, 3, name="conv")(x)
    x = L.ReLU()(L.BatchNormalization(epsilon=epsilon, momentum=momentum, name="norm")(x))
    return keras.Model(image, L.Dense(5, name="dense")(L.GlobalAveragePooling2D()(x)))


def exported() -> Any:
    return torch.export.export(Net().eval(), (IMAGE,))


def exported_module() -> Any:
    batch = torch.export.Dim("batch")
    return torch.export.export(Net().eval(), (IMAGE,), dynamic_shapes=({0: batch},)).module()


class Parted(Net):
    """Its layers lie in a part that is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.part = torch.compile(nn.Sequential(self.conv, self.norm, nn.ReLU()), backend="eager")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.part(x).mean((2, 3)))


def compiled_part() -> Any:
    return Parted().eval()


def wrong(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
    """A backend whose code gives a tenth more than the module as it is written."""
    return lambda *values: tuple(value * 1.1 for value in graph(*values))


WORKING: dict[str, Callable[[], Any]] = {
    "exported program": exported,
    "module of an exported program": exported_module,
    "torch.fx": lambda: torch.fx.symbolic_trace(Net().eval()),
    "torch.compile": lambda: torch.compile(Net().eval(), backend="eager"),
    "a compiled part": lambda: compiled_part(),
    "DataParallel": lambda: nn.DataParallel(Net().eval()),
}


@pytest.mark.parametrize("way", ["torch", "keras"])
@pytest.mark.parametrize("name", WORKING)
def test_it_is_transferred_and_compared(name: str, way: str) -> None:
    model, module = keras_net(), WORKING[name]()
    source, target = (module, model) if way == "torch" else (model, module)
    randomise(adapt(source), 0)
    parity.transfer(source, target, inputs=X)
    report = parity.compare(model, module, X)
    assert report, report.findings


def test_weights_arrive_in_the_exported_program_itself() -> None:
    model, program = keras_net(), exported()
    randomise(adapt(model), 0)
    parity.transfer(model, program, inputs=X)
    given = program.module()(IMAGE).detach().numpy()
    np.testing.assert_allclose(given, np.asarray(model(X)), atol=1e-5)


def test_a_fault_against_an_exported_program_is_found() -> None:
    model, program = keras_net(epsilon=1e-2), exported()
    parity.transfer(program, model, inputs=X)
    assert parity.compare(model, program, X).verdict == "DIVERGED"


@pytest.mark.parametrize("part", [False, True])
def test_compiled_code_that_gives_something_else_is_no_equal(part: bool) -> None:
    model, module = keras_net(), Parted().eval() if part else Net().eval()
    parity.transfer(module, model, inputs=X)
    if part:
        module.part = torch.compile(module.part._orig_mod, backend=wrong)
    else:
        module = torch.compile(module, backend=wrong)
    report = parity.compare(model, module, X)
    assert report.verdict == "DIVERGED", report
    assert not any(finding.cause for finding in report.findings), report


def test_a_fault_against_a_compiled_module_is_found() -> None:
    model, module = keras_net(epsilon=1e-3), torch.compile(Net().eval(), backend="eager")
    parity.transfer(module, model, inputs=X)
    finding = parity.compare(model, module, X).findings[0]
    assert (finding.cause, finding.torch.split(".")[-1]) == ("batchnorm-epsilon", "norm")


@pytest.mark.parametrize("name", ["torch.compile", "a compiled part"])
def test_a_compiled_module_trains_as_it_is_written(name: str) -> None:
    model, module = keras_net(momentum=0.9), WORKING[name]()
    parity.transfer(module, model, inputs=X)
    report = parity.compare(model, module, X, gradients=True, train_steps=2, match_rules=True)
    assert report.verdict == "EQUAL", report
    assert any("torch.compile" in note for note in report.notes), report


def test_a_layer_called_as_torch_s_own_attribute_is_named() -> None:
    class Taken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.code(x)

    program = torch.export.export(Taken(), (torch.zeros(2, 3),))
    with pytest.raises(parity.UsageError, match=r"got layers called 'code'.*Rename them"):
        held.opened(program)


def test_an_exported_program_does_not_train() -> None:
    model, module = keras_net(), exported_module()
    parity.transfer(module, model, inputs=X)
    with pytest.raises(parity.UsageError, match="exported program"):
        parity.compare(model, module, X, gradients=True)


def quantised() -> Any:
    return torch.ao.quantization.quantize_dynamic(Net().eval(), {nn.Linear}, dtype=torch.qint8)


def empty() -> Any:
    with torch.device("meta"):
        return Net().eval()


REFUSED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "traced": (lambda: torch.jit.trace(Net().eval(), IMAGE), "TorchScript", "module that it was made from"),
    "scripted": (lambda: torch.jit.script(Net().eval()), "TorchScript", "module that it was made from"),
    "scripted part": (
        lambda: nn.Sequential(torch.jit.script(Net().eval())), "TorchScript", "module that it was made from",
    ),
    "quantised": (quantised, "quantised layers on the torch side: dense", "before it is quantised"),
    "empty": (empty, "device meta", "to_empty"),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(6, 3)), "lazy", "Run the module once"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_refused_in_a_sentence(name: str) -> None:
    make, got, advice = REFUSED[name]
    module = make()
    for call in (
        lambda: parity.transfer(module, keras_net(), inputs=X),
        lambda: parity.transfer(keras_net(), module, inputs=X),
        lambda: parity.compare(keras_net(), module, X),
    ):
        with pytest.raises(parity.UsageError, match=got) as caught:
            call()
        assert advice in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # Keras warns that it does not quantise its input layer
@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_a_quantised_keras_model_is_refused(mode: str) -> None:
    model = keras_net()
    model.quantize(mode)
    with pytest.raises(parity.UsageError, match="quantised layers on the Keras side: dense"):
        parity.transfer(Net(), model, inputs=X)


class Turned(L.Layer):
    """Turns values in the complex plane."""

    def build(self, shape: Any) -> None:
        self.turn = self.add_weight(shape=(shape[-1],), dtype="complex64", initializer="ones", name="turn")

    def call(self, x: Any) -> Any:
        return keras.ops.real(keras.ops.cast(x, self.turn.dtype) * self.turn)


class TorchTurned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.randn(5, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.to(self.turn.dtype) * self.turn).real


class ComplexNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense, self.turned = nn.Linear(3, 5), TorchTurned()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.turned(self.dense(x))


@pytest.mark.parametrize("way", ["torch", "keras"])
def test_complex_weights(way: str) -> None:
    x = image = keras.Input((3,))
    x = L.Dense(5, name="dense")(x)
    model, module = keras.Model(image, Turned(name="turned")(x)), ComplexNet()
    values = X[0, :7, 0]
    source, target = (module, model) if way == "torch" else (model, module)
    parity.transfer(source, target, inputs=values)
    report = parity.compare(model, module, values)
    assert report, report.findings
    with torch.no_grad():
        module.turned.turn[1] += 1e-4j
    assert parity.compare(model, module, values).verdict == "DIVERGED"
