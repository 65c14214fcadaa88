"""The torch halves of tests.zoo."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.ModuleDict(
            {"conv": nn.Conv2d(3, 8, (3, 5)), "bn": nn.BatchNorm2d(8), "relu": nn.ReLU()}
        )
        self.left = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.right = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1, bias=False))
        self.mix = nn.Conv2d(16, 8, 1)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Any) -> Any:
        x = self.stem["relu"](self.stem["bn"](self.stem["conv"](x)))
        y = self.mix(torch.cat([F.relu(self.left(x)), self.right(x)], 1))
        return self.head(y + x)


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU())
        self.body = nn.Sequential(
            nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.LeakyReLU()),
            nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.LeakyReLU()),
        )
        self.up = nn.ConvTranspose2d(6, 5, 2, stride=2)
        self.classify = nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        x = F.relu(self.up(x + self.body(x)))
        return self.classify(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Conv2d(3 if i == 0 else 5, 5, 3, padding=1) for i in range(3))
        self.heads = nn.ModuleDict({"mask": nn.Conv2d(5, 2, 1), "edge": nn.Conv2d(5, 1, 1)})

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = torch.tanh(block(x))
        return {"edge": self.heads["edge"](x), "mask": self.heads["mask"](x)}


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.norm(self.conv(x)))
        return self.out(F.relu(self.norm(self.conv(x))))


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

    def forward(self, x: Any) -> Any:
        return self.used(x)


class OwnWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(4, 7))
        self.shift = nn.Parameter(torch.randn(7))
        self.register_buffer("scale", torch.ones(7))

    def forward(self, x: Any) -> Any:
        return (x @ self.mix + self.shift) * self.scale


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 6, 3)
        self.group = nn.GroupNorm(3, 6)
        self.prelu = nn.PReLU(6)
        self.grouped = nn.Conv2d(6, 6, 3, groups=2)
        self.plain = nn.BatchNorm2d(6, affine=False)
        self.dense = nn.Linear(6, 5)
        self.layer = nn.LayerNorm(5)

    def forward(self, x: Any) -> Any:
        x = self.plain(self.grouped(self.prelu(self.group(self.first(x)))))
        return self.layer(self.dense(x.mean((2, 3))))


class Flattened(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(24)
        self.hidden, self.out = nn.Linear(24, 6), nn.Linear(6, 2)

    def forward(self, x: Any) -> Any:
        x = self.norm(self.drop(torch.flatten(self.pool(self.conv(x)), 1)))
        return self.out(F.relu(self.hidden(x)))


class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = nn.Embedding(13, 6), nn.LayerNorm(6)
        self.hidden, self.out = nn.Linear(6, 4), nn.Linear(4, 13)

    def forward(self, x: Any) -> Any:
        return self.out(F.gelu(self.hidden(self.norm(self.table(x)))))


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, (3, 5), stride=2, padding=(1, 2))
        self.pool = nn.AvgPool2d(3, stride=1, padding=1)
        self.up = nn.ConvTranspose2d(4, 3, 3, stride=2)

    def forward(self, x: Any) -> Any:
        return self.up(self.pool(F.relu(self.conv(x))))


def volume() -> Any:
    module = nn.Sequential()
    module.add_module("conv", nn.Conv3d(2, 4, (2, 3, 1)))
    module.add_module("up", nn.ConvTranspose3d(4, 3, 2, stride=2))
    module.add_module("relu", nn.ReLU())
    return module


def sequence_with_activations() -> Any:
    return nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))


class _FunctionalSequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
        self.classifier = nn.Conv2d(4, 2, 1)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x))


def functional_sequence() -> Any:
    return _FunctionalSequence()
