"""Ports of what packages of models do: own convolutions and sequences, sizes held by layers, functions of one name."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

from parity.porting.proof import prove  # noqa: E402
from parity.porting.to_keras.write import write  # noqa: E402

nn, F = torch.nn, torch.nn.functional


def padded(x, stride, size):
    need = [
        max((-(-n // step) - 1) * step + kernel - n, 0)
        for n, step, kernel in zip(x.shape[2:], stride, size, strict=True)
    ]
    return F.pad(x, [need[1] // 2, need[1] - need[1] // 2, need[0] // 2, need[0] - need[0] // 2])


class PaddedAtRun(nn.Conv2d):
    """A convolution that pads by the size of what it gets, in two strides."""

    def __init__(self, inputs, outputs, size, step=1):
        super().__init__(inputs, outputs, size, step)

    def forward(self, x):
        x = padded(x, self.stride, self.kernel_size)
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class InTurn(nn.Sequential):
    """A sequence that keeps what each layer gives."""

    def forward(self, x):
        found = []
        for layer in self:
            x = layer(x)
            found.append(x)
        return torch.cat(found, 1)


class Mixed(nn.Module):
    """A kernel size for each part of the channels."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        self.convs = nn.ModuleList(nn.Conv2d(n, n, 2 * k + 1, padding=k) for k, n in enumerate(sizes))

    def forward(self, x):
        parts = torch.split(x, self.sizes, 1)
        return torch.cat([conv(part) for conv, part in zip(self.convs, parts, strict=True)], 1)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = PaddedAtRun(3, 8, 3, 2)
        self.second = PaddedAtRun(8, 8, 5)
        self.rows = InTurn(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.even, self.odd = Mixed([6, 6]), Mixed([5, 4, 3])
        self.last = nn.Conv2d(12, len(self.rows) * 2, 1)

    def forward(self, x):
        return self.last(self.odd(self.even(self.rows(self.second(self.first(x))))))


def proved(port, source, shape: tuple[int, ...], file: Path) -> None:
    assert not port.unwritten, [str(one) for one in port.unwritten]
    file.write_text(port.text)
    values = np.random.default_rng(0).normal(size=shape).astype("float32")
    checks = list(prove(source.eval(), file, values))
    assert len(checks) >= 4, port.text
    assert all(check.verdict == "EQUAL" for check in checks), [str(check) for check in checks]


def test_layers_of_packages(tmp_path: Path) -> None:
    port = write(Network, torch.rand(2, 3, 19, 22), second_inputs=torch.rand(3, 3, 25, 32))
    proved(port, Network(), (2, 19, 22, 3), tmp_path / "port.py")
    for line in ("self.strides, self.kernel_size", "split_sizes(x, self.sizes", "def __len__(self)"):
        assert line in port.text, port.text


def test_two_functions_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rim = "class Rim(nn.Module):\n    def __init__(self, width):\n        super().__init__()\n        self.width = width\n\n"
    rim += "    def forward(self, x):\n        return F.pad(x, [self.width] * 4)\n\n\n"
    made = f"from torch import nn\nfrom torch.nn import functional as F\n\n\n{rim}"
    made += "def half(count, **_):\n    return count // 2\n\n\ndef conv(i, o, k, **more):\n"
    made += "    return nn.Sequential(Rim(half(k, **more)), nn.Conv2d(i, o, k, **more))\n"
    (tmp_path / "first_of_two.py").write_text(made)
    made = "from torch import nn\n\nfrom first_of_two import conv\n\n\ndef half(count):\n    return count // 2 * 2\n\n\n"
    made += "class Two(nn.Module):\n    def __init__(self, width=8):\n        super().__init__()\n"
    made += "        self.first = conv(3, half(width), 3, stride=2)\n"
    made += "        self.last = conv(half(width), width, 5, stride=1)\n\n"
    made += "    def forward(self, x):\n        return self.last(self.first(x))\n"
    (tmp_path / "second_of_two.py").write_text(made)
    monkeypatch.syspath_prepend(tmp_path)
    from second_of_two import Two

    port = write(Two, torch.rand(2, 3, 19, 22), second_inputs=torch.rand(3, 3, 25, 32))
    proved(port, Two(), (2, 19, 22, 3), tmp_path / "port.py")
    assert port.text.count("def half") == 2, port.text
    for name in ("first_of_two", "second_of_two"):
        sys.modules.pop(name, None)


class Rows(nn.Sequential):
    """Layers with settings of their own, and some that all share."""

    def __init__(self, inputs, sizes, rate=0.0, **shared):
        layers = []
        for size in sizes:
            layers += [nn.Linear(inputs, size), nn.ReLU(**shared), nn.Dropout(rate, **shared)]
            inputs = size
        super().__init__(*layers)


def test_a_setting_stays_an_argument_where_other_settings_are_spread(tmp_path: Path) -> None:
    port = write(lambda: Rows(5, [6, 4]), torch.rand(2, 5))
    assert "keras.layers.Dropout(rate)" in port.text, port.text
    proved(port, Rows(5, [6, 4]), (2, 5), tmp_path / "port.py")


class Chosen(nn.Module):
    """A layer whose constructor puts one of two methods in the place of `forward`."""

    def __init__(self, joined=True):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.forward = self.forward_joined if joined else self.forward_plain

    def forward_plain(self, x):
        return self.conv(x)

    def forward_joined(self, x):
        return torch.cat((x, self.conv(x)), 1)


def test_a_method_in_the_place_of_forward(tmp_path: Path) -> None:
    def network():
        return nn.Sequential(Chosen(), nn.ReLU())

    port = write(network, torch.rand(2, 3, 9, 12), second_inputs=torch.rand(3, 3, 8, 7))
    assert "def forward_joined" not in port.text, port.text
    proved(port, network(), (2, 9, 12, 3), tmp_path / "port.py")
