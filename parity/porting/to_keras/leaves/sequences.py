"""Attention, transformer layers and recurrent layers."""

from __future__ import annotations

from typing import Any

from parity.porting.to_keras.leaves.setting import Leaf, NoCounterpartError, Settings, wrapped

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


def cell(settings: Settings) -> Leaf:
    """nn.LSTMCell, nn.GRUCell and nn.RNNCell."""
    arguments = [settings["hidden_size"].text, *settings.optional("bias", "use_bias", True)]
    if settings.kind == "RNNCell":
        arguments += settings.optional("nonlinearity", "activation", "tanh")
    return Leaf(settings.kind, tuple(arguments), frozenset({settings.kind}), "torch", "torch")


TRANSFORMER = {
    "dim_feedforward": 2048, "dropout": 0.1, "layer_norm_eps": 1e-5, "batch_first": False, "norm_first": False,
    "bias": True,
}  # fmt: skip
ACTIVATIONS = {
    "relu": "relu", "ReLU()": "relu", "ReLU(inplace=True)": "relu", "gelu": "gelu", "GELU(approximate='none')": "gelu",
}  # fmt: skip
"""By what `activation_name` gives, Keras' name."""


def transformer_layer(settings: Settings) -> Leaf:
    """nn.TransformerEncoderLayer, nn.TransformerDecoderLayer and nn.Transformer."""
    names = ["d_model", "nhead"]
    arguments = [settings[name].text for name in names]
    if settings.kind == "Transformer":
        settings.refuse("custom_encoder", None)
        settings.refuse("custom_decoder", None)
        arguments = [
            f"{name}={settings[name].text}" for name in (*names, "num_encoder_layers", "num_decoder_layers")
        ]
    for name, default in TRANSFORMER.items():
        arguments += settings.optional(name, name, default)
    activation = _activation(settings)
    arguments += [f'activation="{activation}"'] if activation != "relu" else []
    return Leaf(settings.kind, tuple(arguments), frozenset({settings.kind}), "torch", "torch")


def activation_name(value: Any) -> str:
    """What says which activation a transformer's layer was given: its name, or how the layer shows itself."""
    return value if isinstance(value, str) else getattr(value, "__name__", repr(value))


def _activation(settings: Settings) -> str:
    """Keras' name of the activation between the two dense layers."""
    name = activation_name(settings["activation"].one)
    if name not in ACTIVATIONS:
        raise NoCounterpartError(
            f"torch.nn.{settings.kind} has the activation {name}, and takes relu or gelu here"
        )
    return ACTIVATIONS[name]


def transformer_stack(settings: Settings) -> Leaf:
    """nn.TransformerEncoder and nn.TransformerDecoder."""
    layer = "encoder_layer" if settings.kind == "TransformerEncoder" else "decoder_layer"
    arguments = [settings[layer].text, settings["num_layers"].text]
    arguments += settings.optional("norm", "norm", None)
    return Leaf(settings.kind, tuple(arguments), frozenset({settings.kind}), "torch", "torch")
