"""Classes that derive from torch's layers, have a constructor of their own, and are handed on as values."""

from __future__ import annotations

import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("keras")

import parity  # noqa: E402
from parity.porting.to_keras.write import write  # noqa: E402

nn = torch.nn


class LayerNorm(nn.LayerNorm):
    """torch's name, another default."""

    def __init__(self, width, eps=0.3, affine=True):
        super().__init__(width, eps=eps, elementwise_affine=affine)


class Block(nn.Module):
    def __init__(self, width, norm=LayerNorm, last=nn.LayerNorm):
        super().__init__()
        self.norm = norm(width)
        self.mix = nn.Linear(width, width + 1)
        self.last = last(width + 1)

    def forward(self, x):
        return self.last(self.mix(self.norm(x)))


class Net(nn.Module):
    def __init__(self, norm=None):
        super().__init__()
        norm = norm or LayerNorm
        self.first = Block(3, norm=norm)
        self.second = Block(4, norm=norm)

    def forward(self, x):
        return self.second(self.first(x))


def test_the_defaults_of_their_own_constructor_hold() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 5, 3)
    port = write(Net, x)
    assert not port.unwritten
    assert "epsilon=0.3" in port.text
    assert "epsilon=1e-5" in port.text
    room = types.ModuleType("port")
    exec(port.text, vars(room))  # the port is the test's own
    source, model = Net().eval(), room.build()
    model(x.numpy())
    parity.transfer(source, model, inputs=x.numpy())
    np.testing.assert_allclose(np.asarray(model(x.numpy())), source(x).detach().numpy(), atol=1e-5)
