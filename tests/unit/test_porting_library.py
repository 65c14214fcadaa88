"""Ports that take layers from the two packages of networks instead of carrying helpers with them."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

from parity.core.verdict import Verdict  # noqa: E402
from parity.porting.port import port  # noqa: E402
from tests.ported import proved  # noqa: E402

nn = torch.nn
L = keras.layers


class Decoder(nn.Module):
    """Helpers of every sort: with the library and without one."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.up = nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1, output_padding=1)
        self.smooth = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.aligned = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.shuffle = nn.PixelShuffle(2)
        self.context = nn.AdaptiveAvgPool2d((2, 3))
        self.head = nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Any) -> Any:
        x = self.up(self.pool(torch.relu(self.bn(self.conv(x)))))
        return self.context(self.head(self.shuffle(self.aligned(self.smooth(x)))))


class Stack(nn.Module):
    """Convolutions whose inputs' channels are another number in each instance, and one that is changed later."""

    def __init__(self, widths: tuple[int, ...] = (3, 4, 6)) -> None:
        super().__init__()
        self.units = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in itertools.pairwise(widths))

    def forward(self, x: Any) -> Any:
        for unit in self.units:
            x = torch.relu(unit(x))
        return x


def changed() -> Any:
    """Strides that are taken away after the constructor, as in dilated backbones."""
    net = Stack()
    net.units[1].stride, net.units[1].dilation, net.units[1].padding = (1, 1), (2, 2), (2, 2)
    return net


def test_a_keras_port_takes_what_tf_impl_has_and_keeps_the_other_helpers() -> None:
    made = proved(Decoder, (2, 17, 22, 3), library=True)
    assert "import tf_impl.layers\n" in made.text
    used = set(re.findall(r"tf_impl\.layers\.(\w+)", made.text))
    assert used == {"Conv2d", "BatchNorm2d", "MaxPool2d", "ConvTranspose2d", "UpSampling2d"}
    assert "tf_impl.layers.ConvTranspose2d(" in made.text
    assert "self.conv = tf_impl.layers.Conv2d(3, channels, 3, stride=2, padding=1, bias=False)" in made.text
    gone = {"TransposedConv2D", "PaddedMaxPooling"}
    kept = {"PaddedConv2D", "Resize", "PixelShuffle", "AdaptiveAveragePooling"}
    assert not gone & set(made.written.helpers)
    assert kept <= set(made.written.helpers)


def test_without_the_flag_nothing_comes_from_the_library() -> None:
    made = proved(Stack, (2, 17, 22, 3))
    assert "tf_impl" not in made.text
    assert "PaddedConv2D" in made.written.helpers


@pytest.mark.parametrize("build", [Stack, changed])
def test_channels_of_each_instance_and_changed_strides(build: Any) -> None:
    made = proved(build, (2, 17, 22, 3), library=True)
    assert ("tf_impl.layers.Conv2d(" in made.text) == (build is Stack)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, 'torch_impl.layers.Conv2DTranspose(4, 4, 3, stride=2, padding="same")'),
        ({"output_padding": 0}, None),
        (
            {"kernel_size": 2, "padding": "valid", "strides": 3, "output_padding": 2},
            None,
        ),
    ],
)
def test_a_torch_port_takes_transposed_convolutions_that_cut_odd_numbers(more: Any, text: str | None) -> None:
    sizes = {"kernel_size": 3, "strides": 2, "padding": "same"}
    x = image = keras.Input((None, None, 3))
    x = L.Conv2D(4, 3, strides=2, padding="same", name="down")(x)  # the library has no such layer
    x = L.Conv2DTranspose(4, name="up", **{**sizes, **more})(x)
    x = L.Conv2DTranspose(3, 4, strides=2, padding="same", activation="relu", name="even")(x)
    model = keras.Model(image, x, name="net")
    images = np.random.default_rng(0).normal(size=(2, 17, 22, 3)).astype("float32")
    made = port(model, images, library=True, quick=True)
    assert made.verdict is Verdict.EQUAL, made.text
    assert "Conv2dSame" in made.written.helpers
    assert "ConvTranspose2dSame" not in made.text
    if text is None:
        assert "torch_impl" not in made.text
    else:
        assert text in made.text
        assert "import torch_impl.layers\n" in made.text
        assert "self.even = nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1)" in made.text
