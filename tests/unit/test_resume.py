"""A run that is killed and resumed ends in the same weights, to the bit, as one that was left alone."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.purdue_shapes import generate, save
from datasets.training.runlog import RunLog
from tests.conftest import needs

HALVES = {"tf_impl": "keras", "torch_impl": "torch"}
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
# Everything that has a state of its own: average, accumulation, schedule, augmentation, patience.
NETWORK = (
    "UNet(width=4, padded=True, batch_norm=True, dropout=0.0)"  # has every kind of state, and starts soon
)
FLAGS = [
    "--model",
    NETWORK,
    "--batch-size",
    "4",
    "--epochs",
    "3",
    "--validation",
    "0.2",
    "--check-every",
    "4",
]
FLAGS += ["--ema", "0.9", "--accumulate", "2", "--augment", "flips", "--patience", "50", "--quiet"]
FLAGS += ["--deterministic", "--log-every", "100"]

COLUMNS = ["step", "epoch", "loss", "learning_rate", "val_loss", "val_mean_boundary_iou", "val_mean_dice"]
COLUMNS += [
    "val_mean_iou",
    "val_pixel_accuracy",
]  # the same names in both packages: their runs go on one plot


def weights(half: str, path: Path) -> list[Any]:
    if half == "torch_impl":
        import torch

        return [value.numpy() for value in torch.load(path, weights_only=True).values()]
    import h5py

    found: list[Any] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.append(node[()]) if isinstance(node, h5py.Dataset) else None)
    return found


def killed(half: str, flags: list[str], out: Path, rows: int) -> None:
    """Run the script and kill it, without a warning, once so many steps are done."""
    command = [sys.executable, "-m", f"{half}.train", *flags, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ)
    table, end = out / "loss.csv", time.monotonic() + 900
    try:
        while not (table.exists() and len(table.read_text().splitlines()) > rows):
            assert process.poll() is None, process.communicate()[0].decode()[-3000:]
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture
def as_before() -> Iterator[None]:
    """Afterwards TensorFlow may use XLA again, which it refuses once it was asked to be deterministic."""
    yield
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework.config import disable_op_determinism  # it has no public name

        disable_op_determinism()


@pytest.mark.slow
@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("half", HALVES)
def test_a_killed_run_resumes_to_the_same_weights(
    half: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(HALVES[half])
    train = importlib.import_module(f"{half}.train")
    names = importlib.import_module(f"{half}.checkpoints")
    save(tmp_path / "x-train.gz", generate(40, 1, (32, 40)))
    flags = ["--data", str(tmp_path / "x-train.gz"), *FLAGS]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    killed(half, flags, broken, rows=10)
    done = names.read_progress(broken).step
    assert done in (8, 12)
    steps: list[int] = []
    record = RunLog.__call__
    monkeypatch.setattr(
        RunLog, "__call__", lambda log, batch, loss: steps.append(batch.step) or record(log, batch, loss)
    )
    # A file that a kill left half written is never read.
    (broken / f"partial-{names.STATE}").write_bytes(b"half")
    assert train.main([*flags, "--out", str(broken), "--resume"]) == 0
    assert steps == list(range(done + 1, 25)), "a new run would end in the same weights too"
    assert train.main([*flags, "--out", str(whole)]) == 0
    for name in (names.CHECKPOINT, names.BEST):
        pairs = list(zip(weights(half, whole / name), weights(half, broken / name), strict=True))
        assert len(pairs) > 50
        for one, other in pairs:
            np.testing.assert_array_equal(one, other, strict=True)
    for table in ("loss.csv", "train.log"):
        assert (whole / table).read_text() == (broken / table).read_text()
    assert (whole / "metrics.csv").read_text().splitlines()[0].split(",")[:9] == COLUMNS
    events = b"".join(path.read_bytes() for path in whole.glob("events.out.tfevents.*"))
    assert all(tag in events for tag in (b"train/loss", b"validation/mean_iou", b"check/learning_rate"))
    assert names.read_progress(whole) == names.read_progress(broken)
    assert names.read_progress(whole).step == 24


def test_resuming_needs_the_same_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs("torch")
    from torch_impl import train

    save(tmp_path / "x-train.gz", generate(8, 1, (32, 40)))
    flags = ["--data", str(tmp_path / "x-train.gz"), "--out", str(tmp_path / "run"), "--depth", "2"]
    flags += ["--preset", "lecture", "--steps", "1", "--quiet"]
    assert train.main([*flags, "--resume"]) == 0  # nothing to go on from: a new run
    assert train.main([*flags, "--resume", "--learning-rate", "1e-3"]) == 2
    assert "got recipe=" in capsys.readouterr().err
