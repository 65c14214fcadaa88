"""A fault that is left behind is seen at the end of its own test, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.mutation.faults import attribute, edited
from tests.mutation.undone import undone


def pair() -> tuple[Any, Any]:
    model = keras.Sequential(
        [
            keras.Input((6, 7, 3)),
            keras.layers.Conv2D(4, 3, name="conv"),
            keras.layers.BatchNormalization(name="norm"),
        ]
    )
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return model, module


@contextmanager
def left(change: Callable[[], object]) -> Any:
    """A fault that nothing takes out again."""
    change()
    yield


LEFT: dict[str, tuple[Callable[[Any, Any, pytest.MonkeyPatch], object], str]] = {
    "a weight": (lambda m, t, p: t[0].weight.data.mul_(2.0), "0.weight"),
    "one value": (lambda m, t, p: t[1].running_var.data[2].add_(1e-6), "1.running_var"),
    "a frozen weight": (lambda m, t, p: t[0].bias.requires_grad_(False), "0.bias.requires_grad"),
    "a setting": (lambda m, t, p: setattr(t[1], "eps", 1e-3), "1.eps"),
    "a mode": (lambda m, t, p: t[1].eval(), "1.training"),
    "a method": (lambda m, t, p: setattr(t[0], "forward", lambda x: x), "0.forward"),
    "a hook": (lambda m, t, p: t[0].register_forward_hook(lambda *_: None), "0._forward_hooks"),
    "torch's function": (lambda m, t, p: p.setattr(torch, "cat", lambda *a: a), "torch.cat"),
    "a functional": (lambda m, t, p: p.setattr(F, "relu", lambda x: x), "torch.nn.functional.relu"),
    "Keras' weight": (lambda m, t, p: m.weights[0].assign(m.weights[0] + 1), "conv/kernel"),
    "Keras' setting": (lambda m, t, p: setattr(m.layers[1], "epsilon", 1e-5), "epsilon"),
    "Keras' frozen layer": (lambda m, t, p: setattr(m.layers[1], "trainable", False), "trainable"),
    "Keras' method": (lambda m, t, p: vars(m.layers[0]).update(call=lambda x: x), "call"),
    "Keras' regulariser": (
        lambda m, t, p: setattr(m.layers[0].kernel, "regularizer", keras.regularizers.L2(0.1)),
        "regularizer",
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_a_fault_left_behind_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, module = pair()
    change, place = LEFT[name]
    with (
        pytest.raises(AssertionError, match=rf"must be undone at its end; got .*{place}.* changed"),
        undone(left(lambda: change(model, module, monkeypatch)), model, module),
    ):
        pass


def test_faults_that_are_undone_are_let_through() -> None:
    model, module = pair()
    done: list[AbstractContextManager[Any]] = [
        nullcontext(),
        attribute(module[1], "eps", 1e-3),
        attribute(module[0], "forward", lambda x: x),
        edited([(module[0].weight, module[0].weight.detach() + 1)]),
    ]
    for fault in done:
        with undone(fault, model, module):
            pass
