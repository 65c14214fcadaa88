"""Attention with Keras' sizes and masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attended(
    scores: Tensor, attention_mask: Tensor | None, use_causal_mask: bool, zeros: bool, dropout: float
) -> Tensor:
    """Weights of (N, heads, T, S) scores: none where a query may not look.

    Of a query that may look nowhere, the weights are all alike; with `zeros`, they are zero.
    """
    mask = None
    if attention_mask is not None:
        mask = attention_mask.bool()
        mask = mask[:, None] if mask.ndim == 3 else mask
    if use_causal_mask:
        causal = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        mask = causal if mask is None else mask & causal
    if mask is None:
        return F.dropout(scores.softmax(-1), dropout)
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min / 2).softmax(-1)
    return F.dropout(weights.masked_fill(~mask, 0.0) if zeros else weights, dropout)


class MultiHeadAttention(nn.Module):
    """Attention with sizes of its own for queries, keys, values and outputs.

    Shapes: query (N, T, query_size), key and value (N, S, ...) -> (N, T, output_size).
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int,
        query_size: int,
        key_size: int,
        value_size: int,
        output_size: int,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query = nn.Linear(query_size, num_heads * key_dim, bias)
        self.key = nn.Linear(key_size, num_heads * key_dim, bias)
        self.value = nn.Linear(value_size, num_heads * value_dim, bias)
        self.output = nn.Linear(num_heads * value_dim, output_size, bias)

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor,
        attention_mask: Tensor | None = None,
        use_causal_mask: bool = False,
        need_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend; the mask (N, T, S) or (T, S) is true where a query may look."""
        q, k, v = (
            layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        rate = self.dropout if self.training else 0.0
        zeros = need_weights or self.dropout > 0  # Keras has two ways to compute it
        weights = attended(scores, attention_mask, use_causal_mask, zeros, rate)
        x = self.output((weights @ v).transpose(1, 2).flatten(2))
        return (x, weights) if need_weights else x


class GroupQueryAttention(nn.Module):
    """Attention in which several heads of the query share a key and a value.

    Shapes: query (N, T, query_size), key and value (N, S, ...) -> (N, T, query_size).
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        query_size: int,
        key_size: int,
        value_size: int,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.head_dim, self.dropout = head_dim, dropout
        self.groups = num_query_heads // num_key_value_heads
        self.query = nn.Linear(query_size, num_query_heads * head_dim, bias)
        self.key = nn.Linear(key_size, num_key_value_heads * head_dim, bias)
        self.value = nn.Linear(value_size, num_key_value_heads * head_dim, bias)
        self.output = nn.Linear(num_query_heads * head_dim, query_size, bias)

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor,
        attention_mask: Tensor | None = None,
        use_causal_mask: bool = False,
        need_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend; the mask (N, T, S) or (T, S) is true where a query may look."""
        q, k, v = (
            layer(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for layer, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        k, v = (x.repeat_interleave(self.groups, dim=1) for x in (k, v))
        scores = q @ k.transpose(-2, -1) / self.head_dim**0.5
        rate = self.dropout if self.training else 0.0
        zeros = need_weights or self.dropout > 0  # Keras has two ways to compute it
        weights = attended(scores, attention_mask, use_causal_mask, zeros, rate)
        x = self.output((weights @ v).transpose(1, 2).flatten(2))
        return (x, weights) if need_weights else x
