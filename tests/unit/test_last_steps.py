"""The last steps of a pass: run again alone, rounded otherwise, and let go where they cannot be."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from parity.adapters import adapt
from parity.adapters.torch.calls import last_steps
from parity.core.trace import LastSteps, NodeObserver, Rerun
from parity.replay import spread
from parity.replay.spread import OutputSpread

X = np.random.default_rng(5).standard_normal((2, 3, 9, 12))


class Net(nn.Module):
    """Two convolutions and a norm, and a function of what they give."""

    def __init__(self, end: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.calls = 0
        self._end = end

    def forward(self, x: Any) -> Any:
        return self._end(self, self.norm(self.second(torch.relu(self.first(x)))))


def plain(net: Any, y: Any) -> Any:
    return torch.softmax(y, 1)


def kept(end: Callable[..., Any]) -> tuple[list[np.ndarray], LastSteps]:
    """The outputs of a traced pass, and its last steps."""
    outputs, trace = adapt(Net(end).double()).trace([X], last=True)
    last = trace.take_last()
    assert trace.last is None
    assert last is not None
    return [value for _, value in outputs], last


@pytest.mark.parametrize(
    "end",
    [
        plain,
        lambda net, y: {"b": y * 2.0, "a": (y.sum(1), net.second(torch.relu(net.first(y[:, :3]))))},
        lambda net, y: 1.0 - y,
        lambda net, y: torch.cat([y, y.flip(-1)], dim=1).permute(0, 2, 3, 1)[:, 1:],
    ],
)  # fmt: skip
def test_the_last_steps_give_the_same_bits_again(end: Callable[..., Any]) -> None:
    outputs, last = kept(end)
    assert last.steps  # type: ignore[attr-defined]
    again, moved = last.again([Rerun(), Rerun(start=lambda value: value * 1.5)])
    assert all(map(np.array_equal, outputs, again))
    assert not any(map(np.array_equal, outputs, moved))


def test_they_are_the_last_ones_alone() -> None:
    seen: list[str] = []

    class Watch(NodeObserver):
        def before(self, node: Any, inputs: Any) -> None:
            seen.append(node.label)

    _, last = kept(lambda net, y: (y + 1.0) * y)
    last.again([Rerun(Watch())])
    assert seen == ["relu", "second", "norm", "add", "mul"]


def test_weights_are_not_moved() -> None:
    moved: list[tuple[int, ...]] = []

    def start(value: np.ndarray) -> np.ndarray:
        moved.append(value.shape)
        return value

    _, last = kept(
        lambda net, y: torch.nn.functional.linear(y, torch.ones(5, 10, dtype=y.dtype)) * net.norm.weight[0]
    )
    last.again([Rerun(start=start)])
    assert moved == [(2, 5, 9, 12)]


def test_what_was_written_to_is_let_go() -> None:
    def in_place(net: Any, y: Any) -> Any:
        z = y + 1.0
        y.mul_(3.0)
        return torch.tanh(z) + y

    outputs, last = kept(in_place)
    assert [step.node.label for step in last.steps] == ["tanh", "add"]  # type: ignore[attr-defined]
    assert np.array_equal(last.again([Rerun()])[0][0], outputs[0])


def test_older_steps_are_let_go_where_they_take_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_steps, "BYTES", 3 * 2 * 4 * 7 * 10 * 8)
    _, last = kept(lambda net, y: torch.softmax(y + 1.0, 1))
    assert [step.node.label for step in last.steps] == ["softmax"]  # type: ignore[attr-defined]


def test_movements_come_from_the_last_steps_first_and_are_no_greater() -> None:
    side = adapt(Net(plain))
    with side.precision("float64"):
        measured = OutputSpread(side, [X])
        draws = [moves[0] for moves in measured.rising()]
    assert len(draws) == spread.LAST_DRAWS + spread.DRAWS
    last, whole = np.max(draws[: spread.LAST_DRAWS], 0), np.max(draws[spread.LAST_DRAWS :], 0)
    assert 0.0 < last.mean() < 1.5 * whole.mean()
    assert (last > 0.0).all()


def test_steps_that_give_something_else_again_are_not_used() -> None:
    side = adapt(Net(lambda net, y: y + torch.rand_like(y)).double())
    outputs, trace = side.trace([X], last=True)
    assert len(list(OutputSpread(side, [X], outputs, trace.take_last()).rising())) == spread.DRAWS


def test_a_pass_that_gives_something_else_again_is_not_used() -> None:
    def counted(net: Any, y: Any) -> Any:
        net.calls += 1
        return y * net.calls

    side = adapt(Net(counted).double())
    assert len(list(OutputSpread(side, [X], side.trace([X])[0]).rising())) == spread.DRAWS


def test_tensors_are_let_go() -> None:
    side = adapt(Net(plain))
    with side.precision("float64"):
        measured = OutputSpread(side, [X])
        next(measured.rising())
        tensors = [weakref.ref(tensor) for step in measured._last.steps for tensor in step.made]  # type: ignore[union-attr,attr-defined]
        measured.forget()
    gc.collect()
    assert tensors
    assert not any(one() is not None for one in tensors)
