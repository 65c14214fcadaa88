"""Constructors as models of other people write them: settings passed on, containers of their own, further methods."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("keras")

import parity  # noqa: E402
from parity.adapters.torch.recording import record  # noqa: E402
from parity.porting.to_keras.making.made import make  # noqa: E402

nn = torch.nn


def proved(build, size=(2, 9, 12, 3)):
    """The port of a model, which must be whole and equal, at another size too, and saved and loaded."""
    image = np.random.default_rng(0).normal(size=size).astype("float32")
    made = parity.port(build, image, quick=True)
    assert made.unwritten == ()
    assert str(made.verdict) == "EQUAL", [str(one) for one in made.proofs]
    return made.written.text


class Normed(nn.BatchNorm2d):
    def __init__(self, width, eps=1e-5, device=None, dtype=None):
        kwargs = {"device": device, "dtype": dtype}
        super().__init__(width, eps=eps, **kwargs)

    def forward(self, x):
        return super().forward(x).relu()


class Squeeze(nn.Module):
    def __init__(self, width, **_):
        super().__init__()
        self.gate = nn.Conv2d(width, width, 1)

    def forward(self, x):
        return x * self.gate(x).sigmoid()


class Widths(nn.Module):
    def __init__(self, width, conv_kwargs=None, device=None, dtype=None, **more):
        dd = {"device": device, "dtype": dtype}
        conv_kwargs = {**dd, **(conv_kwargs or {})}
        super().__init__()
        self.conv = nn.Conv2d(width, width, more.get("size", 3), padding=1, **dd)
        self.norm = Normed(width, **conv_kwargs)

    def forward(self, x):
        return self.norm(self.conv(x))


class Gathering(nn.Sequential):
    def __init__(self, *parts):
        super().__init__(*parts)

    def forward(self, x):
        found = [x]
        for part in self:
            found.append(part(found[-1]))
        return torch.cat(found, 1)


class Net(nn.Module):
    def __init__(self, width=6, depth=2):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 1)
        self.blocks = nn.Sequential()
        for i in range(depth):
            self.blocks.add_module(str(i), Widths(width, size=3))
        self.gathering = Gathering(*[Squeeze(width, unused=i) for i in range(depth)])
        self.head = nn.Sequential(OrderedDict([("act", nn.ReLU()), ("last", nn.Conv2d(3 * width, 4, 1))]))

    def forward(self, x):
        y = self.blocks(self.stem(x))
        left, right = y.split(self.stem.out_channels // 2, dim=1)
        y = self.gathering(torch.cat([right, left], 1))
        return self.head.last(self.head.act.forward(y))


@pytest.mark.filterwarnings(
    "ignore:`build:UserWarning"
)  # Keras builds no Sequential whose layers alone are called
def test_what_passes_through_a_constructor_reaches_the_layers() -> None:
    text = proved(Net)
    assert "self.blocks = keras.Sequential()" in text
    assert "self.blocks.add(Widths(width, size=3))" in text
    assert "setattr(self, str(index), layer)" in text
    assert "super().__init__(name=name, trainable=trainable, dtype=dtype)" in text
    assert "conv_kwargs = {**(conv_kwargs or {})}" in text
    assert 'self.head.get_layer("last")(self.head.get_layer("act")(y))' in text


class First(nn.Module):
    def __init__(self, width, norm=Normed):
        super().__init__()
        self.norm = norm(width)

    def forward(self, x):
        return self.norm(x)


class Wider(Normed):
    pass


class Second(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = First(3, Wider)
        self.last = Normed(3)

    def forward(self, x):
        return self.last(self.first(x))


def test_a_class_stands_behind_those_that_its_defaults_name() -> None:
    names = [written.group.name for written in make(record(Second, torch.rand(2, 3, 5, 4))).classes]
    assert names.index("Normed") < names.index("First")


class Picked(nn.ModuleDict):
    def __init__(self, model, last):
        layers = OrderedDict()
        for name, module in model.named_children():
            layers[name] = module
            if name == last:
                break
        super().__init__(layers)

    def forward(self, x):
        for layer in self.values():
            x = layer(x)
        return x


def test_the_first_layers_of_another_model() -> None:
    text = proved(lambda: Picked(Net(), "blocks"))
    assert "def __init__(self, last, **kwargs):" in text or "def __init__(self, **kwargs):" in text


class Padded(nn.Module):
    def __init__(self, width, size=1):
        super().__init__()
        self.conv = padded(width, width * 2, size)

    def forward(self, x):
        return self.conv(x)


def padded(inputs, outputs, size, pad="", **kwargs):
    """A convolution whose padding is computed from a word."""
    widths = {"": (size - 1) // 2}
    return nn.Conv2d(inputs, outputs, size, padding=widths[pad], **kwargs)


def test_a_formula_fits_everywhere() -> None:
    """The inputs are three times the padding of the first, and the second has none."""
    text = proved(lambda: nn.Sequential(Padded(3, 3), Padded(6, 1)))
    assert "// 3" not in text


@dataclass
class Config:
    """What a network is made of."""

    width: int = 6  # of each layer
    depth: int = 2
    act: type = nn.ReLU
    sizes: list = field(default_factory=lambda: [3, 1])
    dropout: float = 0.0


class Options:
    def __init__(self, width, wide):
        self.width = width * 2 if wide else width
        self.stride = 1


class Inner(nn.Module):
    def __init__(self, config, options):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(
            nn.Conv2d(
                options.width if i == 0 else config.width, config.width, size, options.stride, size // 2
            )
            for i, size in enumerate(config.sizes)
        )
        self.act = config.act()
        self.add = options.stride == 1 and options.width == config.width

    def forward(self, x):
        y = x
        for layer in self.layers:
            y = self.act(layer(y))
        return (x + y if self.add else y) * self.config.depth


class Configured(nn.Module):
    def __init__(self, config, options):
        super().__init__()
        self.stem = nn.Conv2d(3, options.width, 1)
        blocks = []
        for _ in range(config.depth):
            own = copy.copy(options)
            if blocks:
                own.width = config.width
            else:
                own.stride = 2
            blocks.append(Inner(config, own))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x):
        return self.blocks(self.stem(x))


def test_objects_of_plain_values_stay_objects() -> None:
    """A configuration keeps its class, its fields and their comments, and is saved with the layers."""
    text = proved(lambda: Configured(Config(depth=2, sizes=[3, 3]), Options(2, wide=True)))
    assert "class Config(Attributes):" in text
    assert "    width: int = 6  # of each layer" in text
    assert "sizes: object = field(default_factory=lambda: [3, 1])" in text or "sizes: list = " in text
    assert "own = copy.copy(options)" in text
    assert "own.width = config.width" in text
    assert "self.add = options.stride == 1 and options.width == config.width" in text
    assert "Configured(Config(sizes=[3, 3]), Options(width=4, stride=1))" in text


class Kinded(nn.Module):
    def __init__(self, width, act="relu", apply_act=True):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 1)
        self.act = ACTS[act]() if apply_act else nn.Identity()

    def forward(self, x):
        return self.act(self.conv(x))


class Mish(nn.Module):
    def forward(self, x):
        return x * torch.tanh(nn.functional.softplus(x))


ACTS = {"relu": nn.ReLU, "tanh": nn.Tanh, "mish": Mish}


def test_a_condition_chooses_the_kind_of_a_layer() -> None:
    text = proved(
        lambda: nn.Sequential(Kinded(3), Kinded(3, "tanh"), Kinded(3, "tanh", apply_act=False), Kinded(3))
    )
    assert "class Kinded2" not in text
    names: dict = {}
    exec(text, names)  # the port is the test's own
    value = np.full((1, 1, 1, 3), -5.0, "float32")
    plain = names["Kinded"](3, apply_act=False)  # which no run had with the first kind
    assert np.allclose(plain(value), plain.conv(value))


class Branching(nn.Module):
    def __init__(self, width, deep=0, wide=False, norm=None, gate="none", scaled=False):
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be positive; got {width}")
        layers = [nn.Conv2d(3, width, 1)]
        for _ in range(deep):
            layers.append(nn.Conv2d(width, width, 3, padding=1))
        self.layers = nn.Sequential(*layers)
        if wide:
            self.last = nn.Conv2d(width, 8, 3, stride=2, padding=1)
        else:
            self.last = nn.Conv2d(width, 4, 1)
        self.norm = nn.BatchNorm2d(8 if wide else 4) if norm else nn.Identity()
        if gate == "mish":
            self.gate = Mish()
        else:
            self.gate = nn.Sigmoid()
        self.scale = nn.Parameter(torch.ones(4)) if scaled else None

    def forward(self, x):
        y = self.norm(self.last(self.layers(x)))
        if self.scale is not None:
            y = y * self.scale[:, None, None]
        return self.gate(y)


def test_ways_that_no_run_took_are_written_or_refused() -> None:
    text = proved(lambda: Branching(5))
    names: dict = {}
    exec(text, names)  # the port is the test's own
    made = names["Branching"]
    wide = made(5, deep=2, wide=True, norm=True)
    assert wide(np.zeros((1, 5, 6, 3), "float32")).shape == (1, 3, 3, 8)
    assert len(wide.layers_.layers) == 3
    with pytest.raises(ValueError, match=r"not ported: self.gate = Mish\(\)"):
        made(5, gate="mish")
    with pytest.raises(ValueError, match="not ported"):
        made(5, scaled=True)
    with pytest.raises(ValueError, match="width must be positive; got 0"):
        made(0)


class NormedAct(nn.BatchNorm2d):
    def __init__(self, width, act=nn.ReLU):
        super().__init__(width)
        self.act = act()

    def forward(self, x):
        return self.act(super().forward(x))


class Attending(nn.Module):
    def __init__(self, width, rate=0.0):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 1)
        self.norm = NormedAct(width)
        self.drop = nn.Dropout(rate)

    def forward(self, x):
        x = self.norm(self.stem(x)).flatten(2).transpose(1, 2)
        rate = self.drop.p if self.training else 0.0
        return nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=rate)


def test_a_normalisation_that_holds_an_activation_trains_by_a_known_rule() -> None:
    image = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype("float32")
    made = parity.port(lambda: Attending(4), image, steps=1)
    assert made.unwritten == ()
    assert {one.name: str(one.verdict) for one in made.proofs}["training"] == "EQUAL", made.proofs
    assert "self.drop.rate if training else 0.0" in made.written.text
