"""A fix names the step that is to change, and not the layer behind it; steps of several places are one entry."""

from __future__ import annotations

import keras
import numpy as np
import torch
from keras import layers as L
from torch import nn
from torch.nn import functional as F

import parity
from parity.report.groups import groups


class Twin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.three(F.leaky_relu(self.two(F.leaky_relu(self.one(x)))))


def test_the_activation_is_named_and_its_places_are_one_entry() -> None:
    x = image = keras.Input((None, None, 3))
    for name, filters, size in (("one", 4, 3), ("two", 5, 3)):
        x = L.LeakyReLU(0.3, name=f"after_{name}")(L.Conv2D(filters, size, name=name)(x))
    model, module = keras.Model(image, L.Conv2D(6, 1, name="three")(x)), Twin()
    parity.transfer(module, model)
    values = np.random.default_rng(0).standard_normal((2, 11, 14, 3)).astype(np.float32)
    report = parity.compare(model, module, values)
    (entry,) = groups(report.findings)
    assert [finding.cause for finding in entry.findings] == ["leaky-relu-slope"] * 2
    fixes = [str(finding.fix) for finding in entry.findings]
    for fix, step, behind in zip(fixes, ("after_one", "after_two"), ("two", "three"), strict=True):
        assert f"negative_slope=0.01 at Keras {step}" in fix
        assert f"negative_slope=0.3 at torch leaky_relu in front of {behind}" in fix
