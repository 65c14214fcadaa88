"""Attention, transformer layers and recurrent layers."""

from __future__ import annotations

from parity.porting.to_keras.leaves.setting import Leaf, Settings, wrapped

RECURRENT = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}


def attention(settings: Settings) -> Leaf:
    """nn.MultiheadAttention."""
    for name, allowed in (("add_bias_kv", False), ("add_zero_attn", False)):
        settings.refuse(name, allowed)
    heads, width = settings["num_heads"].text, settings["embed_dim"].text
    arguments = [heads, f"{wrapped(width)} // {wrapped(heads)}"]
    for name, keras, default in (
        ("dropout", "dropout", 0.0),
        ("bias", "use_bias", True),
        ("batch_first", "batch_first", False),
    ):
        arguments += settings.optional(name, keras, default)
    return Leaf("MultiheadAttention", tuple(arguments), frozenset({"MultiheadAttention"}), "torch", "torch")


def recurrent(settings: Settings) -> Leaf:
    """nn.LSTM, nn.GRU and nn.RNN."""
    if settings.kind == "LSTM":
        settings.refuse("proj_size", 0)
    arguments = [settings["hidden_size"].text]
    for name, default in RECURRENT.items():
        arguments += settings.optional(name, name, default)
    if settings.kind == "RNN":
        arguments += settings.optional("nonlinearity", "nonlinearity", "tanh")
    name = f"Stacked{settings.kind}"
    return Leaf(name, tuple(arguments), frozenset({name}), "torch", "torch")
