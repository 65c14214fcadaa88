"""Attention with heads."""

from __future__ import annotations

from typing import Any

from parity.porting.to_torch.axes import plain
from parity.porting.to_torch.use import RefusedError, StepUse
from parity.porting.to_torch.values import is_tensor

PLACES = ("query", "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask")
"""The first arguments of the layers' `call`, in order."""


def _given(use: StepUse, name: str) -> Any:
    """An argument of the call, by position or by name."""
    place = PLACES.index(name)
    return use.args[place] if len(use.args) > place else use.kwargs.get(name)


def _mask(use: StepUse) -> str:
    """The text of the mask over queries and keys, made of all masks of the call; empty where there is none."""
    asked = _given(use, "attention_mask")
    texts = [use.plainly(asked)] if asked is not None else []
    keys = [":, :, None", ":, None", ":, None"]
    for name, key in zip(("query_mask", "value_mask", "key_mask"), keys, strict=True):
        mask = _given(use, name)
        if name == "key_mask" and (_given(use, "key") is None or _given(use, "key") is _given(use, "value")):
            continue  # as Keras does
        text = f"{use.plainly(mask, atom=True)}[{key}]" if is_tensor(mask) else ""
        if text and text not in texts:
            texts.append(text)
    if asked is not None and len(texts) > 1:
        if len(asked.shape) > 3:
            raise RefusedError("a mask for each head together with masks of the layers in front")
        texts[0] = f"{use.plainly(asked, atom=True)}.bool()"
    return " & ".join(texts)


def attention(use: StepUse) -> None:
    """MultiHeadAttention: torch's own where it has the same sizes and masks, else a helper."""
    layer = use.layer
    query, value, key = (_given(use, name) for name in PLACES[:3])
    key = value if key is None else key
    mask = _mask(use)
    asked = use.kwargs.get("return_attention_scores")
    if getattr(layer, "_sliding_window", None) is not None or getattr(layer, "_use_gate", False):
        raise RefusedError("attention with a sliding window or a gate")
    if len(query.shape) != 3 or len(layer._attention_axes) != 1:
        raise RefusedError("attention over several axes")
    width, depth = int(query.shape[-1]), int(layer.num_heads * layer.key_dim)
    widths = [int(tensor.shape[-1]) for tensor in (query, key, value)]
    out = layer._output_shape
    plain_sizes = width == depth and layer.key_dim == (layer.value_dim or layer.key_dim)
    simple = plain_sizes and out in (None, (width,), [width]) and not mask
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
    more = [f"attention_mask={mask}"] if mask else []
    more += ["use_causal_mask=True"] if use.kwargs.get("use_causal_mask") else []
    if asked:
        use.piece.unpacked = True
        return use.give(f"{made}({', '.join([*texts, *more])}, need_weights=True)", plain(3), plain(4))
    return use.give(f"{made}({', '.join([*texts, *more])})", plain(3))


def grouped_attention(use: StepUse) -> None:
    """GroupQueryAttention: several queries share a key and a value."""
    layer = use.layer
    query, value, key = (_given(use, name) for name in PLACES[:3])
    key = value if key is None else key
    mask = _mask(use)
    sizes = [int(tensor.shape[-1]) for tensor in (query, key, value)]
    made = use.module(
        "GroupQueryAttention", ("head_dim", "num_query_heads", "num_key_value_heads"), head_dim=int(layer.head_dim),
        num_query_heads=int(layer.num_query_heads), num_key_value_heads=int(layer.num_key_value_heads),
        query_size=sizes[0], key_size=sizes[1], value_size=sizes[2], dropout=float(layer.dropout),
        bias=bool(layer.use_bias),
    )  # fmt: skip
    texts = [use.plainly(tensor) for tensor in (query, key, value)]
    texts += [f"attention_mask={mask}"] if mask else []
    texts += ["use_causal_mask=True"] if use.kwargs.get("use_causal_mask") else []
    if use.kwargs.get("return_attention_scores"):
        use.piece.unpacked = True
        return use.give(f"{made}({', '.join([*texts, 'need_weights=True'])})", plain(3), plain(4))
    return use.give(f"{made}({', '.join(texts)})", plain(3))


RULES = {
    "MultiHeadAttention": attention, "GroupQueryAttention": grouped_attention,
    "GroupedQueryAttention": grouped_attention,
}  # fmt: skip
