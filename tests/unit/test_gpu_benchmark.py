"""The script for a GPU, tried on the CPU: order, budget, judgement, records, and all of it at once."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import plan
from benchmarks.gpu.__main__ import Keeper
from benchmarks.gpu.pairs import is_expected
from benchmarks.gpu.record import Record, markdown
from benchmarks.gpu.workers import Task, run
from parity.catalog import ENTRIES
from tests.conftest import needs
from tests.gpu_work import started, work

USED, UNUSED = {"keras": 3e-4, "torch": 2e-4}, {"keras": 0.0, "torch": 1e-7}
TF32 = {"cause": "tf32", "kind": "precision", "evidence": "3e-4 off"}
OTHER = {"cause": None, "kind": "precision", "evidence": "0.1 off"}


# --- the order and the time ----------------------------------------------------------------------------


def test_every_pair_has_its_turn_and_the_slow_ones_come_last() -> None:
    names = [entry.name for entry in plan.pairs()]
    assert sorted(names) == sorted(entry.name for entry in ENTRIES)
    assert names[0] == "mUnet"
    assert set(names[-len(plan.HEAVY) :]) == set(plan.HEAVY)
    assert names[-1] == plan.HEAVY[0]
    with pytest.raises(ValueError, match="got mUNet, nothing"):
        plan.pairs(["mUNet", "SkipBlockDN", "nothing"])


def test_every_combination_of_half_precision_and_batch_is_measured() -> None:
    steps = plan.steps()
    for half in ("torch_impl", "tf_impl"):
        found = {(step.precision, step.batch) for step in steps if step.network == half}
        assert found == {(p, b) for p in ("float32", "tf32", "bfloat16") for b in (4, 16, 64)}
    assert len(steps) == len(set(steps))
    assert "compiled" in steps[-1].network


def test_steps_get_their_share_of_the_time() -> None:
    assert plan.times(400.0) == plan.Times(280.0, 400.0)
    assert plan.times(400.0, with_steps=False) == plan.Times(400.0, 400.0)
    assert plan.jobs("gpu", free_gib=2.0) == 1


# --- processes -----------------------------------------------------------------------------------------


def test_one_process_that_ends_costs_its_own_task_alone() -> None:
    rows: list[dict[str, Any]] = []
    tasks = [Task(name, (name, 2)) for name in ("plain", "raise", "die", "unexpected", "last")]
    found = run(work, tasks, 1, time.monotonic() + 60.0, rows.append)
    assert found.unfinished == {
        "raise": "ValueError: of any kind",
        "die": "its process ended with exit code 7",
    }
    assert found.late == []
    assert [(row["what"], row["number"]) for row in rows] == [
        (task.name, number) for task in tasks for number in (0, 1)
    ]
    process = {row["what"]: row["process"] for row in rows}
    assert process["plain"] == process["raise"]
    assert len(set(process.values())) == 4, "after an error, and after what was not expected, a fresh process"


def test_the_end_of_the_time_is_kept_and_nothing_that_was_found_is_lost() -> None:
    rows: list[dict[str, Any]] = []
    tasks = [Task("sleep", ("sleep", 3)), Task("waits", ("plain", 1))]
    started = time.monotonic()
    found = run(work, tasks, 1, started + 8.0, rows.append)
    assert 8.0 <= time.monotonic() - started < 60.0
    assert len(rows) == 3
    assert found.late == tasks
    assert found.unfinished == {"sleep": "the time was up", "waits": "the time was up"}


def test_without_time_nothing_is_begun() -> None:
    found = run(work, [Task("plain", ("plain", 1))], 2, time.monotonic() - 1.0, lambda row: None)
    assert list(found.unfinished) == ["plain"]


# --- the judgement -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "verdict", "findings", "moved"),
    [
        (True, "EQUAL", [], None),
        (False, "DIVERGED", [OTHER], None),
        (False, "INCONCLUSIVE", [OTHER], None),
        (True, "DIVERGED", [TF32, TF32], USED),
        (False, "EQUAL", [], USED),  # TF32 was used, and parity did not see it
        (False, "DIVERGED", [TF32, OTHER], USED),  # something else was blamed too
        (False, "DIVERGED", [TF32], USED),  # one side of two
        (True, "DIVERGED", [TF32], {"keras": 3e-4, "torch": 0.0}),
        (True, "EQUAL", [], UNUSED),  # nothing is multiplied, or the card took other kernels
        (False, "DIVERGED", [TF32], UNUSED),  # blamed, although it moved nothing
    ],
)
def test_what_is_expected(expected: bool, verdict: str, findings: list[Any], moved: Any) -> None:
    row = {"verdict": verdict, "findings": findings} | ({"tf32_moved": moved} if moved else {})
    assert is_expected(row) is expected


# --- the stand-in for TF32 -----------------------------------------------------------------------------

STANDIN = """
from contextlib import ExitStack
import jax, numpy as np, torch
from benchmarks.gpu.modes import multiplication
from parity.adapters.patching import restored
from torch.nn import functional as F

def bits(x):  # TF32 by its definition: ten bits of mantissa, to the nearest
    scale = 2.0 ** (np.floor(np.log2(np.abs(x))) - 10)
    return np.round(x / scale) * scale

rng = np.random.default_rng(0)
x, w = rng.standard_normal((2, 3, 9, 8)), rng.standard_normal((4, 3, 3, 3))
a, b = rng.standard_normal((5, 6)), rng.standard_normal((6, 7))
wanted = {}
for tf32 in (False, True):
    r = (lambda v: bits(v.astype(np.float32))) if tf32 else (lambda v: v.astype(np.float32).astype(float))
    wanted[tf32] = F.conv2d(*map(torch.from_numpy, (r(x), r(w)))).numpy(), r(a) @ r(b)
x, w, a, b = (value.astype(np.float32) for value in (x, w, a, b))
for allowed, tf32 in ((True, True), (True, False), (False, False)):  # off where it is forbidden again, too
    with multiplication(allowed, "cpu"), torch.no_grad(), ExitStack() as stack:
        if allowed and not tf32:
            stack.enter_context(jax.default_matmul_precision("highest"))
            stack.enter_context(restored(torch.backends.cudnn, "allow_tf32", False))
            stack.enter_context(restored(torch.backends.cuda.matmul, "allow_tf32", False))
        t = [torch.from_numpy(value) for value in (x, w, a, b)]
        found = [("torch", F.conv2d(*t[:2]).numpy(), (t[2] @ t[3]).numpy())]
        images = jax.numpy.asarray(x.transpose(0, 2, 3, 1)), jax.numpy.asarray(w.transpose(2, 3, 1, 0))
        y = jax.lax.conv_general_dilated(*images, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        z = jax.lax.dot_general(a, b, (((1,), (0,)), ((), ())))
        found += [("jax", np.asarray(y).transpose(0, 3, 1, 2), np.asarray(z))]
    for side, convolution, product in found:
        for got, right, wrong in zip((convolution, product), wanted[tf32], wanted[not tf32]):
            assert np.abs(got - right).max() < 5e-6, (side, tf32, np.abs(got - right).max())
            assert np.abs(got - wrong).max() > 1e-4, (side, tf32)
assert torch.backends.cudnn.allow_tf32, "put back"
"""


@pytest.mark.slow
def test_the_stand_in_rounds_as_tf32_does_and_only_where_it_is_allowed() -> None:
    needs("jax")
    needs("torch")
    done = started("-c", STANDIN, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


# --- records -------------------------------------------------------------------------------------------


def row_of(pair: str, mode: str, **changed: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "pair": pair,
        "mode": mode,
        "verdict": "EQUAL",
        "max_abs_diff": 1e-12,
        "max_rel_diff": 1e-15,
    }
    return (
        row
        | {"findings": [], "seconds": 1.5, "compilations": 10, "compile_seconds": 1.0, "expected": True}
        | changed
    )


def test_the_record_is_complete_after_every_row(tmp_path: Path) -> None:
    record = Record(tmp_path / "new" / "folder", {"card": "a card"}, {"budget": 420.0})
    record.write()
    record.pairs.append(row_of("mUnet", "float64"))
    record.pairs.append(
        row_of("mUnet", "tf32", verdict="DIVERGED", findings=[OTHER], max_rel_diff=math.inf, expected=False)
    )
    record.not_run = {"U-Net": "the time was up"}
    record.write()
    assert sorted(path.name for path in record.folder.iterdir()) == ["results.json", "results.md"]
    known = json.loads((record.folder / "results.json").read_text())
    assert known["state"] == "running"
    assert known["pairs"][1]["max_rel_diff"] == "inf"
    text = (record.folder / "results.md").read_text()
    assert "| mUnet | EQUAL 1.0e-15 | not run | DIVERGED (None) inf ! | not run | 3.0 | 20 |" in text
    assert "- mUnet, tf32: DIVERGED: precision: 0.1 off" in text
    assert "- U-Net: the time was up" in text
    assert "float64: 1 of 1 as expected; tf32: 0 of 1 as expected" in text


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gpu.modes import share_cores

    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    for given, threads in (("", "2"), ("5", "5")):
        monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", given)
        if not given:
            monkeypatch.delitem(os.environ, "OMP_NUM_THREADS")
        share_cores(6)
        assert os.environ["OMP_NUM_THREADS"] == threads


def test_a_row_is_on_the_disk_before_the_next_begins(tmp_path: Path) -> None:
    keeper = Keeper(Record(tmp_path, {}, {}), time.monotonic())
    for row in (
        row_of("mUnet", "float64"),
        row_of("mUnet", "float32"),
        row_of("mUnet", "float64", seconds=9.0),
    ):
        keeper.pair(row)
        known = json.loads((tmp_path / "results.json").read_text())
        assert known["pairs"][-1] == row
    assert [known["seconds"] for known in known["pairs"]] == [1.5, 9.0], (
        "measured again, so the first is gone"
    )


def test_what_tf32_moved_and_was_not_named_is_counted() -> None:
    rows = [
        row_of("a", "tf32", verdict="DIVERGED", findings=[TF32, TF32], tf32_moved=USED),
        row_of("b", "tf32", tf32_moved=USED, expected=False),
        row_of("c", "tf32", tf32_moved=UNUSED),
    ]
    text = markdown(Record(Path(), {}, {}, rows))
    assert "TF32 moved an output in 2 pairs, and is named in 1." in text


# --- all of it -----------------------------------------------------------------------------------------


def test_without_a_gpu_it_says_so_and_measures_nothing(tmp_path: Path) -> None:
    needs("jax")
    needs("torch")
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    done = started("-m", "benchmarks.gpu", "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "needs a GPU that PyTorch can use" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.reference
def test_the_whole_script_on_the_cpu(tmp_path: Path) -> None:
    needs("jax")
    needs("torch")
    needs("keras")
    needs("reference")
    options = ("--device", "cpu", "--smoke", "--budget", "500", "--out", str(tmp_path))
    done = started("-m", "benchmarks.gpu", *options, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    known = json.loads((tmp_path / "results.json").read_text())
    assert known["state"] == "finished"
    assert known["machine"]["keras backend"] == "jax"
    found = {(row["pair"], row["mode"]): row for row in known["pairs"]}
    assert set(found) == {(pair, mode) for pair in plan.SMOKE for mode in plan.MODES}
    assert found["SkipBlockDN", "float64"]["max_rel_diff"] < 1e-13
    assert [finding["cause"] for finding in found["SkipBlockDN", "tf32"]["findings"]] == ["tf32", "tf32"]
    assert found["MaxPool2d", "tf32"]["verdict"] == "EQUAL"
    assert found["SkipBlockDN", "bfloat16"]["max_rel_diff"] > 1e-4
    assert {(row["network"], row["against"]) for row in known["steps"]} == {
        ("DLStudio", "torch_impl"), ("torch_impl", "torch_impl"), ("DLStudio", "tf_impl"), ("tf_impl", "tf_impl"),
    }  # fmt: skip
    assert all(row["operations"] > 1e9 and row["share_of_peak"] > 0 for row in known["steps"])
    assert "| SkipBlockDN | EQUAL" in (tmp_path / "results.md").read_text()


@pytest.mark.gpu
@pytest.mark.slow
def test_a_card_gives_the_same(tmp_path: Path) -> None:
    needs("jax")
    needs("torch")
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    options = ("--pairs", "SkipBlockDN", "MaxPool2d", "--no-steps", "--budget", "300", "--out", str(tmp_path))
    done = started("-m", "benchmarks.gpu", *options, timeout=400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    known = json.loads((tmp_path / "results.json").read_text())
    assert known["machine"]["card"] == torch.cuda.get_device_name(0)
    assert len(known["pairs"]) == 8
