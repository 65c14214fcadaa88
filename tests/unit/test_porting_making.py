"""Constructors of a port, written from how the source's own constructors made the model."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from parity.adapters.torch.recording import record  # noqa: E402
from parity.porting.to_keras.making.made import make  # noqa: E402

nn = torch.nn


class Block(nn.Module):
    def __init__(self, inplanes, planes, stride=1, norm_layer=None):
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = norm_layer(planes)
        self.scale = nn.Parameter(torch.ones(planes, 1, 1))
        self.stride = stride
        self.unread = [1, 2]

    def forward(self, x):
        y = self.bn1(self.conv1(x)) * self.scale
        return y if self.stride > 1 else y + x


class Net(nn.Module):
    def __init__(self, widths=(4, 8), num_classes=10):
        super().__init__()
        self.blocks = nn.Sequential(
            *[Block(3 if i == 0 else widths[i - 1], w, 2) for i, w in enumerate(widths)]
        )
        self.last = Block(widths[-1], widths[-1])
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, x):
        return self.head(self.last(self.blocks(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def made():
    return make(record(Net, torch.rand(2, 3, 9, 8), torch.rand(1, 3, 7, 10)))


def test_one_class_for_each_class(made) -> None:
    assert [(c.group.name, c.bases.split(", ")[-1]) for c in made.classes] == [
        ("Block", "keras.layers.Layer"),
        ("Net", "keras.Model"),
    ]
    assert made.unwritten == ()
    assert made.root == "Net()"


def test_expressions_name_the_arguments(made) -> None:
    block = made.classes[0].constructor
    assert "def __init__(self, inplanes, planes, stride=1, norm_layer=None, **kwargs):" in block
    assert "self.conv1 = PaddedConv2D(planes, 3, strides=stride, padding=1, use_bias=False)" in block
    assert "shape=(planes, 1, 1)" in block
    assert "self.stride = stride" in block
    assert "unread" not in block
    assert "keras.layers.Dense(num_classes)" in made.classes[1].constructor
    assert made.helpers == {"PaddedConv2D"}
