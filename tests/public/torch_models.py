"""Torch models of our own for ports: what torchvision and timm also have, in the fewest lines."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Let every token look at all tokens of (N, T, dim)."""
        n, t, dim = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (N, heads, T, dim / heads) each
        x = F.scaled_dot_product_attention(q, k, v)
        return self.out(x.transpose(1, 2).reshape(n, t, dim))


class Block(nn.Module):
    """Attention, then two dense layers, each added to what came in."""

    def __init__(self, dim: int, heads: int, ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, ratio * dim), nn.GELU(), nn.Linear(ratio * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (N, T, dim)."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A vision transformer: patches become tokens, blocks mix them, a class token is read.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", figure 1.
    """

    def __init__(
        self,
        size: tuple[int, int] = (64, 96),
        patch: int = 16,
        dim: int = 64,
        depth: int = 3,
        heads: int = 4,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        tokens = (size[0] // patch) * (size[1] // patch) + 1
        self.patches = nn.Conv2d(3, dim, patch, stride=patch)
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.places = nn.Parameter(0.02 * torch.randn(1, tokens, dim))
        self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores (N, num_classes) of images (N, 3, H, W)."""
        x = self.patches(x)  # (N, dim, H / patch, W / patch)
        x = x.flatten(2).transpose(1, 2)  # (N, T, dim)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.blocks(x + self.places)
        return self.head(self.norm(x[:, 0]))  # the class token alone
