"""Forward bodies from torch to Keras: the port of small networks computes what the network does."""

from __future__ import annotations

import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

import parity  # noqa: E402
from parity.porting.to_keras.write import write  # noqa: E402

nn, F = torch.nn, torch.nn.functional


class Shuffled(nn.Module):
    """Groups of channels exchanged, gated, and joined."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.gate = nn.Linear(8, 8)

    def forward(self, x):
        x = F.relu(self.conv(x))
        b, c, h, w = x.shape
        x = x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        gate = torch.sigmoid(self.gate(x.mean((2, 3)))).view(b, c, 1, 1)
        first, second = torch.chunk(x * gate, 2, dim=1)
        x = torch.cat([second, first, F.pad(first, (1, 0, 0, 1))[:, :, 1:, :-1]], 1)
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Attention(nn.Module):
    """Tokens of an image that attend to one another."""

    def __init__(self, dim=8, heads=2):
        super().__init__()
        self.heads = heads
        self.patches = nn.Conv2d(3, dim, 4, 4)
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.token = nn.Parameter(torch.randn(1, 1, dim))
        self.head = nn.Linear(dim, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1)
        B, N, C = x.shape
        qkv = self.qkv(self.norm(x)).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = (q @ k.transpose(-2, -1)) * (C // self.heads) ** -0.5
        x = x + (weights.softmax(dim=-1) @ v).transpose(1, 2).reshape(B, N, C)
        return self.head(x[:, 0])


class Flattened(nn.Module):
    """An image flattened in front of a dense layer, with a statement in place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d((3, 2))
        self.head = nn.Linear(24, 5)

    def forward(self, x):
        x = self.conv(x)
        x += 0.5
        x = self.pool(x)
        return self.head(torch.flatten(x, 1))


def ported(model, inputs, second):
    port = write(model, torch.rand(*inputs), second_inputs=torch.rand(*second))
    module = types.ModuleType("port")
    exec(compile(port.text, "port", "exec"), module.__dict__)
    return port, module.build()


@pytest.mark.parametrize("model", [Shuffled, Attention, Flattened])
def test_a_port_computes_what_the_network_does(model) -> None:
    torch.manual_seed(0)
    port, network = ported(model, (2, 3, 16, 24), (3, 3, 24, 8))
    assert port.unwritten == ()
    source = model().eval()
    x = torch.rand(3, 3, 24, 16)
    images = x.permute(0, 2, 3, 1).numpy()
    parity.transfer(source, network, inputs=images)
    with torch.no_grad():
        wanted = source(x).numpy()
    wanted = wanted.transpose(0, 2, 3, 1) if wanted.ndim == 4 else wanted
    np.testing.assert_allclose(np.asarray(network(images)), wanted, atol=2e-5)


def test_permutes_of_images_vanish() -> None:
    port, _ = ported(Shuffled, (2, 3, 16, 24), (3, 3, 24, 8))
    method = port.text[port.text.index("def call(self, x):") :]
    assert method.count("transpose") == 0
    assert method.count("swapaxes") == 1  # of the two axes of the groups
    assert "b, h, w, c = ops.shape(x)" in method


def test_an_operation_without_rule_is_a_stub_with_its_place() -> None:
    class Spectral(nn.Module):
        def forward(self, x):
            x = x * 2
            return torch.fft.fft2(x).abs()

    port = write(Spectral, torch.rand(2, 3, 8, 8))
    assert [(problem.file, problem.line > 0) for problem in port.unwritten] == [(__file__, True)]
    assert "fft2" in port.unwritten[0].operation
    assert "raise NotImplementedError" in port.text
    assert "# torch: return torch.fft.fft2(x).abs()" in port.text
    assert "x = x * 2" in port.text
