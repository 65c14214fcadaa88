"""Several devices or processes that share every batch: torchrun, or processes that know one another by the flags."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterator

from datasets.training.recipe import Machine


@contextlib.contextmanager
def joined(machine: Machine) -> Iterator[tuple[int, int]]:
    """Set where this process finds the others; Lightning joins them when the training begins.

    torchrun sets it by itself. Gradients are averaged by DistributedDataParallel; each process has running
    statistics of its own, of its own part of every batch.

    Args:
        machine: coordinator, processes and process; devices, for which Lightning starts processes of its own.
    Returns: a context with this process's number and how many there are.
    Raises:
        SettingsError: numbers that do not go together.
    """
    if machine.processes > 1 and machine.coordinator and "RANK" not in os.environ:
        address, _, port = machine.coordinator.rpartition(":")
        os.environ |= {"MASTER_ADDR": address, "MASTER_PORT": port, "NODE_RANK": str(machine.process)}
    atexit.register(_leave)
    yield place(machine)


def _leave() -> None:
    """Leave the other processes in order: PyTorch aborts at times where a process ends with its group still open."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def place(machine: Machine) -> tuple[int, int]:
    """This process's number, and how many there are."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local = int(os.environ.get("LOCAL_RANK", 0))  # set in the processes that Lightning starts
    return machine.process * machine.devices + local, machine.processes * machine.devices
