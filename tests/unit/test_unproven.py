"""report.unproven: what no probe showed, and nothing else."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

import parity
from parity.adapters import adapt, influence_of
from parity.adapters.probe import randomise
from parity.core.trace import NodeObserver
from parity.probes.branches.files import OwnFiles
from parity.probes.branches.tally import BranchTally
from parity.probes.branches.watch import watching
from parity.probes.tensors import TensorTally
from parity.report.proof import Unproven, UnprovenKind
from tests.unit.test_probes import Module, X, compared, pair, plain


def lines(report: Any, kind: str) -> list[str]:
    assert report.verdict == "EQUAL", str(report)
    return [str(entry) for entry in report.unproven if entry.kind == kind]


def line_of(function: Any, part: str) -> int:
    source, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(source) if part in line)


def test_an_entry_is_a_line_of_text_that_knows_its_places() -> None:
    entry = Unproven(UnprovenKind.BRANCHES, "model.py:88: never true", ("model.py:88",))
    assert isinstance(entry, str)
    assert entry == entry.text == "model.py:88: never true"
    for same in (copy.deepcopy(entry), pickle.loads(pickle.dumps(entry))):
        assert (same.kind, same.text, same.places) == (entry.kind, entry.text, entry.places)


# --- branches --------------------------------------------------------------------------------------


def on_seven(self: Any, x: Any) -> Any:
    if x.shape[0] == 7:
        return 2 * self.c(x)
    return self.c(x)


def test_a_branch_that_no_probe_took_is_named_with_file_and_line() -> None:
    report = compared(plain, on_seven)
    line = line_of(on_seven, "== 7")
    assert lines(report, "branches") == [
        f"tests/unit/test_unproven.py:{line}: `x.shape[0] == 7` was never true"
    ]
    assert [entry.places for entry in report.unproven if entry.kind == "branches"] == [
        (f"tests/unit/test_unproven.py:{line}",)
    ]
    assert (report.proof.branches.reached, report.proof.branches.of) == (1, 2)


def test_a_branch_that_a_further_probe_took_is_proven() -> None:
    def forward(self: Any, x: Any) -> Any:
        y = self.c(x) if x.shape[0] == 1 else self.c(x) * 1
        return y if x.shape[2] % 2 else y + 0

    assert lines(compared(plain, forward), "branches") == []


def test_ways_that_end_in_an_error_count_for_nothing_and_training_is_marked() -> None:
    def forward(self: Any, x: Any) -> Any:
        if x.shape[1] != 3:
            raise ValueError("three channels")
        if x.ndim == 4 and x.shape[0] == 0:
            raise ValueError("a picture")
        if self.training:
            x = x * 2
        return self.c(x)

    report = compared(plain, forward)
    assert [text.partition(": ")[2] for text in lines(report, "branches")] == [
        "`x.ndim == 4` was never false"
    ]
    (training,) = lines(report, "training")
    assert training.endswith("`self.training` was never true (training)")
    model, module = pair(plain, forward)
    asked = parity.compare(model, module, X, gradients=True)
    assert not [entry for entry in asked.unproven if entry.kind == "training"]


def helper(x: int, flag: Any = None) -> Any:
    if flag is not None:
        x += 1
    y = 3 if x > 2 else 4
    if x == 1 and y == 3:
        return 5
    for i in range(x):
        if i == 7:
            break
    while x > 0:
        x -= 1
    return [k for k in range(3) if k > 5], x or y


def test_conditions_of_every_form() -> None:
    def previous(frame: Any, event: str, argument: Any) -> Any:
        return None

    before = sys.gettrace()
    sys.settrace(previous)
    try:
        with watching(OwnFiles([])) as seen:
            helper(3)
        if not hasattr(sys, "monitoring"):
            assert sys.gettrace() is previous
    finally:
        sys.settrace(before)
    tally = BranchTally()
    tally.add(seen)
    first = line_of(helper, "flag is not None")
    said = {int(text.split(":")[1]) - first: text.partition(": ")[2] for text in tally.untaken()}
    assert said == {
        0: "`flag is not None` was never true",
        2: "`x > 2` was never false",
        3: "`x == 1` was never true",
        6: "`i == 7` was never true",
        10: said[10],
    }
    assert {text.partition(": ")[2] for text in tally.untaken()} >= {
        "`y == 3` was never reached",
        "`k > 5` was never true",
    }
    with watching(OwnFiles([])) as seen:
        for x, flag in ((1, 1), (9, None), (0, None), (0, 0)):
            helper(x, flag)
    tally.add(seen)
    left = [text.partition(": ")[2] for text in tally.untaken()]
    assert left == ["`y == 3` was never true", "`k > 5` was never true", "`x or y` was never true"]


def test_files_of_the_frameworks_and_of_parity_are_nobody_s_own() -> None:
    files = OwnFiles([nn.Linear(1, 1), keras.Sequential(), Module(plain)])
    assert torch.nn.modules.linear.__file__ not in files
    assert keras.layers.Dense.__module__ not in files
    assert parity.__file__ not in files
    assert inspect.__file__ not in files
    assert __file__ in files


# --- weights ---------------------------------------------------------------------------------------


def test_rows_of_an_embedding_that_no_token_met() -> None:
    model = keras.Sequential([keras.Input((5,), dtype="int32"), L.Embedding(100, 6, name="0")])
    module = nn.Sequential(nn.Embedding(100, 6))
    randomise(adapt(module))
    parity.transfer(module, model)
    report = parity.compare(model, module, np.array([[0, 1, 2, 3, 1], [2, 2, 0, 1, 0]], dtype=np.int32))
    assert lines(report, "parts") == ["0.weight: 96 of 100 rows never moved an output"]
    assert report.proof.tensors.reached == 1


def test_layers_that_never_run_and_channels_that_are_dead() -> None:
    unused = {"layers": {"d": L.Conv2D(5, 3)}, "modules": {"d": nn.Conv2d(3, 5, 3)}}

    def call(self: Any, x: Any) -> Any:
        if not self.d.built:
            self.d.build((None, None, None, 3))
        return ops.relu(self.c(x) * (0.0, 1.0, 1.0, 1.0))

    def forward(self: Any, x: Any) -> Any:
        return F.relu(self.c(x) * torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=x.dtype).view(1, 4, 1, 1))

    report = compared(call, forward, **unused)
    assert lines(report, "parts") == [
        "c.weight: 1 of 4 channels never moved an output",
        "c.bias: 1 of 4 elements never moved an output",
    ]
    assert lines(report, "tensors") == ["d: none of its 2 tensors ever moved an output"]
    assert str(report.proof.tensors) == "2 of 4"


def test_a_step_without_a_gradient_hides_no_weight() -> None:
    report = compared(
        lambda s, x: ops.floor(s.c(x)) + x[..., :1], lambda s, x: s.c(x).detach().floor() + x[:, :1]
    )
    assert report.proof is None or lines(report, "tensors") + lines(report, "parts") == []
    labels = compared(plain, lambda s, x: torch.from_numpy(s.c(x).detach().numpy()))
    assert lines(labels, "tensors") + lines(labels, "parts") == []
    assert str(labels.proof.tensors) == "2 of 2"


def test_statistics_and_norms_without_an_offset_count_too() -> None:
    report = compared(
        lambda s, x: s.n(s.c(x)), lambda s, x: s.n(s.c(x)),
        layers={"n": L.BatchNormalization(center=False, scale=False, epsilon=1e-5)},
        modules={"n": nn.BatchNorm2d(4, affine=False)},
    )  # fmt: skip
    assert lines(report, "tensors") + lines(report, "parts") == []
    assert str(report.proof.tensors) == "4 of 4"


# --- limits ----------------------------------------------------------------------------------------


def test_limits_that_no_value_reached() -> None:
    def call(self: Any, x: Any) -> Any:
        y = ops.sigmoid(self.c(x))
        return ops.relu6(y) + ops.clip(y, 0.25, 3.0) + ops.maximum(y, -1.0)

    def forward(self: Any, x: Any) -> Any:
        y = torch.sigmoid(self.c(x))
        return F.relu6(y) + y.clamp(0.25, 3.0) + y.clamp(min=-1.0)

    found = lines(compared(call, forward), "limits")
    assert any("relu6" in text and "below" in text and "above the upper limit" in text for text in found)
    assert any(text.startswith("clip") and "above" in text and "below" not in text for text in found)
    assert any(text.startswith("clamp") and "above" in text and "below" not in text for text in found)
    assert any(text.startswith("maximum") and "below" in text and "(keras)" in text for text in found)


def test_limits_that_a_further_probe_reached_are_proven() -> None:
    report = compared(lambda s, x: ops.relu6(s.c(x)), lambda s, x: F.relu6(s.c(x)), X / 50)
    assert lines(report, "limits") == []
    assert report.proof.limits.reached == report.proof.limits.of == 2


def test_a_relu_that_was_never_negative() -> None:
    report = compared(
        lambda s, x: ops.relu(ops.exp(s.c(x * 0.01))), lambda s, x: F.relu(torch.exp(s.c(x * 0.01)))
    )
    assert lines(report, "limits") == ["relu in the model itself: its operand was never negative"]


# --- sizes -----------------------------------------------------------------------------------------


def test_a_model_that_fixes_its_sizes_leaves_none_open() -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 3, name="0")])
    module = nn.Sequential(nn.Conv2d(3, 4, 3))
    randomise(adapt(module))
    parity.transfer(module, model)
    report = parity.compare(model, module)
    assert report.verdict == "EQUAL"
    assert report.unproven == []
    assert len(report.proof.probes) == 4


def test_gradients_of_some_weights_are_those_of_all() -> None:
    """What is asked for alone comes out as beside the rest, statistics by the offset behind them."""

    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 3, 1)
    )
    module[1].weight.data[1], module[1].bias.data[2] = 0.0, -1e6
    side, values = adapt(module.eval()), [np.random.default_rng(0).standard_normal((1, 2, 5, 6))]
    wanted = {"0.weight", "1.running_var"}
    with side.precision("float64"):
        (_, whole, _), (_, some, _) = (
            influence_of(side, values, NodeObserver, one) for one in (None, wanted)
        )
    assert not whole["1.running_var"].all()
    assert wanted <= some.keys() < whole.keys()
    assert all(np.array_equal(some[path], whole[path]) for path in wanted)


def test_tensors_of_a_layer_that_moved_alike_are_one_line() -> None:
    """A dead channel behind a normalisation: one line for the kernel's channel, one for the four tensors behind it."""
    model = keras.Sequential(
        [
            keras.Input((9, 12, 3)),
            L.Conv2D(4, 3, name="0"),
            L.BatchNormalization(epsilon=1e-5, name="1"),
            L.ReLU(),
        ]
    )
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    randomise(adapt(module))
    module[1].bias.data[2] = -1e6
    parity.transfer(module, model)
    report = parity.compare(model, module)
    assert lines(report, "parts") == [
        "0.weight: 1 of 4 channels never moved an output",
        "0.bias: 1 of 4 elements never moved an output",
        "1: 1 of 4 elements of each of 4 tensors never moved an output",
    ]
    assert "6 weights of which a part moved none" in str(report)


class Unused(nn.Module):
    """One layer that nobody calls, and a weight that no step reads, because it becomes numbers."""

    def __init__(self, read: bool) -> None:
        super().__init__()
        self.c, self.idle, self.read = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), read

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.c(x)
        return y + sum(self.idle.bias.tolist()) if self.read else y


@pytest.mark.parametrize("read", [False, True])
def test_a_layer_that_never_runs_waits_for_nothing(read: bool) -> None:
    """No backward pass is made for it; what moves an output without a step is found all the same."""
    side, values = adapt(Unused(read).eval()), [np.random.default_rng(0).standard_normal((1, 3, 5, 6))]
    with side.precision("float64"):
        tally = TensorTally(side)
        assert len(tally.waiting) == 4  # nothing was looked at yet
        _, moved, trace = influence_of(side, values, NodeObserver)
        tally.ran(trace)
        assert tally.waiting == ["c.weight", "c.bias"]
        tally.add(moved)
        assert tally.waiting == []
        assert tally.still == ["idle.weight", "idle.bias"]
        tally.perturb(lambda: side.forward(values))
    assert tally.still == (["idle.weight"] if read else ["idle.weight", "idle.bias"])
