"""torch_impl in channels_last format: the faster forms give what PyTorch's own give."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.conftest import needs

STRIDES = [(2, 2), (2, 3), (1, 3)]
PADDINGS = [0, 1, (0, 2)]
REST = [(1, 0), (1, (1, 0)), (4, (2, 3))]  # dilation, output_padding


def layer(stride: Any, padding: Any, rest: Any, groups: int, bias: bool) -> Any:
    """A layer of one tap in float64, or None where PyTorch itself allows none such."""
    import torch

    from torch_impl.layers import ConvTranspose2d

    torch.manual_seed(0)
    dilation, output_padding = rest
    try:
        return ConvTranspose2d(4, 6, 1, stride, padding, output_padding, dilation, groups, bias).double()
    except ValueError:
        return None


def outcome(module: Any, x: Any, form: Any) -> list[Any]:
    """Output and gradients, of the input first."""
    import torch

    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = form(module, x)
    parts = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    return [y, *torch.autograd.grad((y * parts).sum(), [x, *module.parameters()])]


def assert_same(got: list[Any], want: list[Any]) -> None:
    for mine, theirs in zip(got, want, strict=True):
        assert mine.shape == theirs.shape
        assert (mine - theirs).abs().max() <= 1e-12 * theirs.abs().max()


def test_one_tap_gives_what_pytorch_gives() -> None:
    needs("torch")
    import torch
    from torch import nn

    tried = 0
    for case in itertools.product(STRIDES, PADDINGS, REST, (1, 2), (True, False)):
        module = layer(*case)
        if module is None:
            continue
        x = torch.randn(2, 4, 4, 5, dtype=torch.float64).to(memory_format=torch.channels_last)
        own = outcome(module, x, nn.ConvTranspose2d.forward)
        assert_same(outcome(module, x, type(module).forward), own)
        tried += 1
    assert tried > 60


def test_which_form_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's own for contiguous memory, for more taps, for stride 1 and for output_size."""
    needs("torch")
    import torch
    from torch import nn

    from torch_impl.layers import ConvTranspose2d

    calls: list[int] = []
    own = nn.ConvTranspose2d.forward

    def counted(self: Any, *given: Any) -> Any:
        calls.append(1)
        return own(self, *given)

    monkeypatch.setattr(nn.ConvTranspose2d, "forward", counted)
    x = torch.randn(2, 4, 4, 5)
    together = x.to(memory_format=torch.channels_last)
    one_tap = ConvTranspose2d(4, 6, 1, stride=2)
    y = one_tap(together)
    assert not calls
    assert y.is_contiguous(memory_format=torch.channels_last)
    one_tap(x)
    one_tap(together, [8, 10])
    ConvTranspose2d(4, 6, 3, stride=2)(together)
    ConvTranspose2d(4, 6, 1)(together)
    assert len(calls) == 4


def test_munet_in_both_memory_formats() -> None:
    """Outputs, gradients and running statistics, in float64."""
    needs("torch")
    import copy

    import torch

    from torch_impl.munet import mUnet

    torch.manual_seed(0)
    plain = mUnet(depth=4).double()
    fast = copy.deepcopy(plain).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.rand(2, 3, 24, 33, dtype=torch.float64)
    found = []
    for model, images in ((plain, x), (fast, x.to(memory_format=torch.channels_last))):
        y = model(images)
        (y**2).mean().backward()
        found.append(
            (y, {name: each.grad for name, each in model.named_parameters()}, dict(model.named_buffers()))
        )
    (want, slopes, kept), (got, mine, ours) = found
    assert_same([got], [want])
    assert fast.state_dict().keys() == plain.state_dict().keys()
    scale = max(each.abs().max() for each in slopes.values() if each is not None)
    for name, slope in slopes.items():
        assert (slope is None) == (mine[name] is None)
        if slope is not None:
            assert (mine[name] - slope).abs().max() <= 1e-12 * scale, name
    assert_same([ours[name].double() for name in kept], [each.double() for each in kept.values()])
