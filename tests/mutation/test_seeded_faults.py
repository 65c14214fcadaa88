"""Faults seeded in models of three kinds: each must be found, at its layer, and a clean control must be EQUAL."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.cli import main
from tests import zoo
from tests.mutation.faults import attribute
from tests.mutation.undone import undone
from tests.zoo import branches, wrapped
from tests.zoo_torch import Branches, Wrapped


def munet() -> tuple[Any, Any]:
    from tf_impl.munet import mUnet as KerasNet
    from torch_impl.munet import mUnet as TorchNet

    return KerasNet(depth=4), TorchNet(depth=4)


MODELS: dict[str, tuple[Callable[[], tuple[Any, Any]], tuple[int, ...]]] = {
    "mUnet": (munet, (2, 16, 24, 3)),
    "functional": (lambda: (branches(), Branches()), (2, 15, 22, 3)),
    "subclassed": (lambda: (wrapped(), Wrapped()), (2, 15, 22, 3)),
}


@functools.cache
def clean(name: str) -> tuple[Any, Any, Any]:
    """One pair with equal random weights; every fault undoes itself, which `undone` verifies."""
    build, shape = MODELS[name]
    model, module = build()
    randomise(adapt(module), 3)
    values = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    parity.transfer(module, model, inputs=values)
    return model, module, values


@contextmanager
def edited(tensor: torch.Tensor, value: torch.Tensor) -> Iterator[None]:
    before = tensor.detach().clone()
    assert not torch.equal(before, value)
    tensor.data.copy_(value)
    try:
        yield
    finally:
        tensor.data.copy_(before)


def at(module: nn.Module, path: str) -> Any:
    return module.get_submodule(path)


def kernel_axes(module: nn.Module, path: str) -> Any:
    weight = at(module, path).weight
    return edited(weight, weight.detach().transpose(0, 1).flip(2))


def height_and_width(module: nn.Module, path: str) -> Any:
    weight = at(module, path).weight
    return edited(weight, weight.detach().transpose(2, 3).contiguous())


def one_bias(module: nn.Module, path: str) -> Any:
    bias = at(module, path).bias
    value = bias.detach().clone()
    value[1] += 1e-6
    return edited(bias, value)


def eps(module: nn.Module, path: str) -> Any:
    return attribute(at(module, path), "eps", 1.001e-5)


def slots(module: nn.Module, path: str) -> Any:
    norm = at(module, path)
    return edited(norm.running_mean, norm.bias.detach())


def crop(module: nn.Module, path: str) -> Any:
    """One pixel cut at the wrong end, the shape as it was."""
    layer = at(module, path)
    plain = type(layer).forward

    def forward(x: Any) -> Any:
        return torch.roll(plain(layer, x), 1, 2)

    return attribute(layer, "forward", forward)


def skipped(module: nn.Module, path: str) -> Any:
    return attribute(at(module, path), "forward", lambda x: x)


def doubled(module: nn.Module, path: str) -> Any:
    layer = at(module, path)
    plain = type(layer).forward
    return attribute(layer, "forward", lambda x: plain(layer, plain(layer, x)))


def activation_out(module: nn.Module, path: str) -> Any:
    return skipped(module, path)


def slope(module: nn.Module, path: str) -> Any:
    return attribute(at(module, path), "negative_slope", 0.0101)


def dilation(module: nn.Module, path: str) -> Any:
    layer = at(module, path)
    return attribute(layer, "forward", lambda x: F.conv2d(x, layer.weight, layer.bias, padding=1))


def bigger(module: nn.Module, path: str) -> Any:
    """A shape change, which makes torch raise further down."""
    layer = at(module, path)
    plain = type(layer).forward
    return attribute(layer, "forward", lambda x: F.pad(plain(layer, x), (0, 1)))


@dataclass(frozen=True)
class Fault:
    model: str
    seed: Callable[[nn.Module, str], Any]
    path: str
    kinds: tuple[str, ...] = ("layer",)


ACCEPTANCE = 15
FAULTS = [
    # the acceptance list, in all three
    Fault("mUnet", kernel_axes, "skip64DN_arr.1.conv1"),
    Fault("mUnet", one_bias, "skip128to64UP.convT1"),
    Fault("mUnet", eps, "bn2DN"),
    Fault("mUnet", crop, "skip64usUP.upsampler"),
    Fault("mUnet", skipped, "skip128DN_arr.0", ("missing-call",)),
    Fault("functional", kernel_axes, "left"),
    Fault("functional", one_bias, "mix"),
    Fault("functional", eps, "stem.bn"),
    Fault("functional", crop, "right.0"),
    Fault("functional", skipped, "stem.bn", ("layer", "missing-call")),
    Fault("subclassed", kernel_axes, "body.1.0"),
    Fault("subclassed", one_bias, "up"),
    Fault("subclassed", eps, "stem.1"),
    Fault("subclassed", crop, "up"),
    Fault("subclassed", skipped, "body.0", ("missing-call", "wiring")),
    # and more
    Fault("mUnet", height_and_width, "conv_in"),
    Fault("mUnet", slots, "skip64dsDN.bn1"),
    Fault("mUnet", crop, "conv_out"),
    Fault("mUnet", eps, "skip128to64UP.bn1"),
    Fault("functional", dilation, "left"),
    Fault("functional", bigger, "left", ("shape",)),
    Fault("functional", height_and_width, "left"),
    Fault("functional", slots, "stem.bn"),
    Fault("functional", activation_out, "stem.relu", ("layer", "missing-call")),
    Fault("subclassed", slope, "body.0.1"),
    Fault("subclassed", activation_out, "stem.2", ("layer", "missing-call")),
    Fault("subclassed", doubled, "body.1.0"),
    Fault("subclassed", bigger, "stem.0", ("shape",)),
    Fault("subclassed", slots, "stem.1"),
]


def named(fault: Fault) -> str:
    return f"{fault.model}-{fault.seed.__name__}-{fault.path}"


@pytest.mark.parametrize("name", MODELS)
def test_clean_control(name: str) -> None:
    report = parity.compare(*clean(name), dtype="float32")
    assert report.verdict == "EQUAL", str(report)


@pytest.mark.table(share=2)
@pytest.mark.parametrize("fault", FAULTS, ids=named)
def test_fault_is_found_at_its_layer(fault: Fault) -> None:
    model, module, values = clean(fault.model)
    with undone(fault.seed(module, fault.path), model, module):
        report = parity.compare(model, module, values)
    assert report.verdict == "DIVERGED", str(report)
    assert report.first is not None
    assert report.first.torch == fault.path, str(report)
    assert report.first.kind in fault.kinds, str(report)
    places = {finding.torch for finding in report.findings if finding.kind != "error"}
    assert places == {fault.path}, f"false alarms: {report}"


@pytest.mark.table(share=3)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(f, id=named(f), marks=[pytest.mark.slow] * (f.model == "mUnet"))
        for f in FAULTS[:ACCEPTANCE]
    ],
)
def test_check_exits_1_and_names_the_layer(
    fault: Fault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, module, values = clean(fault.model)
    zoo.EDITED[:] = [model, module]
    command = ["check", "--keras", "tests.zoo:edited_keras", "--torch", "tests.zoo:edited_torch", "--transfer", "none",
               "--input", "x".join(map(str, values.shape)), "--json", str(tmp_path / "r.json")]  # fmt: skip
    assert main(command) == 0, capsys.readouterr().out
    with undone(fault.seed(module, fault.path), model, module):
        assert main(command) == 1
    (result,) = json.loads((tmp_path / "r.json").read_text())
    assert result["verdict"] == "DIVERGED"
    assert result["findings"][0]["torch"] == fault.path
    assert fault.path in capsys.readouterr().out


SEVERAL = [
    (
        "functional",
        [(one_bias, "stem.conv"), (eps, "stem.bn"), (height_and_width, "left"), (one_bias, "head")],
    ),
    ("subclassed", [(height_and_width, "stem.0"), (slope, "body.1.1"), (crop, "up"), (one_bias, "classify")]),
    (
        "mUnet",
        [(one_bias, "conv_in"), (eps, "skip128dsDN.bn2"), (crop, "skip128usUP.upsampler"), (eps, "bn2UP")],
    ),
]


@pytest.mark.parametrize(("name", "faults"), SEVERAL, ids=[name for name, _ in SEVERAL])
def test_independent_faults_are_all_found_in_execution_order(
    name: str, faults: list[tuple[Any, str]]
) -> None:
    model, module, values = clean(name)
    with ExitStack() as stack:
        for seed, path in faults:
            stack.enter_context(undone(seed(module, path), model, module))
        report = parity.compare(model, module, values)
    assert [finding.torch for finding in report.findings] == [path for _, path in faults], str(report)
