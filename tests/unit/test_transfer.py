"""transfer: every tensor at its place, both ways, bit for bit; or one error that lists everything, and nothing written."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from tests.zoo import CASES


def bits(model: Any) -> dict[str, tuple[str, bytes]]:
    adapter = adapt(model)
    paths = [tensor.path for layer in adapter.layers().values() for tensor in layer.tensors]
    return {path: (str(adapter.read(path).dtype), adapter.read(path).tobytes()) for path in paths}


@pytest.mark.parametrize("name", CASES)
def test_round_trip_is_bit_exact_both_ways(name: str) -> None:
    case = CASES[name]
    model, module = case.build()
    inputs = case.inputs()
    mapping = case.mapping or None
    for source, target in ((module, model), (model, module)):
        randomise(adapt(source), 1)
        before = bits(source)
        there = parity.transfer(source, target, mapping, inputs)
        randomise(adapt(source), 2)
        assert bits(source) != before
        back = parity.transfer(target, source, mapping, inputs)
        assert bits(source) == before
        assert there.copied == back.copied == len(before)
        assert there.unmatched_source == there.unmatched_target == []
        assert there.pairs == back.pairs


def conv(in_channels: int = 2, out_channels: int = 3, **options: Any) -> tuple[Any, Any]:
    image = keras.Input((None, None, in_channels))
    dtype = options.get("dtype", "float32")
    model = keras.Model(image, L.Conv2D(out_channels, (3, 2), name="conv", dtype=dtype)(image))
    module = nn.Sequential()
    module.add_module("conv", nn.Conv2d(in_channels, out_channels, (3, 2), dtype=getattr(torch, dtype)))
    return model, module


def test_values_lie_where_each_framework_reads_them() -> None:
    """Element by element, with no layer of parity's in between."""
    model, module = conv()
    module.conv.weight.data = torch.arange(36.0).reshape(3, 2, 3, 2)
    parity.transfer(module, model)
    kernel = model.get_layer("conv").kernel.value.numpy()
    for o, i, h, w in np.ndindex(3, 2, 3, 2):
        assert kernel[h, w, i, o] == module.conv.weight[o, i, h, w].item()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_float_bit_pattern_survives(dtype: str) -> None:
    model, module = conv(dtype=dtype)
    info = torch.finfo(getattr(torch, dtype))
    special = [
        -0.0,
        0.0,
        info.tiny,
        info.tiny / 4,
        -info.max,
        info.max,
        float("inf"),
        -float("inf"),
        info.eps,
    ]
    weight = module.conv.weight.data
    weight.view(-1)[: len(special)] = torch.tensor(special, dtype=torch.float64).to(weight.dtype)
    wanted = {name: value.clone() for name, value in module.state_dict().items()}
    parity.transfer(module, model)
    for value in module.parameters():
        value.data.fill_(1.0)
    parity.transfer(model, module)
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[weight.element_size()]
    for name, value in module.state_dict().items():
        assert torch.equal(value.view(integer), wanted[name].view(integer)), name


@pytest.mark.parametrize(
    ("source", "target"), [("float64", "float32"), ("float32", "float16"), ("float32", "bfloat16")]
)
@pytest.mark.parametrize("to_keras", [True, False])
def test_a_dtype_that_loses_digits_is_an_error_and_nothing_is_written(
    source: str, target: str, to_keras: bool
) -> None:
    models = {dtype: conv(dtype=dtype) for dtype in (source, target)}
    from_, to = (models[source][1], models[target][0]) if to_keras else (models[source][0], models[target][1])
    randomise(adapt(from_), 1)
    adapt(from_).write("conv.weight" if to_keras else "conv.kernel", np.ones(adapt(from_).read(
        "conv.weight" if to_keras else "conv.kernel").shape))  # fmt: skip
    before = bits(to)
    with pytest.raises(parity.UsageError, match="must not lose digits"):
        parity.transfer(from_, to)
    assert bits(to) == before


def test_a_wider_dtype_is_fine() -> None:
    module, model = conv(dtype="float16")[1], conv(dtype="float64")[0]
    parity.transfer(module, model)
    assert np.array_equal(model.get_layer("conv").bias.value.numpy(), module.conv.bias.detach().numpy())


# --- mistakes: all of them in one error, and nothing written ----------------------------------------


class Torch(nn.Module):
    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class Keras(keras.Model):
    def __init__(self, **layers: tuple[Any, tuple[int, ...]]) -> None:
        super().__init__()
        for name, (layer, shape) in layers.items():
            layer.build(shape)
            setattr(self, name, layer)
        self.built = True

    def call(self, x: Any) -> Any:
        return x


IMAGE = (None, None, None, 3)


def test_missing_extra_and_misshapen_are_listed_together() -> None:
    model = Keras(a=(L.Conv2D(4, 3), IMAGE), b=(L.Conv2D(4, 3), IMAGE), only_keras=(L.Conv2D(7, 3), IMAGE),
                  norm=(L.BatchNormalization(scale=False), IMAGE))  # fmt: skip
    module = Torch(
        a=nn.Conv2d(3, 4, 3),
        b=nn.Conv2d(3, 4, 5, bias=False),
        only_torch=nn.Linear(2, 9),
        norm=nn.BatchNorm2d(3),
    )
    randomise(adapt(module))
    before = bits(model), bits(module)
    with pytest.raises(parity.PairingError) as error:
        parity.transfer(module, model)
    text = "\n".join(error.value.problems)
    for expected in ("b.weight (4, 3, 5, 5)", "(5, 5, 3, 4)", "b.kernel (3, 3, 3, 4)", "b.bias", "only_keras.kernel",
                     "only_keras.bias", "only_torch.weight", "only_torch.bias", "norm.weight"):  # fmt: skip
        assert expected in text
    assert len(error.value.problems) == 7
    assert (bits(model), bits(module)) == before


def test_strict_false_copies_the_rest_and_lists_what_is_left() -> None:
    model = Keras(a=(L.Conv2D(4, 3), IMAGE), only_keras=(L.Conv2D(7, 3), IMAGE))
    module = Torch(a=nn.Conv2d(3, 4, 3), only_torch=nn.Linear(2, 9))
    result = parity.transfer(module, model, strict=False)
    assert result.copied == 2
    assert result.pairs == [("a", "a")]
    assert result.unmatched_source == ["only_torch.weight", "only_torch.bias"]
    assert result.unmatched_target == ["only_keras.kernel", "only_keras.bias"]
    back = parity.transfer(model, module, strict=False)
    assert back.unmatched_source == result.unmatched_target


def test_ambiguous_layers_are_not_guessed() -> None:
    model = Keras(p=(L.Conv2D(3, 3), IMAGE), q=(L.Conv2D(3, 3), IMAGE))
    module = Torch(x=nn.Conv2d(3, 3, 3), y=nn.Conv2d(3, 3, 3))
    with pytest.raises(parity.PairingError, match="no counterpart"):
        parity.transfer(module, model)


MAPPINGS: dict[str, Any] = {
    "dict": {"p": "x", "q": "y"},
    "list of pairs": [("p", "x"), ("q", "y")],
    "list of lists": [["p", ["x"]], ["q", ["y"]]],
    "tensors": {"p.kernel": "x.weight", "p.bias": "x.bias", "q.kernel": "y.weight", "q.bias": "y.bias"},
    "one, and the other follows": {"q": "y"},
}


@pytest.mark.parametrize("name", MAPPINGS)
def test_a_mapping_decides(name: str) -> None:
    model = Keras(p=(L.Conv2D(3, 3), IMAGE), q=(L.Conv2D(3, 3), IMAGE))
    module = Torch(x=nn.Conv2d(3, 3, 3), y=nn.Conv2d(3, 3, 3))
    assert parity.transfer(module, model, MAPPINGS[name]).copied == 4
    for ours, theirs in ((model.p, module.x), (model.q, module.y)):
        assert np.array_equal(ours.kernel.value.numpy(), theirs.weight.detach().numpy().transpose(2, 3, 1, 0))
        assert np.array_equal(ours.bias.value.numpy(), theirs.bias.detach().numpy())


def test_a_mapping_of_containers_renames_all_below() -> None:
    model = Keras(front=(Keras(a=(L.Conv2D(3, 3), IMAGE), b=(L.Conv2D(3, 3), IMAGE)), IMAGE))
    module = Torch(backbone=Torch(a=nn.Conv2d(3, 3, 3), b=nn.Conv2d(3, 3, 3)))
    result = parity.transfer(module, model, {"front": "backbone"})
    assert result.pairs == [("front.a", "backbone.a"), ("front.b", "backbone.b")]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"nowhere": "x"}, "nowhere"),
        ({"p": "xx"}, "did you mean"),
        ({"p": "x", "q": "x"}, "again"),
        ([("p", "x"), ("p", "y")], "again"),
        ({"p.kernel": "x"}, "layer to layer"),
        ({"p": 3}, "mapping must"),
        ({"p": ()}, "mapping must"),
        ([("p",)], "mapping must"),
        ({3: "x"}, "mapping must"),
    ],
)
def test_wrong_mappings(mapping: Any, message: str) -> None:
    model = Keras(p=(L.Conv2D(3, 3), IMAGE), q=(L.Conv2D(3, 3), IMAGE))
    module = Torch(x=nn.Conv2d(3, 3, 3), y=nn.Conv2d(3, 3, 3))
    before = bits(model)
    with pytest.raises(parity.UsageError, match=message):
        parity.transfer(module, model, mapping)
    assert bits(model) == before


# --- what transfer leaves alone --------------------------------------------------------------------


def test_the_same_objects_hold_the_new_values() -> None:
    model, module = conv()
    module.train()
    module.conv.bias.requires_grad_(False)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

    def identities() -> list[int]:
        return [
            *map(id, module.parameters()),
            *map(id, model.variables),
            *(id(v._value) for v in model.variables),
        ]

    before = identities()
    pointers = [value.data_ptr() for value in module.parameters()]
    parity.transfer(module, model)
    randomise(adapt(model))
    parity.transfer(model, module)
    assert identities() == before
    assert [value.data_ptr() for value in module.parameters()] == pointers
    assert module.training
    assert module.conv.weight.requires_grad
    assert not module.conv.bias.requires_grad
    assert optimizer.param_groups[0]["params"][0] is module.conv.weight


def test_non_contiguous_and_tied_torch_weights() -> None:
    model = Keras(table=(L.Embedding(7, 5), (None,)), out=(L.Dense(7, use_bias=False), (None, 5)))
    module = Torch(table=nn.Embedding(7, 5), out=nn.Linear(5, 7, bias=False))
    module.out.weight = module.table.weight
    parity.transfer(module, model)
    assert np.array_equal(model.out.kernel.value.numpy(), module.table.weight.detach().numpy().T)
    model.out.kernel.assign(np.zeros((5, 7)))
    with pytest.raises(parity.PairingError, match="tied tensors"):
        parity.transfer(model, module)
    plain = conv()
    plain[1].conv.weight.data = torch.randn(2, 3, 2, 3).permute(1, 0, 3, 2)
    parity.transfer(plain[1], plain[0])
    assert np.array_equal(
        plain[0].get_layer("conv").kernel.value.numpy(),
        plain[1].conv.weight.detach().numpy().transpose(2, 3, 1, 0),
    )


def test_a_tied_copy_on_one_side_alone_has_its_counterpart() -> None:
    model = Keras(table=(L.Embedding(7, 5), (None,)))
    module = Torch(table=nn.Embedding(7, 5), out=nn.Linear(5, 7, bias=False))
    module.out.weight = module.table.weight
    assert parity.transfer(module, model).copied == 1
    assert parity.transfer(model, module).copied == 1


def test_unbuilt_and_lazy_models_say_what_to_do() -> None:
    model = keras.Sequential([L.Conv2D(3, (3, 2), name="conv")])
    _, module = conv()
    with pytest.raises(parity.UsageError, match="built"):
        parity.transfer(module, model)
    assert parity.transfer(module, model, inputs=np.zeros((1, 5, 5, 2), np.float32)).copied == 2
    lazy = nn.Sequential()
    lazy.add_module("conv", nn.LazyConv2d(3, (3, 2)))
    with pytest.raises(parity.UsageError, match="lazy"):
        parity.transfer(model, lazy)


def test_models_of_one_framework() -> None:
    for pair in (conv()[0], conv()[0]), (conv()[1], conv()[1]):
        with pytest.raises(parity.UsageError, match="one model must be Keras and the other torch"):
            parity.transfer(*pair)


def test_layers_of_unknown_kinds_follow_the_convention_of_kernel_and_weight() -> None:
    class Ours(L.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = self.add_weight(shape=(3, 2, 5, 4), name="kernel")
            self.built = True

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 5, 3, 2))

    model, module = Ours(), Theirs()
    parity.transfer(module, model)
    assert np.array_equal(model.kernel.value.numpy(), module.weight.detach().numpy().transpose(2, 3, 1, 0))


@pytest.mark.usefixtures("keras_torch")
def test_large_tensors_go_straight_from_memory_to_memory() -> None:
    """Kernels beyond the size of a cache: the values arrive, stay apart from the source, and can be trained on."""
    import keras
    import torch

    module = torch.nn.Sequential(
        torch.nn.Conv2d(96, 160, 3), torch.nn.Conv2d(160, 96, 3, dtype=torch.float32)
    )
    image = keras.Input((None, None, 96))
    first, second = keras.layers.Conv2D(160, 3, name="0"), keras.layers.Conv2D(96, 3, name="1")
    model = keras.Model(image, second(first(image)))
    parity.transfer(module, model)
    before = [value.detach().numpy().copy() for value in module.parameters()]
    np.testing.assert_array_equal(first.get_weights()[0], before[0].transpose(2, 3, 1, 0))
    first.kernel.assign(first.kernel + 1.0)
    second.kernel.assign(2.0 * second.kernel)
    for value, old in zip(module.parameters(), before, strict=True):
        np.testing.assert_array_equal(value.detach().numpy(), old)
    held = [value.copy() for value in model.get_weights()]
    parity.transfer(model, module)
    np.testing.assert_array_equal(module[0].weight.detach().numpy(), held[0].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(module[1].weight.detach().numpy(), held[2].transpose(3, 2, 0, 1))
    parity.transfer(module, model)
    with torch.no_grad():
        for value in module.parameters():
            value.zero_()
    for value, old in zip(model.get_weights(), held, strict=True):
        np.testing.assert_array_equal(value, old)
    assert module[1].weight.requires_grad
