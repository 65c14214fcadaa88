"""What a call leaves behind is named, wherever the models' own code keeps it; and later calls are looked at."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L

import parity
from parity.adapters import adapt
from parity.core.tolerance import limits
from parity.probes.branches.files import OwnFiles
from parity.probes.memory.look import changed, held_by, named
from parity.probes.memory.walk import Walk
from parity.verdict.attempts import held
from parity.verdict.runs.later import CALLS, FEW, calls_for
from tests.unit.test_probes import Model, Module, X, compared, pair, plain
from tests.unit.test_unproven import lines

SEEN = 0
LIST: list[int] = []


class Kept:
    """An object of the user's own."""

    total = 0

    def __init__(self) -> None:
        self.calls = 0


class Slots:
    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls = 0


def by_global(self: Any) -> None:
    global SEEN
    SEEN += 1


def by_default(self: Any, seen: list[int] = []) -> None:  # noqa: B006  (that is the point)
    seen.append(1)


def by_function(self: Any) -> None:
    by_function.calls = getattr(by_function, "calls", 0) + 1  # type: ignore[attr-defined]


def by_class(self: Any) -> None:
    Kept.total += 1


def by_library(self: Any) -> None:
    np.calls = getattr(np, "calls", 0) + 1  # type: ignore[attr-defined]


def by_closure() -> Callable[[Any], None]:
    calls = 0

    def count(self: Any) -> None:
        nonlocal calls
        calls += 1

    return count


def kept(made: Callable[[], Any], use: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Something that lies among the attributes of the model."""

    def count(self: Any) -> None:
        if not hasattr(self, "kept"):
            object.__setattr__(self, "kept", made())
        use(self.kept)

    return count


def _increase(thing: Any) -> None:
    thing.calls += 1


def _add(array: Any) -> None:
    array += 1


PLACES: dict[str, tuple[Callable[[Any], None], str]] = {
    "a global": (by_global, "global SEEN"),
    "a global list": (lambda self: LIST.append(1), "global LIST"),
    "a default": (by_default, "defaults"),
    "an attribute of a function": (by_function, "calls"),
    "an attribute of a class": (by_class, "Kept.total|total"),
    "a closure": (by_closure(), "calls of its closure"),
    "an object": (kept(Kept, _increase), "kept.calls"),
    "an object with slots": (kept(Slots, _increase), "kept"),
    "a dictionary": (kept(dict, lambda d: d.update(n=d.get("n", 0) + 1)), "kept['n']"),
    "a list deep down": (kept(lambda: [[{"n": [0]}]], lambda v: v[0][0]["n"].append(1)), "kept[0][0]['n']"),
    "a counter": (kept(itertools.count, next), "kept"),
    "a generator": (kept(lambda: (i for i in range(10**6)), next), "kept"),
    "an iterator": (kept(lambda: itertools.cycle([1, 2, 3]), next), "kept"),
    "an array": (kept(lambda: np.zeros(3), _add), "kept"),
    "a great array": (kept(lambda: np.zeros(10**6), _add), "kept"),
    "a tensor": (kept(lambda: torch.zeros(3), _add), "kept"),
    "a library": (by_library, "global np.calls"),
    "the environment": (lambda self: os.environ.update(SEEN=str(int(os.environ.get("SEEN", 0)) + 1)), "variable SEEN"),
    "Python's random numbers": (lambda self: random.random(), "random numbers (random)"),
    "NumPy's random numbers": (lambda self: np.random.rand(), "random numbers (numpy.random)"),  # noqa: NPY002
    "a generator of random numbers": (kept(lambda: np.random.default_rng(0), lambda g: g.random()), "kept"),
}  # fmt: skip


def watched(model: Any, inputs: list[Any]) -> list[str]:
    """What the last of several calls changed."""
    adapter, looks = adapt(model), []
    own = OwnFiles([model]).__contains__
    with adapter.precision("float64"):
        adapter.in_turn([[value] for value in inputs], lambda number: looks.append(held_by(adapter, own)))
    return changed(*looks[-2:])


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("side", ["keras", "torch"])
def test_what_a_call_leaves_behind_is_found(side: str, name: str) -> None:
    count, place = PLACES[name]
    if side == "keras" and name == "a tensor":
        pytest.skip("a tensor of the framework's own is looked at below")

    def function(self: Any, x: Any) -> Any:
        count(self)
        return self.c(x)

    model = Model(function) if side == "keras" else Module(function)
    values = X if side == "keras" else X.transpose(0, 3, 1, 2)
    if side == "keras":
        model(X)
    found = watched(model, [values.astype(np.float64)] * 4)
    assert any(word in path for path in found for word in place.split("|")), found


def test_tensors_and_random_numbers_of_the_frameworks() -> None:
    module = Module(lambda self, x: self.c(x) + 0 * torch.rand(()))
    assert watched(module, [X.transpose(0, 3, 1, 2)] * 2) == ["the state of random numbers (torch)"]
    module = Module(lambda self, x: [self.seen.add_(1), self.c(x)][1], seen=None)
    module.seen = torch.zeros(2)
    assert watched(module, [X.transpose(0, 3, 1, 2)] * 2) == ["seen"]
    model = Model(lambda self, x: self.c(x) + 0 * keras.random.normal((1,)))
    model(X)
    assert watched(model, [X] * 2) == ["the state of random numbers (keras)"]

    def counts(self: Any, x: Any) -> Any:
        self.seen.assign_add(1.0)
        return self.c(x)

    model = Model(counts, seen=keras.Variable(0.0, trainable=False))
    model(X)
    assert watched(model, [X] * 2) == ["seen"]


def test_a_hook_that_counts() -> None:
    module, calls = Module(plain), [0]
    module.c.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    assert any("calls" in path for path in watched(module, [X.transpose(0, 3, 1, 2)] * 2))


def test_the_report_names_it_and_the_verdict_stays() -> None:
    def forward(self: Any, x: Any) -> Any:
        self.calls = getattr(self, "calls", 0) + 1
        return self.c(x)

    report = compared(plain, forward)
    said = "calls of the torch side changes with each call, and may change what later calls give"
    assert lines(report, "state") == [said]
    assert "1 place that changes with each call" in str(report)
    with pytest.raises(parity.ParityError):
        parity.assert_parity(*pair(plain, forward), inputs=X, strict=True)


def test_what_is_filled_once_is_no_memory() -> None:
    """A table that is made for a size, and what no later call changes."""

    def forward(self: Any, x: Any) -> Any:
        tables = self.__dict__.setdefault("tables", {})
        key = tuple(x.shape)
        if key not in tables:
            tables[key] = torch.ones(x.shape[-2:], dtype=x.dtype)
        return self.c(x) * tables[key]

    report = compared(plain, forward)
    assert report.verdict == "EQUAL", str(report)
    assert [entry for entry in report.unproven if entry.kind == "state"] == []


def test_an_iterators_state_is_no_address() -> None:
    """A cycle that began anew makes another object each time that it is asked: its place in the row counts."""

    def mark(value: Any) -> Any:
        walk = Walk(lambda file: False, lambda tensor: None)
        walk.look("it", value)
        return walk.held

    cycle = itertools.cycle([1, 2, 3])
    marks = []
    for _ in range(9):
        next(cycle)
        marks.append((mark(cycle), mark(cycle)))
    assert all(first == again for first, again in marks)
    assert all(marks[i] != marks[i + 1] for i in range(3, 8))
    assert marks[4] == marks[7]


def test_layers_of_the_frameworks_keep_nothing() -> None:
    model = keras.Sequential(
        [keras.Input((9, 12, 3)), L.Conv2D(4, 3), L.BatchNormalization(), L.Dropout(0.5), L.ReLU(),
         L.Flatten(), L.Reshape((5, -1)), L.LSTM(3), L.Dense(2)]
    )  # fmt: skip
    assert watched(model, [X, X * 2, X, X * 2]) == []
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(), torch.nn.ReLU()
    )
    values = X.transpose(0, 3, 1, 2)
    assert watched(module, [values, 2 * values, values, 2 * values]) == []


# --- later calls -----------------------------------------------------------------------------------


def first_ever(self: Any, x: Any) -> Any:
    return self.__dict__.setdefault("first", {}).setdefault((tuple(x.shape), x.dtype), self.c(x))


def previous(self: Any, x: Any) -> Any:
    result, last = self.c(x), self.__dict__.get("last")
    self.__dict__["last"] = result
    return result if last is None or last.shape != result.shape or last.dtype != result.dtype else last


@pytest.mark.parametrize("forward", [first_ever, previous])
def test_a_model_that_gives_what_it_gave_before(forward: Any) -> None:
    report = compared(plain, forward)
    assert report.verdict != "EQUAL", str(report)
    assert "remember" in report.first.evidence or "not repeatable" in report.first.evidence


def test_an_output_at_its_end_is_no_memory() -> None:
    """torch gives ones on every example alone, Keras on great ones: no side remembers anything."""

    def of_torch(self: Any, x: Any) -> Any:
        return self.c(x) if len(x) > 1 else torch.ones_like(self.c(x))

    def of_keras(self: Any, x: Any) -> Any:
        ops, y = keras.ops, self.c(x)
        return y if len(x) > 1 else ops.where(ops.max(ops.abs(x)) > 8, ops.ones_like(y), y)

    report = compared(of_keras, of_torch)
    assert report.verdict == "DIVERGED", str(report)
    assert "remember" not in str(report)


def test_a_mode_that_changes_the_result() -> None:
    for changes in (torch.is_inference_mode_enabled, torch.is_grad_enabled):
        report = compared(plain, lambda s, x, changes=changes: s.c(x) * (1.0 + float(changes())))
        assert report.verdict == "DIVERGED", str(report)


def test_a_spread_of_another_mode_excuses_nothing() -> None:
    """torch's outputs with gradients recorded, and its spread without: a factor between them is no rounding."""
    model, module = pair(plain, lambda s, x: s.c(x) * 2.0)
    sides = adapt(model), adapt(module)
    inputs = {"keras": [X.astype(float)], "torch": [X.transpose(0, 3, 1, 2).astype(float)]}
    with sides[0].precision("float64"), sides[1].precision("float64"):
        outputs = {side.side: side.forward(inputs[side.side]) for side in sides}
        module._function = plain
        assert not held(sides, inputs, outputs).agree
        outputs["torch"] = sides[1].forward(inputs["torch"])
        found = held(sides, inputs, outputs)
    assert found.agree
    assert (next(iter(found.limits.values())) >= limits(outputs["keras"][0][1])).all()


def test_calls_cost_no_more_than_one_pass() -> None:
    assert calls_for([np.zeros((2, 66, 95, 3))], [np.zeros((1, 38, 46, 3))], 10) == CALLS
    assert calls_for([np.zeros((2, 66, 95, 3))], [np.zeros((1, 38, 46, 3))], 100) == FEW
    assert calls_for([np.zeros((2, 224, 224, 3))], [np.zeros((1, 224, 224, 3))], 100) == FEW
    assert calls_for([np.zeros((16, 224, 224, 3))], [np.zeros((1, 224, 224, 3))], 100) == CALLS
    assert calls_for([np.zeros((2, 8, 8, 3))], [np.zeros((1, 8, 8, 3))], 5_000) == FEW


def test_many_places_are_counted() -> None:
    entries = named("torch", [f"m{i}" for i in range(9)])
    assert len(entries) == 5
    assert str(entries[-1]).startswith("5 more places")
