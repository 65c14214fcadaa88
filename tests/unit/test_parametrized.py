"""Weights that a pass computes from others: weight_norm, spectral_norm, any parametrization, SpectralNormalization."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.adapters.torch.parametrized import computed, plain
from parity.cli import main
from parity.core.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
X = np.random.default_rng(5).normal(size=(2, 7, 9, 3)).astype("float32")
Wrap = Callable[[nn.Module], nn.Module]


class Exp(nn.Module):
    """A parametrization with an inverse: positive weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(x)

    def right_inverse(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x)


class Symmetric(nn.Module):
    """A parametrization without one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.triu() + x.triu(1).mT


class Noise(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)


def keras_side(spectral: bool = False, epsilon: float = 1e-5) -> Any:
    wrap = L.SpectralNormalization if spectral else (lambda layer: layer)
    return keras.Sequential(
        [
            keras.Input((7, 9, 3)),
            wrap(L.Conv2D(4, 3, activation="relu")),
            L.BatchNormalization(epsilon=epsilon),
            wrap(L.Conv2DTranspose(3, 2)),
            L.Flatten(),
            wrap(L.Dense(5)),
        ]
    )


def torch_side(wrap: Wrap) -> nn.Module:
    return nn.Sequential(
        wrap(nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.BatchNorm2d(4), wrap(nn.ConvTranspose2d(4, 3, 2)), nn.Flatten(),
        wrap(nn.Linear(3 * 6 * 8, 5)),
    )  # fmt: skip


WRAPS: dict[str, Wrap] = {
    "weight_norm": parametrizations.weight_norm,
    "old weight_norm": nn.utils.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "old spectral_norm": nn.utils.spectral_norm,
}


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def unchanged(module: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    after = module.state_dict()
    return list(after) == list(before) and all(
        torch.equal(value, after[name]) for name, value in before.items()
    )


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("name", WRAPS)
def test_the_effective_weight_is_copied_and_compared_both_ways(name: str, spectral: bool) -> None:
    model, module = keras_side(spectral), torch_side(WRAPS[name]).eval()
    randomise(adapt(module), 1)
    before = state(module)
    result = parity.transfer(module, model, inputs=X)
    assert unchanged(module, before), "a source stays as it is"
    assert any("is computed in every pass" in note for note in result.notes)
    report = parity.compare(model, module, X)
    assert report, str(report)
    assert unchanged(module, before), "a comparison changes nothing"
    assert any("training" in note for note in report.notes)
    with torch.no_grad():
        module(torch.from_numpy(X.transpose(0, 3, 1, 2)))  # old hooks set the weight in a pass
    wanted = model.layers[0].layer.kernel if spectral else model.layers[0].kernel
    np.testing.assert_allclose(module[0].weight.detach().numpy().transpose(2, 3, 1, 0), wanted, rtol=1e-6)

    randomise(adapt(model), 2)
    parity.transfer(model, module, inputs=X)
    assert list(module.state_dict()) == list(before)
    assert type(module[0]).__name__ != "Conv2d" or "old" in name
    x = torch.from_numpy(X.transpose(0, 3, 1, 2))
    with torch.no_grad():
        np.testing.assert_allclose(module(x).numpy(), model(X), rtol=1e-4, atol=1e-4)
    report = parity.compare(model, module, X)
    assert report, str(report)


@pytest.mark.parametrize("name", WRAPS)
def test_a_weight_that_differs_and_a_fault_behind_it_are_found(name: str) -> None:
    model, module = keras_side(epsilon=1e-3), torch_side(WRAPS[name]).eval()
    randomise(adapt(module), 1)
    parity.transfer(module, model, inputs=X)
    report = parity.compare(model, module, X)
    assert [(one.torch, one.cause, one.fix_verified) for one in report.findings] == [
        ("2", "batchnorm-epsilon", True)
    ]
    model = keras_side()
    parity.transfer(module, model, inputs=X)
    kernel = model.layers[0].kernel
    kernel.assign(kernel * 1.001)
    report = parity.compare(model, module, X)
    assert report.verdict == "DIVERGED"
    assert report.first.torch == "0"


def test_a_row_of_zeros_has_a_norm() -> None:
    model, module = keras_side(), torch_side(parametrizations.weight_norm).eval()
    kernel = model.layers[0].kernel.numpy()
    kernel[..., 1] = 0.0
    model.layers[0].kernel.assign(kernel)
    parity.transfer(model, module, inputs=X)
    assert parity.compare(model, module, X)


def positive(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        layer.weight.abs_()  # type: ignore[operator, union-attr]
    return parametrize.register_parametrization(layer, "weight", Exp())


def test_any_parametrization_takes_what_it_can_hold_and_refuses_the_rest() -> None:
    model, module = keras_side(), torch_side(positive)
    before = state(module)
    for number in (0, 2, 4):
        model.layers[number].kernel.assign(np.abs(model.layers[number].kernel)) if number != 4 else None
    with pytest.raises(
        UsageError, match=r"torch 5\.weight, which Exp computes.*none of them.*remove_parametr"
    ):
        parity.transfer(model, module, inputs=X)
    assert unchanged(module, before), "nothing was written"
    model.layers[4].kernel.assign(np.abs(model.layers[4].kernel))
    parity.transfer(model, module, inputs=X)
    assert parity.compare(model, module, X)


def test_a_parametrization_without_an_inverse_is_a_source_alone() -> None:
    model, module = keras.Sequential([keras.Input((4,)), L.Dense(4)]), nn.Linear(4, 4)
    parametrize.register_parametrization(module, "weight", Symmetric())
    inputs = X[:, 0, :4, 0]
    parity.transfer(module, model, inputs=inputs)
    assert parity.compare(model, module, inputs)
    before = state(module)
    with pytest.raises(UsageError, match=r"Symmetric computes .* right_inverse"):
        parity.transfer(model, module, inputs=inputs)
    assert unchanged(module, before)


def test_a_parametrization_that_is_another_each_time_is_refused() -> None:
    module = nn.Linear(4, 4)
    parametrize.register_parametrization(module, "weight", Noise())
    before = state(module)
    with pytest.raises(UsageError, match="the same in every pass"):
        parity.transfer(module, keras.Sequential([keras.Input((4,)), L.Dense(4)]))
    assert unchanged(module, before)
    assert computed(module) == {"weight": "Noise"}


class Functional(nn.Module):
    """A class of its own, whose weight is used by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(5, 6)), nn.Parameter(torch.randn(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight, self.bias)


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, nn.utils.weight_norm])
def test_a_computed_weight_of_an_unknown_class_is_paired_by_its_use(wrap: Wrap) -> None:
    model = keras.Sequential([keras.Input((6,)), L.Dense(5)])
    module, inputs = nn.Sequential(wrap(Functional())), np.ones((2, 6), "float32")
    for source, target in ((module, model), (model, module)):
        randomise(adapt(source), 3)
        parity.transfer(source, target, inputs=inputs)
        assert parity.compare(model, module, inputs)


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, nn.utils.weight_norm])
def test_a_recurrent_module_has_its_plain_weights_in_its_list(wrap: Any) -> None:
    module = wrap(nn.GRU(4, 3, batch_first=True), "weight_hh_l0").eval()
    x = torch.randn(2, 5, 4)
    wanted, before = module(x)[0], state(module)
    with plain(module, write_back=False), torch.no_grad():
        assert torch.allclose(module(x)[0], wanted)
        module.weight_hh_l0.zero_()
        assert not torch.allclose(module(x)[0], wanted)
    assert unchanged(module, before)
    assert torch.equal(module(x)[0], wanted)


def test_training_is_compared_as_far_as_it_is_the_same() -> None:
    module = torch_side(parametrizations.weight_norm)
    model = keras_side()
    parity.transfer(module, model, inputs=X)
    before = state(module)
    assert parity.compare(model, module, X, gradients=True, quick=True)
    report = parity.compare(model, module, X, gradients=True, train_steps=2, quick=True)
    assert report.verdict == "INCONCLUSIVE"
    assert {one.kind.value for one in report.findings} == {"not-compared"}
    assert unchanged(module, before)
    model, module = keras_side(spectral=True), torch_side(parametrizations.spectral_norm)
    parity.transfer(module, model, inputs=X)
    report = parity.compare(model, module, X, gradients=True, quick=True)
    assert report.verdict == "INCONCLUSIVE"
    assert all("training" in one.evidence for one in report.findings)


def test_what_fails_inside_leaves_the_module_as_it_was() -> None:
    module = torch_side(parametrizations.spectral_norm)
    before, kind = state(module), type(module[0])

    def fails() -> None:
        with plain(module, write_back=False):
            assert [name for name, _ in module.named_parameters()][:2] == ["0.bias", "0.weight"]
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fails()
    assert unchanged(module, before)
    assert type(module[0]) is kind


def dense_model() -> Any:
    return keras.Sequential([keras.Input((4,)), L.Dense(4)])


def orthogonal_module() -> nn.Module:
    return nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)))


def normed_module() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)))


@pytest.mark.parametrize("module", ["orthogonal_module", "normed_module"])
def test_a_check_of_any_weights_goes_round_both_ways(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    here = Path(__file__)
    assert (
        main(["check", "--keras", f"{here}:dense_model", "--torch", f"{here}:{module}", "--input", "3x4"])
        == 0
    )
    assert "EQUAL" in capsys.readouterr().out
