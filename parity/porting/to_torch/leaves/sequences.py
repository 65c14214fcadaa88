"""Recurrent layers and attention."""

from __future__ import annotations

from typing import Any

from parity.porting.to_torch.axes import frames, images, plain
from parity.porting.to_torch.use import RefusedError, StepUse
from parity.porting.to_torch.values import kinds

DEFAULTS = {"LSTM": ("tanh", "sigmoid"), "GRU": ("tanh", "sigmoid"), "SimpleRNN": ("tanh", None)}


def _kind(layer: Any) -> str:
    return next((name for name in kinds(layer) if name in DEFAULTS), "")


def _arguments(use: StepUse, layer: Any) -> dict[str, Any]:
    """The arguments of torch's recurrent module; refused where torch computes something else."""
    kind = _kind(layer)
    if not kind:
        raise RefusedError(f"the recurrent layer {type(layer).__name__} has no counterpart in torch")
    activation, gate = DEFAULTS[kind]
    used = (
        getattr(layer.activation, "__name__", ""),
        getattr(getattr(layer, "recurrent_activation", None), "__name__", None),
    )
    if used != (activation, gate) and not (kind == "SimpleRNN" and used[0] == "relu"):
        raise RefusedError(f"torch's {kind} has tanh and sigmoid; the layer has {used[0]} and {used[1]}")
    if layer.dropout or layer.recurrent_dropout:
        raise RefusedError("dropout of a recurrent layer's inputs or state")
    if kind == "GRU" and not layer.reset_after:
        raise RefusedError("a GRU with reset_after=False: torch resets behind the product")
    if use.kwargs.get("mask") is not None:
        raise RefusedError("a mask in a recurrent layer")
    if getattr(layer, "stateful", False):
        raise RefusedError("a stateful recurrent layer")
    found: dict[str, Any] = {"input_size": int(use.x.shape[-1]), "hidden_size": int(layer.units)}
    if kind == "SimpleRNN" and used[0] == "relu":
        found["nonlinearity"] = "relu"
    return {**found, "bias": bool(layer.use_bias), "batch_first": True}


def recurrent(use: StepUse) -> None:
    """LSTM, GRU, SimpleRNN."""
    layer = use.layer
    if len(use.tensors) > 1:
        raise RefusedError("a recurrent layer with a first state")
    found = _arguments(use, layer)
    kind = "RNN" if _kind(layer) == "SimpleRNN" else _kind(layer)
    made = use.module(f"nn.{kind}", ("input_size", "hidden_size"), **found, sources={"hidden_size": "units"})
    text = use.plainly(use.x, atom=layer.go_backwards)
    text = f"{made}({text}.flip(1))" if layer.go_backwards else f"{made}({text})"
    if layer.return_state:
        _with_state(use, text, kind, bool(layer.return_sequences))
    elif layer.return_sequences:
        use.give(f"{text}[0]", plain(3))
    else:
        use.give(f"{text}[0][:, -1]", plain(2))


def _with_state(use: StepUse, text: str, kind: str, sequences: bool) -> None:
    """The outputs and the last state, as Keras gives them."""
    helper = use.helper("lstm_states" if kind == "LSTM" else "rnn_states")
    flag = "" if sequences else ", sequences=False"
    states = 2 if kind == "LSTM" else 1
    use.piece.unpacked = True
    use.give(f"{helper}({text}{flag})", plain(3 if sequences else 2), *[plain(2)] * states)


def bidirectional(use: StepUse) -> None:
    """Bidirectional around a recurrent layer, with its two results joined."""
    layer = use.layer
    forward, backward = layer.forward_layer, layer.backward_layer
    if layer.merge_mode != "concat" or forward.return_state or _kind(forward) != _kind(backward):
        raise RefusedError(f"Bidirectional with merge_mode={layer.merge_mode!r} or return_state")
    found = _arguments(use, forward)
    kind = "RNN" if _kind(forward) == "SimpleRNN" else _kind(forward)
    made = use.module(f"nn.{kind}", ("input_size", "hidden_size"), **found, bidirectional=True)
    text = f"{made}({use.plainly(use.x)})"
    if forward.return_sequences:
        return use.give(f"{text}[0]", plain(3))
    state = f"{text}[1][0]" if kind == "LSTM" else f"{text}[1]"
    return use.give(f"torch.cat(tuple({state}), dim=1)", plain(2))


def attention(use: StepUse) -> None:
    """MultiHeadAttention: torch's own where it has the same sizes and masks, else a helper."""
    layer = use.layer
    query = use.args[0] if use.args else use.kwargs["query"]
    value = use.args[1] if len(use.args) > 1 else use.kwargs["value"]
    key = use.args[2] if len(use.args) > 2 else use.kwargs.get("key")
    key = value if key is None else key
    mask = use.kwargs.get("attention_mask")
    asked = use.kwargs.get("return_attention_scores")
    if any(use.kwargs.get(f"{name}_mask") is not None for name in ("query", "key", "value")):
        raise RefusedError("masks that attention gets from the layers in front")
    if len(query.shape) != 3 or len(layer._attention_axes) != 1:
        raise RefusedError("attention over several axes")
    width, depth = int(query.shape[-1]), int(layer.num_heads * layer.key_dim)
    widths = [int(tensor.shape[-1]) for tensor in (query, key, value)]
    out = layer._output_shape
    plain_sizes = width == depth and layer.key_dim == (layer.value_dim or layer.key_dim)
    simple = plain_sizes and out in (None, (width,), [width]) and mask is None
    simple = simple and not use.kwargs.get("use_causal_mask") and not asked
    simple = simple and len(set(widths)) == 1
    texts = [use.plainly(tensor) for tensor in (query, key, value)]
    if simple:
        made = use.module(
            "nn.MultiheadAttention", ("embed_dim", "num_heads"), embed_dim=width, num_heads=int(layer.num_heads),
            dropout=float(layer.dropout), bias=bool(layer._use_bias), batch_first=True,
            sources={"num_heads": "num_heads", "dropout": "dropout"},
        )  # fmt: skip
        return use.give(f"{made}({', '.join(texts)}, need_weights=False)[0]", plain(3))
    output = width if out is None else int(out[0] if isinstance(out, list | tuple) else out)
    made = use.module(
        "MultiHeadAttention", ("num_heads", "key_dim"), num_heads=int(layer.num_heads), key_dim=int(layer.key_dim),
        value_dim=int(layer.value_dim or layer.key_dim), query_size=width, key_size=widths[1], value_size=widths[2],
        output_size=output, dropout=float(layer.dropout), bias=bool(layer._use_bias),
        sources={"num_heads": "num_heads", "key_dim": "key_dim", "value_dim": "value_dim", "dropout": "dropout"},
    )  # fmt: skip
    more = [f"attention_mask={use.plainly(mask)}"] if mask is not None else []
    more += ["use_causal_mask=True"] if use.kwargs.get("use_causal_mask") else []
    if asked:
        use.piece.unpacked = True
        return use.give(f"{made}({', '.join([*texts, *more])}, need_weights=True)", plain(3), plain(4))
    return use.give(f"{made}({', '.join([*texts, *more])})", plain(3))


def grouped_attention(use: StepUse) -> None:
    """GroupQueryAttention: several queries share a key and a value."""
    layer = use.layer
    query = use.args[0]
    value = use.args[1]
    key = use.args[2] if len(use.args) > 2 and use.args[2] is not None else value
    mask = use.kwargs.get("attention_mask")
    if use.kwargs.get("return_attention_scores"):
        raise RefusedError("the scores of a GroupQueryAttention")
    sizes = [int(tensor.shape[-1]) for tensor in (query, key, value)]
    made = use.module(
        "GroupQueryAttention", ("head_dim", "num_query_heads", "num_key_value_heads"), head_dim=int(layer.head_dim),
        num_query_heads=int(layer.num_query_heads), num_key_value_heads=int(layer.num_key_value_heads),
        query_size=sizes[0], key_size=sizes[1], value_size=sizes[2], dropout=float(layer.dropout),
        bias=bool(layer.use_bias),
    )  # fmt: skip
    texts = [use.plainly(tensor) for tensor in (query, key, value)]
    texts += [f"attention_mask={use.plainly(mask)}"] if mask is not None else []
    texts += ["use_causal_mask=True"] if use.kwargs.get("use_causal_mask") else []
    use.give(f"{made}({', '.join(texts)})", plain(3))


def conv_lstm(use: StepUse) -> None:
    """ConvLSTM2D, as a helper that keeps Keras' gates."""
    layer = use.layer
    rank = len(use.x.shape)
    gates = getattr(layer.activation, "__name__", ""), getattr(layer.recurrent_activation, "__name__", "")
    plain_settings = (
        layer.strides == (1, 1) and layer.dilation_rate == (1, 1) and layer.padding in ("same", "valid")
    )
    if (
        gates != ("tanh", "sigmoid")
        or not plain_settings
        or layer.return_state
        or layer.dropout
        or layer.recurrent_dropout
    ):
        raise RefusedError(f"a ConvLSTM2D with the activations {gates}, strides, dilation, state or dropout")
    made = use.module(
        "ConvLSTM2d", ("in_channels", "out_channels", "kernel_size"), in_channels=int(use.x.shape[-1]),
        out_channels=int(layer.filters), kernel_size=tuple(layer.kernel_size), padding=layer.padding,
        bias=bool(layer.use_bias), return_sequences=bool(layer.return_sequences),
        sources={"out_channels": "filters", "kernel_size": "kernel_size", "return_sequences": "return_sequences"},
    )  # fmt: skip
    after = frames(rank) if layer.return_sequences else images(rank - 1)
    use.give(f"{made}({use.take(use.x, frames(rank))})", after)


RULES = {
    **dict.fromkeys(DEFAULTS, recurrent), "Bidirectional": bidirectional, "MultiHeadAttention": attention,
    "GroupQueryAttention": grouped_attention, "GroupedQueryAttention": grouped_attention, "ConvLSTM2D": conv_lstm,
}  # fmt: skip
