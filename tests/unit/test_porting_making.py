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
    assert "norm_layer = norm_layer or BatchNorm2d" in block
    assert "self.bn1 = norm_layer(planes)" in block
    assert "self.conv1 = PaddedConv2D(planes, 3, strides=stride, padding=1, use_bias=False)" in block
    assert "shape=(planes, 1, 1)" in block
    assert "self.stride = stride" in block
    assert "unread" not in block
    assert "keras.layers.Dense(num_classes)" in made.classes[1].constructor
    assert "PaddedConv2D" in made.helpers
    assert (
        "return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-05)" in made.functions["BatchNorm2d"]
    )


def conv1x1(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)


class Staged(nn.Module):
    expansion = 2

    def __init__(self, block, depths, width=4, dropout=0.0, deep=False):
        super().__init__()
        self.width = width
        if dropout > 1:
            raise ValueError("too much")
        # the stem
        self.stem = conv1x1(3, width)
        self.stages = nn.ModuleList([self._stage(block, depth, i) for i, depth in enumerate(depths)])
        self.drop = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight)

    def _stage(self, block, depth, index):
        layers = []
        for _ in range(depth):
            layers.append(block(self.width, self.width))
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.drop(x)


def test_the_source_s_own_statements_stay() -> None:
    made = make(record(lambda: Staged(Block, [1, 2]), torch.rand(2, 3, 9, 8)))
    assert made.notes == ()
    assert made.unwritten == ()
    staged = made.classes[-1]
    assert staged.syntactic
    assert staged.constructor.splitlines() == [
        "def __init__(self, block, depths, width=4, dropout=0.0, deep=False, **kwargs):",
        "    super().__init__(**kwargs)",
        "    self.width = width",
        "    if dropout > 1:",
        '        raise ValueError("too much")',
        "    # the stem",
        "    self.stem = conv1x1(3, width)",
        "    self.stages = [self._stage(block, depth, i) for i, depth in enumerate(depths)]",
        "    self.drop = keras.layers.Dropout(dropout) if dropout > 0 else keras.layers.Identity()",
    ]
    assert staged.methods["_stage"].splitlines()[-1] == "    return keras.Sequential(layers)"
    assert "keras.layers.Conv2D(outputs, 1, strides=stride, use_bias=False)" in made.functions["conv1x1"]
    assert made.root == "Staged(Block, [1, 2])"
    assert "expansion = 2" in staged.constants


def test_what_cannot_be_said_is_said_by_what_it_was() -> None:
    class Odd(nn.Module):
        def __init__(self, kinds):
            super().__init__()
            table = {"a": nn.ReLU, "b": nn.Tanh}
            self.parts = nn.Sequential(*[table[kind]() for kind in kinds])

        def forward(self, x):
            return self.parts(x)

    made = make(record(lambda: Odd("ab"), torch.rand(2, 3)))
    assert made.unwritten == ()
    text = made.classes[0].constructor
    one = 'keras.layers.ReLU() if kind == "a" else keras.layers.Activation("tanh")'
    assert f"keras.Sequential([({one}) for kind in kinds])" in text
