"""Faults that parity has no name for, and faults that look like another: found, placed, and named right or not at all.

Every row holds the same steps without the fault. That is the fix in reality: where a fix is verified, its cause must be one
that the row knows to be true, and the pair without the fault must be EQUAL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

import parity
from tests.attacks.pairs import SHAPE, Module, functional, images

Step = Callable[[Any, Any], Any]
"""What the torch module does between its first and its last convolution: of the module and a tensor."""


def nothing(s: Any, x: Any) -> Any:
    return x


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        steps: the Keras layers and functions between two convolutions.
        fault: what torch does there.
        fixed: what it must do.
        true: the causes that may be named.
        modules: torch's modules there, by name.
        fixed_modules: the same without the fault, where it lies in them.
        places: torch paths of the first finding.
        bias: of the first convolution's channels; far from zero where a sign must be rare.
        shape: of the input.
        before: what torch does to the input; the fault is there.
    """

    steps: Callable[[], list[Any]]
    fault: Step
    fixed: Step = nothing
    true: tuple[str, ...] = ()
    modules: Callable[[], dict[str, nn.Module]] = field(default=dict)
    fixed_modules: Callable[[], dict[str, nn.Module]] | None = None
    places: tuple[str | None, ...] = ("d",)
    bias: tuple[float, ...] = (0.2, -0.4, 0.1, 0.3)
    shape: tuple[int, ...] = SHAPE
    before: Callable[[Any], Any] = lambda x: x


def no_steps() -> list[Any]:
    return []


def relu() -> list[Any]:
    return [ops.relu]


def keras_norm(**options: Any) -> Callable[[], list[Any]]:
    return lambda: [L.BatchNormalization(epsilon=1e-5, name="n", **options)]


def by_hand(inside: bool) -> Step:
    """x / sqrt(v + e) or x / (sqrt(v) + e), over the channels."""

    def step(s: Any, x: Any) -> Any:
        mean, v = x.mean(1, keepdim=True), x.var(1, unbiased=False, keepdim=True)
        return (x - mean) / (torch.sqrt(v + 1e-3) if inside else torch.sqrt(v) + 1e-3)

    return step


def keras_by_hand(x: Any) -> Any:
    mean, v = ops.mean(x, -1, keepdims=True), ops.var(x, -1, keepdims=True)
    return (x - mean) / ops.sqrt(v + 1e-3)


def masked(x: Any) -> Any:
    mask = torch.ones(x.shape[2:], dtype=x.dtype)
    mask[3:5, 4] = 0.0
    return x * mask


def neighbours(s: Any, x: Any) -> Any:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def shuffled(x: Any) -> Any:
    n, c, h, w = x.shape
    return x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def tokens_norm(s: Any, x: Any) -> Any:
    return F.layer_norm(x.permute(0, 2, 3, 1), (4,), eps=1e-5).permute(0, 3, 1, 2)


def group_norm(groups: int) -> Callable[[], dict[str, nn.Module]]:
    return lambda: {"n": nn.GroupNorm(groups, 4)}


def batch_norm() -> dict[str, nn.Module]:
    return {"n": nn.BatchNorm2d(4)}


def instance_norm(s: Any, x: Any) -> Any:
    weight, bias = s.n.weight, s.n.bias
    return F.instance_norm(x, weight=weight, bias=bias, eps=s.n.eps)


class Instance(nn.BatchNorm2d):
    """Normalises each example by itself, with the tensors of a batch normalisation."""

    def forward(self, x: Any) -> Any:
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


def slopes(s: Any, x: Any) -> Any:
    return F.prelu(x, torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=x.dtype))


def zero_padded(s: Any, x: Any) -> Any:
    return F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 1)


def own_padding(s: Any, x: Any) -> Any:
    return F.max_pool2d(x, 3, 1, 1)


def keras_zero_padded() -> list[Any]:
    return [L.ZeroPadding2D(1), L.MaxPooling2D(3, strides=1)]


def keras_reflected() -> list[Any]:
    return [lambda v: ops.pad(v, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"), L.Conv2D(4, 3, name="e")]


def named(module: Callable[[], nn.Module], name: str) -> Callable[[], dict[str, nn.Module]]:
    return lambda: {name: module()}


SELDOM = (2.0, 2.5, 3.0, 3.5)
"""Biases that leave few negative elements."""
LOW = (0.5, -3.0, 2.0, -6.0)
"""Biases that make whole channels negative."""

ROWS: dict[str, Row] = {
    # --- padding and pooling
    "zeros in front of a maximum, Keras": Row(keras_zero_padded, own_padding, zero_padded, ("padding-size",)),
    "zeros in front of a maximum, negative channels": Row(keras_zero_padded, own_padding, zero_padded,
                                                          ("padding-size",), bias=LOW),
    "zeros in front of a maximum, few of them": Row(keras_zero_padded, own_padding, zero_padded,
                                                    ("padding-size",), bias=(1.5, 1.2, 0.9, 1.0)),
    "zeros in front of a maximum, torch": Row(lambda: [L.MaxPooling2D(3, strides=1, padding="same")], zero_padded,
                                              own_padding, ("padding-size",), bias=LOW),
    "a maximum over 5 with zeros": Row(lambda: [L.ZeroPadding2D(2), L.MaxPooling2D(5, strides=1)],
                                       lambda s, x: F.max_pool2d(x, 5, 1, 2),
                                       lambda s, x: F.max_pool2d(F.pad(x, (2, 2, 2, 2)), 5, 1), ("padding-size",),
                                       bias=LOW),
    "reflected for zeros": Row(keras_reflected, lambda s, x: s.e(x),
                               lambda s, x: F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), s.e.weight, s.e.bias),
                               ("padding-size",), named(lambda: nn.Conv2d(4, 4, 3, padding=1), "e"), places=("e",)),
    "a convolution's border cleared": Row(lambda: [L.Conv2D(4, 3, padding="same", name="e")],
                                          lambda s, x: F.pad(s.e(x)[..., 1:-1, 1:-1], (1, 1, 1, 1)),
                                          lambda s, x: s.e(x), (),
                                          named(lambda: nn.Conv2d(4, 4, 3, padding=1), "e"), places=("d", "e")),
    "average for maximum": Row(lambda: [L.MaxPooling2D(2)], lambda s, x: F.avg_pool2d(x, 2),
                               lambda s, x: F.max_pool2d(x, 2)),
    "neighbours averaged": Row(no_steps, neighbours),
    "a power mean for an average": Row(lambda: [L.AveragePooling2D(2)], lambda s, x: F.lp_pool2d(x.abs(), 2.0, 2) / 2,
                                       lambda s, x: F.avg_pool2d(x, 2)),
    # --- activations
    "an unshared PReLU of zeros": Row(lambda: [L.PReLU(name="p")], lambda s, x: s.p(x), lambda s, x: F.relu(x), (),
                                      named(lambda: nn.PReLU(4), "p"), places=("d", "p")),
    "slopes by channel": Row(lambda: [lambda v: ops.leaky_relu(v, 0.2)], slopes, lambda s, x: F.leaky_relu(x, 0.2)),
    "ELU of another alpha": Row(lambda: [lambda v: ops.elu(v, 0.5)], lambda s, x: F.elu(x),
                                lambda s, x: F.elu(x, 0.5)),
    "an absolute value": Row(relu, lambda s, x: x.abs(), lambda s, x: F.relu(x), ("activation-kind",)),
    "an absolute value, one sign rare": Row(no_steps, lambda s, x: x.abs(), true=("activation-missing",),
                                            bias=SELDOM),
    "a clamp at -0.5": Row(relu, lambda s, x: x.clamp(min=-0.5), lambda s, x: F.relu(x)),
    "a clamp at -0.5, seldom": Row(no_steps, lambda s, x: x.clamp(min=-0.5), bias=SELDOM),
    "clipped to one": Row(no_steps, lambda s, x: x.clamp(-1.0, 1.0)),
    "a square of a ReLU": Row(relu, lambda s, x: F.relu(x) ** 2, lambda s, x: F.relu(x)),
    "ReLU6 for ReLU, seldom": Row(relu, lambda s, x: F.relu6(x), lambda s, x: F.relu(x), ("activation-kind",),
                                  bias=(2.5, 3.0, 0.0, 0.0)),
    "a ReLU, seldom": Row(relu, nothing, lambda s, x: F.relu(x), ("activation-missing",), bias=SELDOM),
    "a leaky ReLU, seldom": Row(relu, lambda s, x: F.leaky_relu(x, 0.3), lambda s, x: F.relu(x),
                                ("activation-kind", "leaky-relu-slope", "activation-missing"),
                                bias=SELDOM),
    "a hard tanh": Row(lambda: [ops.tanh], lambda s, x: F.hardtanh(x), lambda s, x: torch.tanh(x)),
    "a sigmoid twice as steep": Row(lambda: [ops.sigmoid], lambda s, x: torch.sigmoid(2.0 * x),
                                    lambda s, x: torch.sigmoid(x)),
    "a softmax at another temperature": Row(lambda: [lambda v: ops.softmax(v, -1)], lambda s, x: (x / 2).softmax(1),
                                            lambda s, x: x.softmax(1)),
    "a bias behind the ReLU": Row(lambda: [lambda v: ops.relu(v + 0.5)], lambda s, x: F.relu(x) + 0.5,
                                  lambda s, x: F.relu(x + 0.5)),
    "a shrinkage": Row(no_steps, lambda s, x: F.softshrink(x, 0.05)),
    # --- scales, places and order
    "half of it": Row(no_steps, lambda s, x: 0.5 * x),
    "one part in a million": Row(no_steps, lambda s, x: x * (1.0 + 1e-6)),
    "a floor of noise": Row(no_steps, lambda s, x: x + 1e-7 * torch.sin(1e3 * x)),
    "values rounded to 1/256": Row(no_steps, lambda s, x: torch.round(x * 256) / 256),
    "float32 in between": Row(no_steps, lambda s, x: x.float().to(x.dtype)),
    "rolled by a row": Row(no_steps, lambda s, x: x.roll(1, 2)),
    "rolled by a channel": Row(no_steps, lambda s, x: x.roll(1, 1)),
    "channels exchanged in halves": Row(no_steps, lambda s, x: torch.cat([x, x], 1)[:, 2:6]),
    "channels shuffled": Row(no_steps, lambda s, x: shuffled(x)),
    "columns reversed": Row(no_steps, lambda s, x: x.flip(3)),
    "height and width exchanged": Row(no_steps, lambda s, x: x.transpose(2, 3), shape=(2, 12, 12, 3)),
    "two pixels cleared": Row(no_steps, lambda s, x: masked(x)),
    "the mean of the image taken off": Row(no_steps, lambda s, x: x - x.mean((2, 3), keepdim=True)),
    "the input's rows reversed": Row(no_steps, nothing, before=lambda x: x.flip(2), places=("c",)),
    "the input's logarithm": Row(no_steps, nothing, before=lambda x: torch.log1p(x.abs()), places=("c",)),
    # --- normalisations
    "epsilon outside the root": Row(lambda: [keras_by_hand], by_hand(False), by_hand(True)),
    "an epsilon too small to show": Row(lambda: [lambda v: ops.sqrt(ops.sum(v * v, axis=-1, keepdims=True) + 1e-14) + v],
                                        lambda s, x: ((x * x).sum(1, keepdim=True) + 1e-6).sqrt() + x,
                                        lambda s, x: ((x * x).sum(1, keepdim=True) + 1e-14).sqrt() + x,
                                        ("epsilon-value",)),
    "local response": Row(lambda: [keras_norm()()[0]], lambda s, x: F.local_response_norm(s.n(x), 3),
                          lambda s, x: s.n(x), (), batch_norm),
    "instances for the batch": Row(keras_norm(), lambda s, x: s.n(x), lambda s, x: s.n(x), (),
                                   named(lambda: Instance(4), "n"), batch_norm, ("n",)),
    "one instance for the batch": Row(keras_norm(), instance_norm, lambda s, x: s.n(x), (), batch_norm,
                                      places=("d", "n"), shape=(1, 12, 16, 3)),
    "two groups for four": Row(lambda: [L.GroupNormalization(4, epsilon=1e-5, name="n")], lambda s, x: s.n(x),
                               lambda s, x: s.n(x), (), group_norm(2), group_norm(4), ("n",)),
    "one group for the channels": Row(lambda: [L.LayerNormalization(epsilon=1e-5, center=False, scale=False)],
                                      lambda s, x: F.group_norm(x, 1), tokens_norm),
    "the spread without its bias": Row(lambda: [keras_by_hand],
                                       lambda s, x: (x - x.mean(1, True)) / (x.var(1, keepdim=True) + 1e-3).sqrt(),
                                       by_hand(True)),
    # --- sums
    "a branch at eight tenths": Row(lambda: [lambda v: v + ops.tanh(v)], lambda s, x: x + 0.8 * torch.tanh(x),
                                    lambda s, x: x + torch.tanh(x)),
    "a sum by einsum for a mean": Row(lambda: [lambda v: v + ops.mean(v, axis=1, keepdims=True)],
        lambda s, x: x + torch.einsum("bchw->bcw", x).unsqueeze(2), lambda s, x: x + x.mean(2, keepdim=True)),
    "a product with ones for a mean": Row(lambda: [lambda v: v + ops.mean(v, axis=1, keepdims=True)],
        lambda s, x: x + torch.ones(1, x.shape[2], dtype=x.dtype) @ x, lambda s, x: x + x.mean(2, keepdim=True)),
    "the branch's sign": Row(lambda: [lambda v: v + ops.tanh(v)], lambda s, x: x - torch.tanh(x),
                             lambda s, x: x + torch.tanh(x)),
    "a product for a sum": Row(lambda: [lambda v: v + ops.tanh(v)], lambda s, x: x * torch.tanh(x),
                               lambda s, x: x + torch.tanh(x)),
    # --- resizing
    "nearest for bilinear": Row(lambda: [L.UpSampling2D(2, interpolation="bilinear")],
                                lambda s, x: F.interpolate(x, scale_factor=2.0),
                                lambda s, x: F.interpolate(x, scale_factor=2.0, mode="bilinear"), ("resize-mode",)),
    "bilinear, then blurred": Row(lambda: [L.UpSampling2D(2, interpolation="bilinear")],
                                  lambda s, x: neighbours(s, F.interpolate(x, scale_factor=2.0, mode="bilinear")),
                                  lambda s, x: F.interpolate(x, scale_factor=2.0, mode="bilinear")),
    "every second pixel": Row(lambda: [L.AveragePooling2D(2)], lambda s, x: x[..., ::2, ::2],
                              lambda s, x: F.avg_pool2d(x, 2)),
}  # fmt: skip

STEPS: dict[str, tuple[str, ...]] = {
    "average for maximum": ("pool-kind",), "neighbours averaged": ("step-missing",),
    "an unshared PReLU of zeros": ("shared-axes",), "ELU of another alpha": ("constant-value",),
    "a clamp at -0.5": ("constant-value",), "a clamp at -0.5, seldom": ("step-missing",),
    "clipped to one": ("step-missing",), "a square of a ReLU": ("step-missing",), "a hard tanh": ("activation-kind",),
    "a sigmoid twice as steep": ("step-missing",), "a softmax at another temperature": ("step-missing",),
    "a shrinkage": ("step-missing",), "half of it": ("step-missing",), "one part in a million": ("step-missing",),
    "a floor of noise": ("skip-missing",), "values rounded to 1/256": ("step-missing",),
    "float32 in between": ("float32-cast",), "rolled by a row": ("step-missing",),
    "rolled by a channel": ("step-missing",), "channels exchanged in halves": ("slice-offset",),
    "columns reversed": ("step-missing",), "two pixels cleared": ("step-missing",),
    "the mean of the image taken off": ("step-missing",), "the input's rows reversed": ("step-missing",),
    "epsilon outside the root": ("epsilon-place",), "local response": ("step-missing",),
    "two groups for four": ("normalised-axes",), "one group for the channels": ("normalised-axes",),
    "the spread without its bias": ("variance-correction",), "a branch at eight tenths": ("step-missing",),
    "the branch's sign": ("constant-value",), "bilinear, then blurred": ("step-missing",),
}  # fmt: skip
"""Rows whose fault is one step of torch's, changed or one too many: what that step is called."""


def seeded(module: nn.Module, bias: tuple[float, ...]) -> nn.Module:
    """The same module with random weights, positive where they must be."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if name.endswith(("running_var", "n.weight")):
                value.uniform_(0.5, 1.5, generator=generator)
            elif value.is_floating_point() and not name.startswith("p."):
                value.copy_(torch.randn(value.shape, generator=generator) * (0.3 if value.dim() > 1 else 0.2))
        module.c.bias.copy_(torch.tensor(bias))
    return module.eval()


def pair(
    row: Row, step: Step, modules: dict[str, nn.Module], before: Callable[[Any], Any]
) -> tuple[Any, Any]:
    parts = {"c": nn.Conv2d(3, 4, 3), **modules, "d": nn.Conv2d(4, 5, 1)}
    module = seeded(Module(lambda s, x: s.d(step(s, s.c(before(x)))), **parts), row.bias)
    model = functional(L.Conv2D(4, 3, name="c"), *row.steps(), L.Conv2D(5, 1, name="d"), shape=row.shape[1:])
    parity.transfer(module, model, inputs=images(shape=row.shape), strict=False)
    return model, module


@pytest.mark.parametrize("name", ROWS)
def test_a_fault_is_named_right_or_not_at_all(name: str) -> None:
    row = ROWS[name]
    values = images(shape=row.shape)
    report = parity.compare(*pair(row, row.fault, row.modules(), row.before), values)
    assert report.verdict == "DIVERGED", str(report)
    assert report.first is not None
    assert report.first.torch in row.places, str(report)
    named = {finding.cause for finding in report.findings} - {None}
    true = {*row.true, *STEPS.get(name, ())}
    assert named <= true, str(report)
    for finding in report.findings:
        assert not finding.fix_verified or finding.cause in true, str(report)


@pytest.mark.parametrize("name", [name for name in ROWS if "unshared" not in name])
def test_without_the_fault_the_pair_is_equal(name: str) -> None:
    row = ROWS[name]
    modules = row.modules() if row.fixed_modules is None else row.fixed_modules()
    model, module = pair(row, row.fixed, modules, lambda x: x)
    report = parity.compare(model, module, images(shape=row.shape))
    assert report.verdict == "EQUAL", str(report)


def test_what_must_be_named_is_named() -> None:
    """A table that names nothing would pass as well."""
    wanted = {"zeros in front of a maximum, negative channels": "padding-size",
              "a ReLU, seldom": "activation-missing", "nearest for bilinear": "resize-mode"}  # fmt: skip
    for name, cause in wanted.items():
        row = ROWS[name]
        report = parity.compare(*pair(row, row.fault, row.modules(), row.before), images(shape=row.shape))
        assert [(f.cause, f.fix_verified) for f in report.findings] == [(cause, True)], f"{name}: {report}"
