"""Layers that the source changes after it made them: the port changes them too."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("keras")

from tests.ported import proved  # noqa: E402

nn = torch.nn


class Stage(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return torch.relu(self.conv(x)) + self.down(x)


class Dilated(nn.Module):
    """The stride of the last stage becomes dilation."""

    def __init__(self):
        super().__init__()
        self.stages = nn.Sequential(Stage(3, 4, 2), Stage(4, 6, 2))
        for part in self.stages[1].modules():
            if isinstance(part, nn.Conv2d):
                part.stride, part.dilation = (1, 1), (2, 2)
                part.padding = tuple(size // 2 * 2 for size in part.kernel_size)

    def forward(self, x):
        return self.stages(x)


def test_strides_that_become_dilation() -> None:
    text = proved(Dilated, (2, 12, 10, 3)).text
    assert "change_convolution(" in text
    assert "self.stages.layers[1].conv, strides=(1, 1), padding=(2, 2), dilation_rate=(2, 2)" in " ".join(
        text.split()
    )
