"""Attention layers whose projections have other sizes: Keras counts the size of one head, torch that of all heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from parity.core.types import LayerInfo

AttentionLayers = Mapping[str, LayerInfo]
KERAS = "MultiHeadAttention"
TORCH = "MultiheadAttention"


@dataclass(frozen=True)
class KeyDim:
    """A Keras attention layer with a key_dim that torch's embed_dim does not mean.

    Attributes:
        keras, torch: paths of the two layers.
        evidence, fix: in words.
        verified: whether every tensor has as many values as torch's with that key_dim.
    """

    keras: str
    torch: str
    evidence: str
    fix: str
    verified: bool


def key_dims(keras: AttentionLayers, torch: AttentionLayers, unmatched: set[str]) -> Iterator[KeyDim]:
    """The attention layers of both sides, one with one in order, that differ by what key_dim means.

    Args:
        keras: the Keras layers by path.
        torch: likewise.
        unmatched: paths of the layers of either side that have tensors without a counterpart.
    """
    sides = [
        [path for path, layer in layers.items() if layer.kind == kind and _open(path, unmatched)]
        for layers, kind in ((keras, KERAS), (torch, TORCH))
    ]
    if len(sides[0]) != len(sides[1]):
        return
    for keras_path, torch_path in zip(*sides, strict=True):
        query = _shape(keras, keras_path, "query", "kernel")
        out = next(
            (t.shape for t in torch[f"{torch_path}.out_proj".lstrip(".")].tensors if t.name == "weight"), None
        )
        if query is None or len(query) != 3 or out is None:
            continue
        size, heads, each = query
        whole = out[0]
        if heads * each == whole or whole % heads or heads < 2:
            continue
        rest = prod(_shape(keras, keras_path, "attention_output", "kernel") or
                    _shape(keras, keras_path, "output", "kernel") or (0,))  # fmt: skip
        fits = rest * whole == heads * each * whole * out[0] and size == _inputs(torch, torch_path)
        named = " (torch's embed_dim)" if each == whole else ""
        yield KeyDim(
            keras_path, torch_path,
            f"key_dim is the size of one head in Keras: {heads} heads of {each}{named} are {heads * each} features; "
            f"torch has {whole} for all heads, {whole // heads} for each of {heads}",
            f"key_dim={whole // heads} ({whole} / {heads} heads) on Keras layer {keras_path}: its tensors then have "
            "the sizes of torch's", fits,
        )  # fmt: skip


def within(path: str | None, layer: str) -> bool:
    """Whether a path is a layer, or lies in it."""
    return path is not None and f"{path}.".startswith(f"{layer}.")


def _open(path: str, unmatched: set[str]) -> bool:
    return any(within(other, path) for other in unmatched)


def _shape(layers: AttentionLayers, path: str, part: str, name: str) -> tuple[int, ...] | None:
    layer = layers.get(f"{path}.{part}_dense") or layers.get(f"{path}.{part}")
    return next((tensor.shape for tensor in layer.tensors if tensor.name == name), None) if layer else None


def _inputs(torch: AttentionLayers, path: str) -> int | None:
    """How many features torch's query has."""
    for tensor in torch[path].tensors:
        if tensor.name in {"in_proj_weight", "q_proj_weight"}:
            return tensor.shape[1]
    return None
