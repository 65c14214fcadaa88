"""How both sides are given one input: by name, in the order of axes that torch takes, and of sizes that both take."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.inputs.orders import name_of, order_of
from parity.adapters.probe import random_inputs

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 50, (2, 11)).astype("int32")
MASK = RNG.integers(0, 2, (2, 11)).astype(bool) | (np.arange(11) == 0)


class Module(nn.Module):
    """A torch module made of a forward function and submodules."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


def functional(shape: tuple[int | None, ...], build: Callable[[Any], Any]) -> Any:
    x = keras.Input(shape)
    return keras.Model(x, build(x))


def checked(model: Any, module: nn.Module, inputs: Any = None, **arguments: Any) -> Any:
    """Copy both ways and compare; without hints but those given."""
    layout = {"layout": arguments["layout"]} if "layout" in arguments else {}
    parity.transfer(model, module, inputs=inputs, **layout)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, 0.5)
    parity.transfer(module, model, inputs=inputs, **layout)
    return parity.compare(model, module, inputs, **arguments)


# --- the order of axes ---------------------------------------------------------------------------------


def tokens(length: int, width: int) -> tuple[Any, nn.Module]:
    def build(x: Any) -> Any:
        h = L.LayerNormalization(epsilon=1e-5, name="ln")(L.Dense(8, name="fc1")(x))
        return L.Dense(3, name="fc2")(L.GlobalAveragePooling1D()(h))

    module = Module(
        lambda s, x: s.fc2(s.ln(s.fc1(x)).mean(1)),
        fc1=nn.Linear(width, 8), ln=nn.LayerNorm(8), fc2=nn.Linear(8, 3),
    )  # fmt: skip
    return functional((length, width), build), module


def signals(length: int, width: int, inside: bool) -> tuple[Any, nn.Module]:
    def forward(s: Any, x: Any) -> Any:
        return s.b(s.a(x.transpose(1, 2)).relu()).transpose(1, 2) if inside else s.b(s.a(x).relu())

    model = functional(
        (length, width),
        lambda x: L.Conv1D(width, 3, padding="same", name="b")(
            L.Conv1D(7, 3, padding="same", activation="relu", name="a")(x)
        ),
    )
    parts = {"a": nn.Conv1d(width, 7, 3, padding=1), "b": nn.Conv1d(7, width, 3, padding=1)}
    return model, Module(forward, **parts)


def images(size: int, inside: bool) -> tuple[Any, nn.Module]:
    def forward(s: Any, x: Any) -> Any:
        return s.c(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) if inside else s.c(x)

    model = functional((size, size + (size != 5), 5), lambda x: L.Conv2D(4, (3, 2), name="c")(x))
    return model, Module(forward, c=nn.Conv2d(5, 4, (3, 2)))


def films(flat: bool) -> tuple[Any, nn.Module]:
    def forward(s: Any, x: Any) -> Any:
        count, frames = x.shape[:2]
        made = s.td(x.flatten(0, 1)).unflatten(0, (count, frames))
        return s.fc(made.mean((1, 3, 4))) if flat else made

    def build(x: Any) -> Any:
        made = L.TimeDistributed(L.Conv2D(5, 3, name="c"), name="td")(x)
        return L.Dense(2, name="fc")(L.GlobalAveragePooling3D()(made)) if flat else made

    parts = {"td": nn.Conv2d(3, 5, 3), **({"fc": nn.Linear(5, 2)} if flat else {})}
    return functional((4, 10, 12, 3), build), Module(forward, **parts)


LAYOUTS: dict[str, tuple[Callable[[], tuple[Any, nn.Module]], str]] = {
    "(N, T, F)": (lambda: tokens(7, 5), "same"),
    "(N, T, F), T = F": (lambda: tokens(8, 8), "same"),
    "(N, C, T)": (lambda: signals(9, 4, False), "channels-first"),
    "(N, C, T), C = T": (lambda: signals(6, 6, False), "channels-first"),
    "(N, T, C), permuted inside": (lambda: signals(9, 4, True), "same"),
    "(N, T, C), permuted inside, C = T": (lambda: signals(6, 6, True), "same"),
    "(N, H, W, C), permuted inside": (lambda: images(9, True), "same"),
    "(N, H, W, C), permuted inside, H = W = C": (lambda: images(5, True), "same"),
    "(N, C, H, W), H = W = C": (lambda: images(5, False), "channels-first"),
    "(N, T, C, H, W)": (lambda: films(True), "frames"),
    "(N, T, C, H, W) on both ends": (lambda: films(False), "frames"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_order_of_axes_is_found(name: str) -> None:
    build, layout = LAYOUTS[name]
    report = checked(*build())
    assert report.verdict == "EQUAL", str(report)
    said = [note for note in report.notes if note.startswith("input 0")]
    usual = layout == "channels-first" and "H" in name
    assert not said if usual else f"its axes {layout} " in said[0], report.notes


@pytest.mark.parametrize("square", [False, True])
def test_order_of_axes_of_a_faulty_pair(square: bool) -> None:
    """One layer differs: the others still show the order, and the layer is named."""
    model, module = tokens(8, 8 if square else 5)
    parity.transfer(model, module)
    module.ln.eps = 1e-2
    report = parity.compare(model, module)
    assert report.verdict == "DIVERGED"
    assert [(finding.keras, finding.cause) for finding in report.findings] == [("ln", "layernorm-epsilon")], (
        str(report)
    )


def test_layout_that_is_asked_for() -> None:
    model, module = signals(6, 6, False)
    assert checked(model, module, layout="channels-first").verdict == "EQUAL"
    report = checked(model, module, layout={"0": "021"})
    assert report.verdict == "EQUAL"
    assert "input 0: torch takes its axes channels-first (0, 2, 1) (as asked)" in report.notes
    assert parity.compare(model, module, layout=["same"]).verdict == "DIVERGED"
    for wrong in ("nchw", "0123", ["same", "same"], {"x": "same"}):
        with pytest.raises(parity.UsageError, match="layout must"):
            parity.compare(model, module, layout=wrong)


def test_names_of_orders() -> None:
    assert order_of("frames", 5) == (0, 1, 4, 2, 3)
    assert order_of("channels-last", 4) == (0, 2, 3, 1)
    assert order_of("011", 3) is None
    assert [name_of(order) for order in ((0, 1), (0, 2, 1), (0, 3, 1, 2), (1, 0, 2))] == [
        "same", "channels-first", "channels-first", "102",
    ]  # fmt: skip


def test_models_with_their_channels_first() -> None:
    first = {"data_format": "channels_first"}

    def build(x: Any) -> Any:
        h = L.BatchNormalization(axis=1, name="bn")(L.Conv2D(4, 3, name="c", **first)(x))
        h = L.Conv2DTranspose(5, 4, 2, padding="same", name="t", **first)(h)
        return L.Conv2D(3, 3, dilation_rate=2, name="d", **first)(h)

    module = Module(
        lambda s, x: s.d(s.t(s.bn(s.c(x)))),
        c=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4, eps=1e-3),
        t=nn.ConvTranspose2d(4, 5, 4, 2, 1), d=nn.Conv2d(5, 3, 3, dilation=2),
    )  # fmt: skip
    report = checked(functional((3, None, None), build), module)
    assert report.verdict == "EQUAL", str(report)


# --- sizes and layouts of what is given ----------------------------------------------------------------


def unet(poolings: int) -> tuple[Any, nn.Module]:
    def build(x: Any) -> Any:
        kept = []
        for i in range(poolings):
            x = L.Conv2D(4, 3, padding="same", activation="relu", name=f"down{i}")(x)
            kept.append(x)
            x = L.MaxPooling2D()(x)
        for i in reversed(range(poolings)):
            x = L.Concatenate()([kept[i], L.Conv2DTranspose(4, 2, 2, name=f"up{i}")(x)])
            x = L.Conv2D(4, 3, padding="same", activation="relu", name=f"join{i}")(x)
        return x

    def forward(s: Any, x: Any) -> Any:
        kept = []
        for i in range(poolings):
            x = getattr(s, f"down{i}")(x).relu()
            kept.append(x)
            x = nn.functional.max_pool2d(x, 2)
        for i in reversed(range(poolings)):
            x = torch.cat([kept[i], getattr(s, f"up{i}")(x)], 1)
            x = getattr(s, f"join{i}")(x).relu()
        return x

    parts: dict[str, nn.Module] = {}
    for i in range(poolings):
        parts[f"down{i}"] = nn.Conv2d(4 if i else 3, 4, 3, padding=1)
        parts[f"up{i}"] = nn.ConvTranspose2d(4, 4, 2, 2)
        parts[f"join{i}"] = nn.Conv2d(8, 4, 3, padding=1)
    return functional((None, None, 3), build), Module(forward, **parts)


@pytest.mark.parametrize(("poolings", "size"), [(2, "72x104"), (5, "64x96"), (6, "128x192")])
def test_sizes_that_both_models_take(poolings: int, size: str) -> None:
    model, module = unet(poolings)
    report = checked(model, module)
    assert report.verdict == "EQUAL", str(report)
    assert any(note.startswith(f"compared at 2x{size}x3") and "66x95" in note for note in report.notes)
    with torch.no_grad():
        module.join0.bias += 0.5
    found = parity.compare(model, module)
    assert (found.verdict, [finding.keras for finding in found.findings]) == ("DIVERGED", ["join0"])


@pytest.mark.parametrize("built", [True, False])
def test_channels_first_inputs_for_a_keras_model(built: bool) -> None:
    wrong = np.zeros((2, 3, 20, 24), np.float32)
    module = Module(lambda s, x: s.c(x), c=nn.Conv2d(3, 4, 3))
    model = functional((None, None, 3), L.Conv2D(4, 3, name="c")) if built else L.Conv2D(4, 3, name="c")
    calls = [
        lambda: parity.transfer(model, module, inputs=wrong),
        lambda: parity.pair(model, module, inputs=wrong),
    ]
    for call in [*calls, lambda: parity.compare(model, module, wrong)]:
        with pytest.raises(
            parity.UsageError, match=r"Keras layout.*\(2, 3, 20, 24\).*np.moveaxis\(x, 1, -1\)"
        ):
            call()
    assert model.built is built  # no wrong kernels are left behind


# --- by name -------------------------------------------------------------------------------------------


class KerasTokens(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.emb, self.fc = L.Embedding(50, 8), L.Dense(3)

    def call(self, ids: Any, keep: Any = None) -> Any:
        h = self.emb(ids)
        if keep is not None:
            h = h * ops.expand_dims(ops.cast(keep, h.dtype), -1)
        return {"logits": self.fc(ops.sum(h, 1)), "hidden": h}


class KerasDict(KerasTokens):
    def call(self, inputs: Any) -> Any:  # type: ignore[override]
        return KerasTokens.call(self, inputs["ids"], inputs["keep"])


class Output(OrderedDict[str, Any]):
    """As libraries of transformers give their outputs: a dictionary with attributes."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


class TorchTokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb, self.fc = nn.Embedding(50, 8), nn.Linear(8, 3)

    def forward(self, attention_mask: Any = None, input_ids: Any = None, use_cache: bool = True) -> Any:
        h = self.emb(input_ids) * attention_mask[..., None]
        assert nn.functional.one_hot(input_ids).dtype is torch.int64  # takes int64 alone
        cache = {"cache": object()} if use_cache else {}
        return Output(logits=self.fc(h.sum(1)), hidden=h, **cache)


class TorchDict(TorchTokens):
    def forward(self, batch: Any) -> Any:
        return TorchTokens.forward(self, batch["keep"], batch["ids"], False)


PAIRED = {("ids", "input_ids"): IDS, ("keep", "attention_mask"): MASK}
NAMED: dict[str, tuple[type, type, dict[Any, Any]]] = {
    "two names": (KerasTokens, TorchTokens, PAIRED),
    "two names, the other way round": (KerasTokens, TorchTokens, dict(reversed(PAIRED.items()))),
    "a role, and the last that is left": (KerasTokens, TorchTokens, {"ids": IDS, ("keep", "mask"): MASK}),
    "dictionaries": (KerasDict, TorchDict, {"keep": MASK, "ids": IDS}),
    "arguments and a dictionary": (KerasTokens, TorchDict, {"keep": MASK, "ids": IDS}),
}


@pytest.mark.parametrize("name", NAMED)
def test_inputs_by_name(name: str) -> None:
    keras_class, torch_class, inputs = NAMED[name]
    model, module = keras_class(), torch_class()
    report = checked(model, module, inputs, gradients=True, train_steps=1)
    assert report.verdict == "EQUAL", str(report)
    assert report.elements == 2 * 3 + 2 * 11 * 8
    flipped = {key: ~value if value.dtype == bool else value for key, value in inputs.items()}
    assert parity.compare(model, module, flipped).verdict == "EQUAL"


def functional_tokens(by_key: bool) -> Any:
    ids = keras.Input((None,), dtype="int32", name="token_ids" if by_key else "input_ids")
    keep = keras.Input((None,), dtype="int32", name="padding_mask" if by_key else "attention_mask")
    h = L.Embedding(50, 8, name="emb")(ids)
    h = h * ops.expand_dims(ops.cast(keep, h.dtype), -1)
    outputs = {"logits": L.Dense(3, name="fc")(ops.sum(h, 1)), "hidden": h}
    return keras.Model({"token_ids": ids, "padding_mask": keep} if by_key else [ids, keep], outputs)


@pytest.mark.parametrize("by_key", [True, False])
def test_names_that_the_keras_model_itself_gives(by_key: bool) -> None:
    model, module = functional_tokens(by_key), TorchTokens()
    report = checked(model, module)
    assert report.verdict == "EQUAL", str(report)
    values = random_inputs(adapt(model))[0]
    keep = values[0 if by_key else 1]
    assert set(np.unique(keep)) == {0, 1}  # a mask, and no row masked whole
    assert keep.any(-1).all()
    if by_key:
        assert checked(model, module, {"padding_mask": MASK, "token_ids": IDS}).verdict == "EQUAL"


def test_tokens_come_from_their_own_table() -> None:
    ids, kinds = (keras.Input((64,), dtype="int32", name=name) for name in ("ids", "kinds"))
    model = keras.Model([ids, kinds], L.Embedding(1000, 4)(ids) + L.Embedding(2, 4)(kinds))
    first, second = random_inputs(adapt(model))[0]
    assert 500 < first.max() < 1000
    assert set(np.unique(second)) == {0, 1}


def test_names_that_no_side_takes() -> None:
    for inputs in ({"ids": IDS, "foo": MASK}, {3: IDS}, {"ids": IDS, ("keep", "input_ids"): MASK}):
        with pytest.raises(parity.UsageError, match="input"):
            parity.compare(KerasTokens(), TorchTokens(), inputs)
    with pytest.raises(parity.UsageError, match="every input of the Keras model"):
        parity.compare(functional_tokens(True), TorchTokens(), {"token_ids": IDS})
