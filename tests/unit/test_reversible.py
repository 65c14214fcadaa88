"""An embedding that is the head as well: with its own matrix for the way back, or with the table itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("torch")

import keras
import torch
from torch import nn

import parity

WORDS, WIDTH = 19, 6
TOKENS = np.random.default_rng(0).integers(3, WORDS, (2, 7)).astype(np.int32)


def keras_model(tied: bool) -> Any:
    tokens = keras.Input((None,), dtype="int32")
    words = keras.layers.ReversibleEmbedding(WORDS, WIDTH, tie_weights=tied, name="words")
    x = keras.layers.LayerNormalization(epsilon=1e-5, name="norm")(words(tokens))
    x = keras.layers.Dense(WIDTH, activation="relu", name="inner")(x)
    return keras.Model(tokens, words(x, reverse=True))


class Net(nn.Module):
    def __init__(self, tied: bool, functional: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.ln = nn.LayerNorm(WIDTH)
        self.fc = nn.Linear(WIDTH, WIDTH)
        self.functional = functional
        self.lm_head = None if functional else nn.Linear(WIDTH, WORDS, bias=False)
        if tied and self.lm_head is not None:
            self.lm_head.weight = self.embed.weight

    def forward(self, tokens: Any) -> Any:
        x = torch.relu(self.fc(self.ln(self.embed(tokens))))
        return self.lm_head(x) if self.lm_head is not None else x @ self.embed.weight.T


def pair(tied: bool, functional: bool = False) -> tuple[Any, Any]:
    model, module = keras_model(tied), Net(tied, functional).eval()
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(-1, 1, w.shape) for w in model.get_weights()])
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-1, 1)
    return model, module


@pytest.mark.parametrize(("tied", "functional"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("to_torch", [False, True])
def test_the_head_in_the_embedding_is_the_head(tied: bool, functional: bool, to_torch: bool) -> None:
    model, module = pair(tied, functional)
    source, target = (model, module) if to_torch else (module, model)
    result = parity.transfer(source, target, inputs=TOKENS)
    assert not result.unmatched_source + result.unmatched_target
    assert not any("names decide" in note for note in result.notes), result.notes
    report = parity.compare(model, module, TOKENS)
    assert report, str(report)
    got = model(TOKENS).numpy(), module(torch.from_numpy(TOKENS)).detach().numpy()
    np.testing.assert_allclose(*got, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("tied", "changed"), [(False, "lm_head"), (False, "embed"), (True, "embed")])
def test_another_head_or_table_is_found(tied: bool, changed: str) -> None:
    model, module = pair(tied)
    parity.transfer(module, model, inputs=TOKENS)
    with torch.no_grad():
        getattr(module, changed).weight[4] += 0.25
    report = parity.compare(model, module, TOKENS)
    assert report.verdict == "DIVERGED"
    assert changed in {finding.torch for finding in report.findings}


def test_a_head_of_its_own_is_none_that_is_tied() -> None:
    model, module = keras_model(tied=True), pair(tied=False)[1]
    with pytest.raises(parity.PairingError):
        parity.transfer(module, model, inputs=TOKENS)


def test_a_matrix_that_no_step_reads_is_said_and_needs_no_counterpart() -> None:
    tokens = keras.Input((None,), dtype="int32")
    words = keras.layers.ReversibleEmbedding(WORDS, WIDTH, tie_weights=False, name="words")
    x = keras.layers.LayerNormalization(epsilon=1e-5, name="norm")(words(tokens))
    model = keras.Model(tokens, keras.layers.Dense(WIDTH, activation="relu", name="inner")(x))

    class Body(Net):
        def forward(self, tokens: Any) -> Any:
            return torch.relu(self.fc(self.ln(self.embed(tokens))))

    module = Body(tied=False, functional=True).eval()
    before = words.reverse_embeddings.numpy()
    for source, target in ((module, model), (model, module)):
        result = parity.transfer(source, target, inputs=TOKENS)
        assert any("words.reverse_embeddings, which no step reads" in note for note in result.notes), (
            result.notes
        )
        report = parity.compare(model, module, TOKENS)
        assert report, str(report)
    np.testing.assert_array_equal(words.reverse_embeddings.numpy(), before)


def test_a_weight_that_is_forgotten_on_one_side_is_found() -> None:
    class Scaled(nn.Module):
        def __init__(self, used: bool) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.linspace(0.5, 2.0, WIDTH))
            self.fc = nn.Linear(WIDTH, 5)
            self.used = used

        def forward(self, x: Any) -> Any:
            return self.fc(x * self.scale if self.used else x * 1.0)

    class Scale(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

        def call(self, x: Any) -> Any:
            return x * self.scale

    x = np.random.default_rng(0).uniform(-1, 1, (4, WIDTH)).astype(np.float32)
    for used in (True, False):
        image = keras.Input((WIDTH,))
        model = keras.Model(image, keras.layers.Dense(5, name="fc")(Scale(name="scale")(image)))
        module = Scaled(used).eval()
        if used:
            parity.transfer(module, model, inputs=x)
            assert parity.compare(model, module, x)
        else:
            with pytest.raises(parity.PairingError):
                parity.transfer(module, model, inputs=x)


class ReadAsNumber(nn.Module):
    """A dense layer of its own whose scale no step is given, and which counts all the same."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(5, 6)), nn.Parameter(torch.zeros(5))
        self.scale, self.how = nn.Parameter(torch.ones(1)), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.linear(x, self.weight, self.bias)
        if self.how == "item":
            return y * self.scale.item()
        if self.how == "tolist":
            return y * self.scale.tolist()[0]
        return y * 2.0 if self.scale.item() > 5.0 else y


@pytest.mark.parametrize("how", ["item", "tolist", "branch"])
def test_a_weight_that_is_read_as_a_number_needs_its_counterpart(how: str) -> None:
    tokens = keras.Input((6,))
    model, module = keras.Model(tokens, keras.layers.Dense(5, name="a")(tokens)), nn.Sequential()
    module.add_module("a", ReadAsNumber(how))
    values = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    with pytest.raises(parity.PairingError, match="scale"):
        parity.transfer(module, model, inputs=values)
    parity.transfer(module, model, inputs=values, strict=False)
    assert float(module.a.scale.detach()[0]) == 1.0, "what was tried must be put back"
    assert parity.compare(model, module, values).verdict == "INCONCLUSIVE"
