"""Ports of torch's transformer and of its recurrent cells, called in a loop."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("keras")

from parity.porting.port import port  # noqa: E402
from tests.ported import proved  # noqa: E402

nn = torch.nn


class Unrolled(nn.Module):
    """Cells of each kind, one behind the other, whose first states are the layers' own."""

    def __init__(self, hidden=5, nonlinearity="relu"):
        super().__init__()
        self.first = nn.LSTMCell(6, hidden)
        self.second = nn.GRUCell(hidden, 4, bias=False)
        self.third = nn.RNNCell(4, 3, nonlinearity=nonlinearity)

    def forward(self, x):
        states = gated = simple = None
        for step in range(x.shape[1]):
            states = self.first(x[:, step], states)
            gated = self.second(states[0], gated)
            simple = self.third(gated, simple)
        return simple


def test_cells() -> None:
    made = proved(Unrolled, (2, 3, 6), quick=False)
    assert {proof.name for proof in made.proofs} == {"outputs", "training", "second size", "reload"}
    assert 'def __init__(self, hidden=5, nonlinearity="relu", **kwargs)' in made.text
    assert "states = self.first(x[:, step], states)" in made.text


class Encoded(nn.Module):
    """An encoder from a layer that is copied, and a layer alone."""

    def __init__(self, width=8, depth=2, first=True):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, 2, 12, activation="gelu", batch_first=True, norm_first=first
        )
        self.encoder = nn.TransformerEncoder(
            layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.last = nn.TransformerEncoderLayer(width, 4, dim_feedforward=6, bias=False)

    def forward(self, x):
        return self.last(self.encoder(x).transpose(0, 1))


def test_encoder() -> None:
    made = proved(Encoded, (2, 5, 8), quick=False)
    assert [proof.name for proof in made.proofs] == ["outputs", "training", "second size", "reload"]
    assert "norm_first=first" in made.text
    assert "self.encoder = TransformerEncoder(layer, depth, norm=" in made.text


class Translated(nn.Module):
    """A decoder with a mask and both sequences padded, and the whole transformer."""

    def __init__(self, width=8):
        super().__init__()
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(width, 4, 12), num_layers=1)
        self.cross = nn.MultiheadAttention(width, 2)
        self.whole = nn.Transformer(width, 2, 1, 2, 16, batch_first=True)

    def forward(self, source, target):
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        padded = source.sum(-1) > 0.3
        first = self.decoder(
            target.transpose(0, 1), source.transpose(0, 1), tgt_mask=mask, memory_key_padding_mask=padded
        )
        second, _ = self.cross(first, key=source.transpose(0, 1), value=source.transpose(0, 1))
        return self.whole(source, second.transpose(0, 1), tgt_mask=mask)


def test_decoder_and_transformer() -> None:
    proved(Translated, (2, 5, 8), (2, 4, 8))


def alone(activation) -> torch.nn.Module:
    """A layer without a class around it: its settings are read from the layer."""
    return nn.Sequential(nn.TransformerEncoderLayer(8, 2, 12, 0.2, activation, batch_first=True))


def test_settings_are_read_from_a_layer() -> None:
    made = proved(lambda: alone(nn.GELU()), (2, 4, 8))
    settings = '8, 2, dim_feedforward=12, dropout=0.2, batch_first=True, activation="gelu"'
    assert settings in " ".join(made.text.split())


def test_an_activation_that_keras_names_otherwise_is_refused() -> None:
    made = port(lambda: alone(nn.Tanh()), torch.rand(4, 2, 8).numpy())
    assert "takes relu or gelu here" in made.unwritten[0].reason
