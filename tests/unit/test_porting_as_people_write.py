"""Ports of code as packages have it: layers and named tuples of their own, functions within, loops over axes."""

from __future__ import annotations

import types
from collections import namedtuple
from typing import NamedTuple, cast

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

import parity  # noqa: E402
from parity.porting.proof import PortCheck, prove  # noqa: E402
from parity.porting.to_keras.names import within_torch  # noqa: E402
from parity.porting.to_keras.write import write  # noqa: E402

nn, F = torch.nn, torch.nn.functional
RIMS = {"top": 1, 2: 3}
ENDS = (4, 6)


Outputs = namedtuple("Outputs", ["first", "second"])
OldOutputs = Outputs


class Row(NamedTuple):
    """One convolution."""

    outputs: int
    size: int


def rows(width: int) -> tuple[Row, ...]:
    return tuple(Row(outputs=width * end, size=3) for end in ENDS)


class Strided(nn.Conv2d):
    """A convolution whose forward takes a way of its own to the same result."""

    def __init__(self, inputs, outputs, size, step=1):
        super().__init__(inputs, outputs, size, stride=step, padding=size // 2)

    def forward(self, x):
        if self.stride == (1, 1):
            return super().forward(x)
        x = F.pad(x, [self.padding[0]] * 4)
        return F.conv2d(x, self.weight, self.bias, self.stride)


class Scaled(nn.Linear):
    """A dense layer that computes something else."""

    def forward(self, x):
        return 2 * super().forward(x)


class Pool(nn.MaxPool2d):
    """A pooling with another default."""

    def __init__(self, size=2, step=None):
        super().__init__(size, step)


class Entered(nn.Sequential):
    """A sequence that takes over the layers of another one."""

    def __init__(self, count):
        super().__init__(nn.Conv2d(count, 6, 1), *nn.Sequential(nn.ReLU(), nn.Conv2d(6, count, 1)))


class Spread(nn.Sequential):
    """A picture's mean at every pixel."""

    def __init__(self, count):
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Conv2d(count, count, 1))

    def forward(self, x):
        return super().forward(x).expand(-1, -1, *x.shape[2:])


def check(*sizes):
    """Refuse sizes below one; images are (N, C, H, W)."""
    for size in sizes:
        if size < 1:
            raise ValueError(f"sizes must be at least 1; got (N, {size}, H, W).")


def beside(copy, x):
    top, left = ((copy.shape[axis] - x.shape[axis]) // 2 for axis in (2, 3))
    return torch.cat((copy[:, :, top : top + x.shape[2], left : left + x.shape[3]], x), dim=1)


class Stages(nn.Module):
    """Stages of a width that is given, pooled in between, and all joined in the middle."""

    def __init__(self, inputs=3, width=1, classes=5):
        super().__init__()

        def enter(count):
            return nn.Sequential(Strided(count, 4, 3, step=2), nn.ReLU())

        layers = []
        for row in rows(width):
            layers += [Strided(4, 4, 3), Pool(), nn.Conv2d(4, *row, padding=1), nn.Conv2d(row.outputs, 4, 1)]
        self.features = nn.Sequential(*enter(inputs), *layers)
        self.heads = nn.ModuleList(nn.Conv2d(count, classes, 1) for count in (8,))
        self.entered = Entered(inputs)
        self.spread = Spread(inputs)
        self.last = Scaled(classes, classes)
        self.register_load_state_dict_pre_hook(lambda *_: None)

    def forward(self, x):
        check(x.shape[0], x.shape[1])
        found, x = [], self.entered(x + self.spread(x))  # (N, inputs, ceil(H / 2), W)
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, Pool):
                found.append(x)
        x = F.pad(found[0], (RIMS["top"], RIMS["top"], 1, 1))
        x = self.heads[0](beside(x, found[1]))
        return cast(torch.Tensor, self.last(x.mean((2, 3))))


@pytest.fixture(scope="module")
def port():
    torch.manual_seed(0)
    return write(lambda: Stages(width=2), torch.rand(2, 3, 33, 50), second_inputs=torch.rand(3, 3, 41, 62))


def test_it_computes_the_same(port) -> None:
    assert not port.unwritten, [str(one) for one in port.unwritten]
    module = types.ModuleType("port")
    exec(compile(port.text, "port", "exec"), module.__dict__)
    source = Stages(width=2).eval()
    values = np.random.default_rng(0).normal(size=(2, 33, 50, 3)).astype("float32")
    made = module.build()
    parity.transfer(source, made, inputs=values)
    with torch.no_grad():
        wanted = source(torch.from_numpy(values.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(made(values).numpy(), wanted.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "line",
    [
        "ENDS = (4, 6)",
        'RIMS = {"top": 1, 2: 3}',
        "class Row(NamedTuple):",
        "for row in rows(width):",
        "keras.layers.Conv2D(row.outputs, row.size",
        "def enter(count):",
        "*enter(inputs).layers, *layers",
        "for axis in (1, 2))",
        "isinstance(layer, keras.layers.MaxPooling2D)",
        "return self.last(",
        "class Scaled(",
        "for count in (8,)]",
        "# (N, ceil(H / 2), W, inputs)",
    ],
)
def test_the_source_s_own_text_stays(port, line) -> None:
    assert line in port.text, port.text


def test_what_is_used_twice_is_computed_once(port) -> None:
    assert port.text.count("self.in_sequence(x)") == 1, port.text
    assert "[1:-1][" not in port.text


@pytest.mark.parametrize(
    "line", ["class Strided", "class Pool", "cast(", "register_load", "/Tensor", "def check("]
)
def test_what_keras_has_or_does_not_need_is_not_written(port, line) -> None:
    assert line not in port.text, port.text


def test_a_package_whose_name_begins_with_torch_is_the_user_s() -> None:
    names = ("torch.nn.modules", "torch", "torch_impl.blocks", "torchvision.models")
    assert [within_torch(name) for name in names] == [True, True, False, False]
    source = "torch_impl.blocks:SkipBlockUP(16, 8)"
    values = np.random.default_rng(0).normal(size=(2, 9, 14, 16)).astype("float32")
    made = parity.port(source, values, quick=True)
    assert made.verdict == "EQUAL", [str(one) for one in (*made.unwritten, *made.proofs)]
    assert "2 layers of the source never run" in made.proofs[0].text
    assert "TransposedConv2D" not in made.written.classes


def test_a_layer_without_a_counterpart_that_runs_is_no_proof(tmp_path) -> None:
    """Only layers that never run are left out of the proof: a port without one that runs is not proved."""
    file = tmp_path / "port.py"
    file.write_text(
        "import keras\n\n\ndef build():\n"
        "    model = keras.Sequential([keras.Input((5, 5, 3)), keras.layers.Conv2D(4, 1, name='a')])\n"
        "    return model\n"
    )
    source = nn.Sequential()
    source.add_module("a", nn.Conv2d(3, 4, 1))
    source.add_module("b", nn.Conv2d(4, 4, 1))
    values = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")
    checks: list[PortCheck] = list(prove(source.eval(), file, values, quick=True))
    assert checks[0].verdict == "INCONCLUSIVE"
    assert "no counterpart" in checks[0].text


def note_of(options):
    """Take a note out of options, which a layer does not know."""
    note = options.pop("note", None) or {}
    if "groups" in options:
        options["groups"] = torch.tensor(note["groups"]).bincount().argmax().item()
    return options


class Part(nn.Module):
    """A convolution and what follows."""

    def __init__(self, inputs, outputs, kernel_size=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size)

    def forward(self, x):
        return torch.relu(self.conv(x))


class Optioned(nn.Module):
    """Layers made of options, of which one goes to no layer; a named tuple that is known by two names."""

    def __init__(self, options=None):
        super().__init__()
        options = note_of({"kernel_size": 3, "note": None}) if options is None else options
        self.first, self.second = Part(3, 4, **options), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.first(x)
        return OldOutputs(x, self.second(x))


def test_what_takes_something_out_of_a_container_stays(tmp_path) -> None:
    port = write(Optioned, torch.rand(2, 3, 9, 12), second_inputs=torch.rand(3, 3, 8, 7))
    assert not port.unwritten, [str(one) for one in port.unwritten]
    assert 'options.pop("note", None)' in port.text
    assert "OldOutputs = namedtuple(" in port.text
    file = tmp_path / "port.py"
    file.write_text(port.text)
    values = np.random.default_rng(0).normal(size=(2, 9, 12, 3)).astype("float32")
    checks = list(prove(Optioned().eval(), file, values))
    assert [check.name for check in checks] == ["outputs", "training", "second size", "reload"]
    assert all(check.verdict == "EQUAL" for check in checks), [str(check) for check in checks]


def padded(inputs, outputs, size, **settings):
    """A convolution by settings that are passed on; one of them has a default."""
    if "unheard" in settings:
        return nn.Conv2d(inputs, outputs, size, torch.tensor(settings["unheard"]).item())
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **settings)


class Passing(nn.Module):
    """Strides that happen to be the quotient of the channels."""

    def __init__(self):
        super().__init__()
        self.first = padded(2, 4, 3, stride=2)
        self.second = padded(4, 4, 3, stride=1)
        self.third = padded(4, 8, 3, stride=2, dilation=1)

    def forward(self, x):
        return self.third(self.second(self.first(x)))


def test_a_setting_that_is_passed_on_is_no_formula() -> None:
    port = write(Passing, torch.rand(2, 2, 19, 22), second_inputs=torch.rand(3, 2, 25, 31))
    assert not port.unwritten, [str(one) for one in port.unwritten]
    assert 'strides=settings["stride"]' in port.text, port.text
    assert "outputs // inputs" not in port.text
