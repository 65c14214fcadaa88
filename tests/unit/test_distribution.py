"""Processes and devices that share every batch: the losses are those of one process on the whole batch.

BatchNorm is the exception that is documented: with PyTorch's DistributedDataParallel and TensorFlow's
MirroredStrategy each part of a batch is normalised by its own statistics, so that the losses are the same only
where the normalisation is frozen. On JAX the statistics are the whole batch's.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.errors import RunError
from datasets.purdue_shapes import generate, save
from datasets.training.recipe import Machine
from tests import distributed
from tests.conftest import needs

WORKER = Path(__file__).resolve().parents[1] / "distributed.py"
ROUNDING = 2e-6  # relative, float32: another order of the same sums over 18 steps; measured 1e-7 to 3e-7


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(command: list[str], **environment: str) -> subprocess.Popen[str]:
    every = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=every)


def ended(processes: list[subprocess.Popen[str]]) -> None:
    try:
        told = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(told)[-4000:]


def losses(path: Path, count: int) -> dict[str, list[list[float]]]:
    """By kind of run the losses that each of `count` processes wrote."""
    found = [json.loads(path.with_suffix(f".{rank}.json").read_text()) for rank in range(count)]
    assert [(each["rank"], each["world"]) for each in found] == [(rank, count) for rank in range(count)]
    assert {len(losses) for each in found for losses in each["losses"].values()} == {18}
    return {kind: [each["losses"][kind] for each in found] for kind in found[0]["losses"]}


def worker(half: str, out: Path, *kinds: str, **machine: Any) -> list[str]:
    return [sys.executable, str(WORKER), half, str(out), json.dumps(machine), *kinds]


def torchrun(command: list[str], port: int) -> list[str]:
    run = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    return [command[0], *run, *command[1:]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """The losses of one PyTorch process, by kind."""
    needs("torch")
    out = tmp_path_factory.mktemp("alone") / "torch"
    distributed.main("torch_impl", str(out), "{}", "frozen", "normalised")
    return {kind: found[0] for kind, found in losses(out, 1).items()}


@pytest.mark.slow
def test_torchrun_trains_as_one_process_but_for_batchnorm(
    tmp_path: Path, alone: dict[str, list[float]]
) -> None:
    ended([start(torchrun(worker("torch_impl", tmp_path / "two", "frozen", "normalised"), free_port()))])
    apart = {}
    for kind, shared in losses(tmp_path / "two", 2).items():
        assert shared[0] == shared[1]
        one = np.array(alone[kind])
        apart[kind] = np.max(np.abs(np.array(shared[0]) - one) / np.abs(one))
    assert apart["frozen"] < ROUNDING
    assert (
        apart["normalised"] > 1e-4
    )  # the documented reason: each process normalises its own half of the batch


@pytest.mark.slow
def test_processes_that_are_told_of_one_another_train_as_torchrun_does(
    tmp_path: Path, alone: dict[str, list[float]]
) -> None:
    machine = {"coordinator": f"127.0.0.1:{free_port()}", "processes": 2}
    commands = [worker("torch_impl", tmp_path / "two", "frozen", **machine, process=n) for n in range(2)]
    ended([start(command) for command in commands])
    np.testing.assert_allclose(losses(tmp_path / "two", 2)["frozen"][0], alone["frozen"], rtol=ROUNDING)


@pytest.mark.slow
def test_two_jax_processes_train_as_one_batchnorm_included(tmp_path: Path) -> None:
    needs("keras")
    needs("jax")
    jax = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    machine = {"coordinator": f"127.0.0.1:{free_port()}", "processes": 2}
    commands = [worker("tf_impl", tmp_path / "two", "normalised", **machine, process=n) for n in range(2)]
    ended([start(command, **jax) for command in commands])
    ended([start(worker("tf_impl", tmp_path / "one", "normalised"), **jax)])
    shared, (one,) = losses(tmp_path / "two", 2)["normalised"], losses(tmp_path / "one", 1)["normalised"]
    assert shared[0] == shared[1]
    np.testing.assert_allclose(shared[0], one, rtol=ROUNDING)


SHARED = {
    "torch_impl": ["--devices", "2"],
    "tensorflow": ["--devices", "2"],
    "jax": ["--processes", "2", "--coordinator"],
}
# One image of each epoch's last batch is left out, and BatchNorm is frozen (see above).
SHORT = ["--model", "UNet(width=4, padded=True, batch_norm=True, dropout=0.0)", "--batch-size", "4"]
SHORT += ["--epochs", "1", "--validation", "0.2", "--quiet"]
SHORT += ["--freeze-batchnorm", "--log-every", "1"]


def tables(out: Path) -> list[NDArray[np.float64]]:
    """The losses of every step, and the scores of every check but for the speed."""
    losses = np.genfromtxt(out / "loss.csv", delimiter=",", skip_header=1)
    with (out / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name != "images_per_second"]
    assert (len(losses), len(rows), len(names)) == (5, 1, 24)
    return [losses, np.array([[float(row[name] or "nan") for name in names] for row in rows])]


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHARED)
def test_scripts_whose_batches_are_shared_write_the_same_tables(kind: str, tmp_path: Path) -> None:
    needs("torch" if kind == "torch_impl" else "keras")
    if kind == "jax":
        needs("jax")
    half = kind if kind == "torch_impl" else "tf_impl"
    environment = {"KERAS_BACKEND": "tensorflow" if half == kind else kind, "JAX_PLATFORMS": "cpu"}
    save(tmp_path / "x-train.gz", generate(22, 1, (32, 40)))
    flags = ["--data", str(tmp_path), *SHORT, "--out"]
    command = [sys.executable, "-m", f"{half}.train", *flags]
    if kind == "jax":
        ended([start([*command, str(tmp_path / "one")], **environment)])
    else:  # nothing of it needs a process of its own
        assert importlib.import_module(f"{half}.train").main([*flags, str(tmp_path / "one")]) == 0
    shared = [*command, str(tmp_path / "two"), *SHARED[kind]]
    if kind == "jax":
        shared += [f"127.0.0.1:{free_port()}", "--process"]
        ended([start([*shared, str(number)], **environment) for number in range(2)])
    else:
        ended([start(shared, **environment)])
    for one, two in zip(tables(tmp_path / "one"), tables(tmp_path / "two"), strict=True):
        assert np.isfinite(one).mean() > 0.8
        np.testing.assert_allclose(two, one, rtol=ROUNDING)


def test_several_processes_need_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("keras")
    from tf_impl.distribution import joined

    with (
        pytest.raises(RunError, match="must run on Keras' JAX backend"),
        joined(Machine(processes=2, coordinator="127.0.0.1:1")),
    ):
        pass
