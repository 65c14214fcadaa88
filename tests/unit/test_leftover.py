"""What needs no counterpart: buffers, what the caller ignores, layers that never run; and single layers as models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

import parity
import tf_impl.layers
import torch_impl.layers
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.cli import main
from parity.core.errors import PairingError, UsageError
from parity.pairing.leftover.renaming import learnt, renamed
from parity.report.page.proven import HEADS
from parity.report.proof import UnprovenKind
from parity.report.rests import COUNTED

X = np.random.default_rng(5).normal(size=(2, 7, 9, 4)).astype("float32")
FLAT = X[:, 0, 0]


def transferred(keras_model: Any, module: nn.Module, inputs: Any = None, **more: Any) -> list[Any]:
    """Strict transfers both ways, each with a comparison behind it; the reports."""
    found = []
    for source, target in ((module, keras_model), (keras_model, module)):
        randomise(adapt(source), len(found))
        parity.transfer(source, target, inputs=inputs, **more)
        found.append(parity.compare(keras_model, module, inputs, **more))
    return found


def equal(keras_model: Any, module: nn.Module, inputs: Any = None, **more: Any) -> list[Any]:
    reports = transferred(keras_model, module, inputs, **more)
    assert all(reports), "\n".join(map(str, reports))
    return reports


# --- a single layer is the whole model --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "module"),
    [
        (
            tf_impl.layers.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
            torch_impl.layers.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
        ),
        (tf_impl.layers.ConvTranspose2d(4, 4, 3), nn.Sequential(torch_impl.layers.ConvTranspose2d(4, 4, 3))),
        (L.Conv2DTranspose(6, 3, strides=2), nn.ConvTranspose2d(4, 6, 3, stride=2)),
        (L.Conv2D(4, 3), nn.Conv2d(4, 4, 3)),
        (L.BatchNormalization(epsilon=1e-5), nn.BatchNorm2d(4)),
        (L.Dense(4), nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1)))),
    ],
)
def test_a_single_layer_pairs_with_a_sequence_of_one(layer: Any, module: nn.Module) -> None:
    reports = equal(keras.Sequential([keras.Input((7, 9, 4)), layer]), module, X)
    assert not any("against their names" in note for report in reports for note in report.notes)


def test_a_fault_in_a_single_layer_is_found() -> None:
    model = keras.Sequential([keras.Input((7, 9, 4)), L.BatchNormalization(epsilon=1e-3)])
    report = transferred(model, nn.BatchNorm2d(4), X)[0]
    assert report.verdict == "DIVERGED"
    assert (report.first.cause, report.first.fix_verified) == ("batchnorm-epsilon", True)


# --- buffers ----------------------------------------------------------------------------------------------

TOKENS = 6
INDEX = np.abs(np.subtract.outer(np.arange(TOKENS), np.arange(TOKENS)))
MASK = np.where(INDEX > 4, -100.0, 0.0).astype("float32")


class Window(nn.Module):
    """Attention with a table of relative positions, read through an index, and a mask, as in Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(4, 12), nn.Linear(4, 4)
        self.table = nn.Parameter(torch.randn(TOKENS, 1))
        self.register_buffer("relative_position_index", torch.from_numpy(INDEX))
        self.register_buffer("attn_mask", torch.from_numpy(MASK))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(x).chunk(3, -1)
        bias = self.table[self.relative_position_index.view(-1)].view(TOKENS, TOKENS)
        scores = query @ key.transpose(1, 2) / 2.0 + bias + self.attn_mask
        return self.proj(scores.softmax(-1) @ value)


class KerasWindow(keras.Model):
    def __init__(self, index: np.ndarray = INDEX, variables: bool = False) -> None:
        super().__init__()
        self.qkv, self.proj, self.index = L.Dense(12), L.Dense(4), index
        self.table = self.add_weight(shape=(TOKENS, 1), name="table")
        self.seen = None
        if variables:
            self.seen = self.add_weight(
                shape=index.shape, dtype="int32", trainable=False, initializer="zeros", name="places"
            )
            self.seen.assign(index)

    def call(self, x: Any) -> Any:
        query, key, value = ops.split(self.qkv(x), 3, axis=-1)
        index = ops.convert_to_tensor(self.index if self.seen is None else self.seen)
        bias = ops.reshape(ops.take(self.table, ops.reshape(index, (-1,)), axis=0), index.shape)
        scores = ops.matmul(query, ops.transpose(key, (0, 2, 1))) / 2.0 + bias + MASK
        return self.proj(ops.matmul(ops.softmax(scores, axis=-1), value))


SEQUENCE = np.random.default_rng(6).normal(size=(2, TOKENS, 4)).astype("float32")


@pytest.mark.parametrize("variables", [False, True])
def test_index_and_mask_buffers_are_no_weights(variables: bool) -> None:
    for report in equal(KerasWindow(variables=variables), Window(), SEQUENCE):
        assert any("relative_position_index" in note and "judged by what" in note for note in report.notes)
        assert "table" not in str(report.unproven)


def test_a_buffer_with_other_values_is_a_difference() -> None:
    report = transferred(KerasWindow(INDEX[::-1].copy()), Window(), SEQUENCE)[0]
    assert report.verdict == "DIVERGED"


def test_statistics_of_a_batch_normalisation_are_no_constants() -> None:
    model = keras.Sequential([keras.Input((4,)), L.Dense(4), L.BatchNormalization(scale=False, center=False)])
    with pytest.raises(PairingError, match="moving_mean"):
        parity.transfer(nn.Linear(4, 4), model)


class Normalised(nn.Module):
    """Normalises by constants of its own, which no attribute holds."""

    def __init__(self, mean: float = 0.5) -> None:
        super().__init__()
        self.conv, self.mean = nn.Conv2d(4, 5, 3), mean

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv((x - self.mean) / 1.5)


def normalising() -> Any:
    return keras.Sequential(
        [keras.Input((7, 9, 4)), L.Normalization(mean=[0.5] * 4, variance=[2.25] * 4), L.Conv2D(5, 3)]
    )


def adapted() -> Any:
    """The same with its statistics as variables."""
    norm = L.Normalization()
    model = keras.Sequential([keras.Input((7, 9, 4)), norm, L.Conv2D(5, 3)])
    norm.adapt_mean.assign(np.full(4, 0.5))
    norm.adapt_variance.assign(np.full(4, 2.25))
    norm.finalize_state()
    return model


@pytest.mark.parametrize("build", [normalising, adapted])
def test_statistics_of_the_data_inside_one_model_are_its_constants(build: Any) -> None:
    equal(build(), Normalised(), X)
    report = transferred(build(), Normalised(mean=0.25), X)[0]
    assert report.verdict == "DIVERGED"


def test_statistics_that_are_copied_before_any_pass_are_judged_by_what_comes_out() -> None:
    """No step reads the variables: the layer computes with copies, which `finalize_state` makes."""
    model = adapted()
    report = transferred(model, Normalised(), X)[0]
    alone = [note for note in report.notes if "Keras alone has" in note]
    assert len(alone) == 1
    assert "normalization" in alone[0]
    assert "judged by what comes out" in alone[0]


# --- ignore -----------------------------------------------------------------------------------------------


class WithHead(nn.Module):
    """A second head, which torch alone has, and which a mode switches on."""

    def __init__(self, on: float = 0.0) -> None:
        super().__init__()
        self.conv, self.aux, self.on = (
            nn.Conv2d(4, 5, 3),
            nn.Sequential(nn.Conv2d(5, 5, 1), nn.BatchNorm2d(5)),
            on,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.conv(x))
        return y + self.on * self.aux(y)


def without_head() -> Any:
    return keras.Sequential([keras.Input((7, 9, 4)), L.Conv2D(5, 3, activation="relu", name="conv")])


def test_what_is_ignored_is_neither_missed_nor_silent(tmp_path: Path) -> None:
    with pytest.raises(PairingError, match=r"aux"):
        parity.transfer(WithHead(), without_head())
    assert parity.compare(without_head(), WithHead(), X).verdict != "EQUAL"
    model, module = without_head(), WithHead()
    result = parity.transfer(module, model, ignore="aux")
    assert result.ignored == (["aux.0.bias", "aux.0.weight", "aux.1.bias", "aux.1.running_mean",
                               "aux.1.running_var", "aux.1.weight"], [])  # fmt: skip
    for report in equal(model, module, X, ignore=["aux.*"]):
        entries = [entry for entry in report.unproven if entry.kind == "ignored"]
        assert len(entries) == 1
        assert "aux.1.running_mean" in entries[0].places
        assert "ignored" in str(report)
    report.to_json(tmp_path / "r.json")
    report.to_html(tmp_path / "r.html")
    assert "aux.0.weight" in json.dumps(json.loads((tmp_path / "r.json").read_text())["unproven"])
    assert "ignored as asked" in (tmp_path / "r.html").read_text()


def test_every_kind_of_what_is_unproven_is_counted_and_has_a_heading() -> None:
    assert set(HEADS) == set(COUNTED) == set(UnprovenKind)


def test_what_is_ignored_still_counts_where_it_computes() -> None:
    report = transferred(without_head(), WithHead(on=0.5), X, ignore="aux.*")[0]
    assert report.verdict == "DIVERGED"


def test_the_partner_of_what_is_ignored_is_left_out_with_it() -> None:
    model = keras.Sequential(
        [keras.Input((7, 9, 4)), L.Conv2D(5, 3, name="conv"), L.Conv2D(5, 1, name="top")]
    )
    module = nn.Sequential(nn.Conv2d(4, 5, 3), nn.Conv2d(5, 5, 1))
    before = model.get_layer("top").kernel.numpy()
    result = parity.transfer(module, model, ignore="top")
    assert result.ignored == (["1.bias", "1.weight"], ["top.bias", "top.kernel"])
    np.testing.assert_array_equal(model.get_layer("top").kernel.numpy(), before)
    assert parity.compare(model, module, X, ignore="top").verdict == "DIVERGED"


@pytest.mark.parametrize(
    ("ignore", "text"), [("head.*", "names none"), (3, "must be a pattern"), ("", "must be")]
)
def test_a_pattern_must_name_something(ignore: Any, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        parity.transfer(WithHead(), without_head(), ignore=ignore)


def test_the_fixture_and_a_pairing_take_patterns(assert_parity: Any) -> None:
    model, module = without_head(), WithHead()
    pairing = parity.pair(model, module, ignore="aux.*")
    parity.transfer(module, model, pairing=pairing)
    assert_parity(model, module, X, pairing=pairing)
    assert_parity(model, module, X, ignore="aux.*")


def test_the_command_line_ignores_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = Path(__file__)
    pair = ["check", "--keras", f"{here}:without_head", "--torch", f"{here}:WithHead", "--input", "2x7x9x4"]
    assert main([*pair, "--quick"]) == 2
    assert main([*pair, "--quick", "--ignore", "aux.*"]) == 0
    assert "aux" in capsys.readouterr().out
    assert main([*pair, "--quick", "--ignore", "nothing"]) == 2


# --- layers that never run --------------------------------------------------------------------------------


class WithIdle(WithHead):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.conv(x))


def test_a_layer_that_never_runs_is_said_and_leaves_no_verdict_open() -> None:
    model, module = without_head(), WithIdle()
    with pytest.raises(PairingError, match="never runs") as raised:
        parity.transfer(module, model, inputs=X)
    assert all("never runs" in problem for problem in raised.value.problems)
    parity.transfer(module, model, inputs=X, strict=False)
    report = parity.compare(model, module, X)
    assert report, str(report)
    said = [str(entry) for entry in report.unproven if entry.kind == "never-runs"]
    assert len(said) == 6
    assert all("no counterpart" in text and "never runs" in text for text in said)
    with pytest.raises(parity.ParityError, match="never run"):
        parity.assert_parity(model, module, inputs=X, strict=True)


class WithVain(WithHead):
    """Its head runs, and what it gives goes nowhere, as the last residual of a WaveNet."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        plain = F.relu(self.conv(x))
        self.seen = super().forward(x).shape
        return plain


class WithGate(WithVain):
    """Its head decides, as a number, what is computed: no step leads from it to the output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        plain = F.relu(self.conv(x))
        return plain * 2.0 if float(self.aux(plain).mean()) > 1e6 else plain


@pytest.mark.parametrize("module_class", [WithVain, WithGate])
def test_a_layer_that_leads_to_no_output_is_said_and_leaves_the_verdict_open(module_class: Any) -> None:
    model, module = without_head(), module_class()
    with pytest.raises(PairingError, match="no step leads from it to an output"):
        parity.transfer(module, model, inputs=X)
    parity.transfer(module, model, inputs=X, strict=False)
    report = parity.compare(model, module, X)
    assert report.verdict == "INCONCLUSIVE", str(report)
    assert all("no step leads from it to an output" in finding.evidence for finding in report.findings)


class WithRate(WithIdle):
    """Its head never runs, and a weight of it is read as a number."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        rate = self.aux[1].weight.tolist()[0] if self.how == "tolist" else self.aux[1].weight[0].item()
        return y * 2.0 if rate > 5.0 else y if self.how == "branch" else y * rate


@pytest.mark.parametrize("how", ["item", "tolist", "branch"])
def test_a_layer_that_never_runs_and_is_read_as_a_number_leaves_it_open(how: str) -> None:
    model, module = without_head(), WithRate(how)
    parity.transfer(module, model, inputs=X, strict=False)
    assert parity.compare(model, module, X).verdict == "INCONCLUSIVE"
    assert float(module.aux[1].weight.detach()[0]) == 1.0, "what was tried must be put back"


def test_a_layer_that_runs_leaves_it_open() -> None:
    model, module = without_head(), WithHead()
    parity.transfer(module, model, inputs=X, strict=False)
    assert parity.compare(model, module, X).verdict == "INCONCLUSIVE"


class Block(nn.Module):
    def __init__(self, first: str, second: str) -> None:
        super().__init__()
        self.names = first
        self.add_module(first, nn.Conv2d(4, 4, 3, padding=1))
        self.add_module(second, nn.Conv2d(4, 4, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(getattr(self, self.names)(x))


class Renamed(nn.Module):
    """Blocks whose second convolution is declared and never run."""

    def __init__(self, *names: tuple[str, str]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(*pair) for pair in names)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class KerasBlock(L.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = L.Conv2D(4, 3, padding="same"), L.Conv2D(4, 3, padding="same")

    def build(self, shape: Any) -> None:
        self.conv1.build(shape)
        self.conv2.build(shape)

    def call(self, x: Any) -> Any:
        return ops.relu(self.conv1(x))


class KerasBlocks(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = [KerasBlock() for _ in range(3)]

    def call(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return x


def test_a_renaming_of_the_sure_pairs_reaches_layers_that_never_run() -> None:
    model, module = KerasBlocks(), Renamed(*[("convo1", "conv2")] * 3)
    result = parity.transfer(module, model, inputs=X)  # the second has its own name
    assert ("blocks.2.conv2", "blocks.2.conv2") in result.pairs
    model, module = KerasBlocks(), Renamed(*[("conv1", "conv2")] * 3)
    module = nn.Sequential()
    module.add_module("stages", Renamed(*[("conv1", "conv2")] * 3).blocks)
    module.forward = lambda x: module.stages[2](module.stages[1](module.stages[0](x)))  # type: ignore[method-assign]
    for report in equal(model, module, X):
        assert any("blocks is stages" in note for note in report.notes)
    np.testing.assert_array_equal(
        model.blocks[1].conv2.kernel.numpy(),
        module.stages[1].conv2.weight.detach().numpy().transpose(2, 3, 1, 0),
    )


def test_a_name_that_goes_several_ways_is_no_renaming() -> None:
    module = Renamed(("one", "two"), ("uno", "dos"), ("eins", "zwei"))
    with pytest.raises(PairingError, match="conv2"):
        parity.transfer(module, KerasBlocks(), inputs=X)


def test_a_renaming_follows_starts_of_other_lengths() -> None:
    renaming = learnt([("body.a", "net.body.a"), ("body.b.k", "net.body.b.k")])
    assert renaming.of("body.c") == {"body.c", "net.body.c"}
    free = {"body.c": (), "other": ()}
    assert renamed(renaming, free, {"net.body.c": (), "else": ()}) == [("body.c", "net.body.c")]


def test_a_tensor_that_a_running_module_does_not_use_leaves_the_verdict_open() -> None:
    model, module = without_head(), nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU())
    parity.transfer(module, model, inputs=X)
    module.register_parameter("spare", nn.Parameter(torch.zeros(3)))
    assert parity.compare(model, module, X).verdict == "INCONCLUSIVE"
