"""One training run from its command line to its end, the same in both halves: each hands in four callbacks."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from datasets.claims import claimed
from datasets.training.augment import augmentation
from datasets.training.command import Training
from datasets.training.flags import machine_settings
from datasets.training.order import Order
from datasets.training.recipe import Machine
from datasets.training.runlog import Progress, RunLog
from datasets.training.runs import claim


class Seat(NamedTuple):
    """Where a process sits in its run: its number, how many there are, and its device, cpu or gpu."""

    rank: int
    world: int
    device: str


class Checkpoints(Protocol):
    """What a half's module `checkpoints` can read into a network."""

    def load_weights(self, model: Any, path: Path) -> None:
        """Read a checkpoint that the network fits exactly."""

    def read_backbone(self, model: Any, path: Path, network: Mapping[str, Any], dtype: str) -> list[str]:
        """Read published weights; return the names of the network's parts that were read."""

    def read_progress(self, folder: Path) -> Progress | None:
        """How far the run in a folder has come; None where there is no checkpoint."""


@dataclass(frozen=True)
class Half:
    """What a training run asks of a half.

    Attributes:
        package: its name.
        versions: gives the versions that the configuration records, by name.
        started: joins the processes that share the run and chooses the device; a context.
        built: builds the network with its first weights from the command line, the machine and the device.
        checkpoints: the half's module of that name.
        fit: the half's `engine.fit`.
    """

    package: str
    versions: Callable[[], dict[str, str]]
    started: Callable[[Machine], AbstractContextManager[Seat]]
    built: Callable[[Training, Machine, str], Any]
    checkpoints: Checkpoints
    fit: Callable[..., list[float]]


def run(options: argparse.Namespace, half: Half) -> None:
    """Carry out one command line of a half's training script.

    Args:
        options: from `training_flags`.
        half: the callbacks.
    Raises:
        RunError: settings or data that do not fit, a missing package, a loss that is no finite number, or a folder
            that another process writes to.
        OSError: a file that cannot be read or written.
    """
    wanted = Training.of(options)
    order = Order(len(wanted.source), wanted.recipe, wanted.source.held)
    machine = Machine(options.dtype, options.device, **machine_settings(options))
    with contextlib.ExitStack() as files:
        seat = files.enter_context(half.started(machine))
        if seat.rank == 0:
            files.enter_context(claimed(options.out))
        left_out = order.left_out(max(seat.world, machine.devices))
        model = half.built(wanted, machine, seat.device)
        progress = _read(options, half, wanted, model, machine, seat)
        log = None
        if seat.rank == 0:
            claim(options.out, wanted.config(half.package, options, seat.device, **half.versions()))
            if left_out:
                print(
                    f"{left_out} images of the last batch of every epoch are left out: equal parts are shared"
                )
            log = files.enter_context(
                RunLog(options.out, order, progress, options.log_every, options.quiet, options.tensorboard)
            )
        half.fit(
            model,
            wanted.source,
            wanted.recipe,
            classes=wanted.classes,
            augment=augmentation(wanted.recipe.augment, wanted.recipe.seed),
            machine=replace(machine, device=seat.device),
            report=log or (lambda batch, loss: None),
            log=log,
            folder=options.out,
            progress=progress,
        )


def _read(
    options: argparse.Namespace, half: Half, wanted: Training, model: Any, machine: Machine, seat: Seat
) -> Progress:
    """Read into the network what the run starts from; returns how far an earlier one has come."""
    if options.backbone:
        parts = half.checkpoints.read_backbone(model, options.backbone, wanted.network, machine.weights_dtype)
        if seat.rank == 0:
            print(f"{options.backbone.name}: the weights of {', '.join(parts)}")
    if options.init:
        half.checkpoints.load_weights(model, options.init)
    found = half.checkpoints.read_progress(options.out) if options.resume else None
    return found or Progress()
