"""Outputs by what they are called or shaped, and masks that stay masks in further probes."""

from __future__ import annotations

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
from parity.adapters.inputs.outputs import in_keras_order
from parity.adapters.probe import randomise
from parity.probes.change import Change, changed_inputs, is_mask

A, B, C = np.zeros((2, 7, 4)), np.zeros((2, 5, 4)), np.zeros((2, 4))


class Named:
    """What in_keras_order changes of an adapter."""

    def __init__(self) -> None:
        from parity.core.adapter import Form

        self.form = Form()


@pytest.mark.parametrize(
    ("keras_names", "torch_names", "wanted"),
    [
        (["encoder_sequence_output", "decoder_sequence_output"],
         ["last_hidden_state", "encoder_last_hidden_state"], [1, 0]),
        (["sequence_output", "pooled_output"], ["pooler_output", "last_hidden_state"], [1, 0]),
        (["b", "a"], ["a", "b"], [1, 0]),
        (["sequence_output", "x"], ["last_hidden_state", "y"], [0, 1]),
    ],
)  # fmt: skip
def test_names_say_which_output_is_which(
    keras_names: list[str], torch_names: list[str], wanted: list[int]
) -> None:
    same = [np.full((2, 3, 4), 0.0), np.full((2, 3, 4), 1.0)]
    side: Any = Named()
    given = list(zip(torch_names, same, strict=True))
    found = in_keras_order(side, list(zip(keras_names, same, strict=True)), given)
    assert [int(value[0, 0, 0]) for _, value in found] == wanted
    assert bool(side.form.renamed) == (wanted == [1, 0])


def test_shapes_say_it_where_names_do_not() -> None:
    side: Any = Named()
    found = in_keras_order(side, [("x", A), ("y", B), ("z", C)], [("0", C), ("1", A), ("2", B)])
    assert [value.shape for _, value in found] == [A.shape, B.shape, C.shape]
    assert in_keras_order(side, [("x", A), ("y", A)], [("0", A), ("1", C)])[0][0] == "0", "no order fits"


class Encoded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, encoder_x: Any, decoder_x: Any) -> dict[str, Any]:
        first = torch.tanh(self.encoder(encoder_x))
        second = self.decoder(decoder_x) + first.mean(1, keepdim=True)
        return {"last_hidden_state": second, "encoder_last_hidden_state": first}


def keras_encoded(scale: float = 1.0) -> Any:
    first, second = keras.Input((None, 3), name="encoder_x"), keras.Input((None, 3), name="decoder_x")
    x = keras.ops.tanh(L.Dense(4, name="encoder")(first)) * scale
    y = L.Dense(4, name="decoder")(second) + keras.ops.mean(x, 1, keepdims=True)
    return keras.Model([first, second], {"encoder_sequence_output": x, "decoder_sequence_output": y})


@pytest.mark.parametrize("length", [5, 7], ids=["other lengths", "one length"])
def test_outputs_of_an_encoder_and_a_decoder(length: int) -> None:
    rng = np.random.default_rng(0)
    values = {
        "encoder_x": rng.standard_normal((2, 7, 3)).astype(np.float32),
        "decoder_x": rng.standard_normal((2, length, 3)).astype(np.float32),
    }
    module = Encoded()
    randomise(adapt(module), 0)
    for scale, verdict in ((1.0, "EQUAL"), (1.001, "DIVERGED")):
        model = keras_encoded(scale)
        parity.transfer(module, model, inputs=values)
        report = parity.compare(model, module, values)
        assert report.verdict == verdict, report.findings
    report = parity.compare(keras_encoded(), module, values, gradients=True)
    assert report.verdict == "DIVERGED", "other weights"
    model = keras_encoded()
    parity.transfer(module, model, inputs=values)
    report = parity.compare(model, module, values, gradients=True)
    assert report, report.findings


def test_a_mask_stays_a_mask_in_every_probe() -> None:
    ids = np.random.default_rng(0).integers(3, 60, (2, 9)).astype(np.int32)
    mask = np.ones((2, 9), np.int32)
    mask[1, -3:] = 0
    assert is_mask([ids, mask], 1)
    assert is_mask([ids, np.ones_like(mask)], 1)
    assert not is_mask([ids, mask], 0)
    assert not is_mask([np.ones_like(mask)], 0), "tokens that are all one"
    for change in (
        Change(scale=8.0, sign="negated", batch=1),
        Change(scale=64.0, sign="non-negative", drawn=True, batch=3),
        Change(drawn=True, batch=1),
        Change(batch=3),
    ):
        for given in (mask, np.ones_like(mask)):
            _, fresh = changed_inputs([ids, given], change, {}, [(), ()], tokens=60)
            assert set(np.unique(fresh)) <= {0, 1}
            assert fresh[:, 0].all(), "the first token is never masked"
    _, fresh = changed_inputs([ids, mask], Change(scale=8.0, sign="negated"), {}, [(), ()], tokens=60)
    assert not np.array_equal(fresh, mask)


class Saturated(nn.Module):
    """Scores far apart, and what a last step makes of them."""

    def __init__(self, last: str, epsilon: float) -> None:
        super().__init__()
        self.last = last
        self.bn = nn.BatchNorm2d(3, eps=epsilon)
        self.conv = nn.Conv2d(3, 8, 3)
        self.fc = nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = 700 * self.fc(torch.relu(self.conv(self.bn(x))).mean((2, 3)))
        return scores.softmax(-1) if self.last == "softmax" else getattr(scores, self.last)()


def saturated(last: str) -> Any:
    x = image = keras.Input((None, None, 3))
    x = L.Conv2D(8, 3, activation="relu", name="conv")(L.BatchNormalization(epsilon=1e-5, name="bn")(x))
    x = 700 * L.Dense(6, name="fc")(L.GlobalAveragePooling2D()(x))
    return keras.Model(image, getattr(ops, last)(x))


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("last", ["softmax", "sigmoid", "tanh"])
@pytest.mark.parametrize("epsilon", [1e-5, 1.001e-5, 1e-2])
def test_probabilities_that_are_zero_and_one_hide_the_network(last: str, epsilon: float, quick: bool) -> None:
    x = np.random.default_rng(0).standard_normal((2, 12, 15, 3)).astype("float32")
    module, model = Saturated(last, epsilon).eval(), saturated(last)
    randomise(adapt(module), 0)
    parity.transfer(module, model, inputs=x)
    report = parity.compare(model, module, x, quick=quick)
    assert bool(report) == (epsilon == 1e-5), str(report)
    assert report.max_rel_diff < 1e-30, "this case shows nothing: its outputs are not at their ends"
