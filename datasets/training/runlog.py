"""What a run reports: loss.csv, metrics.csv, train.log, TensorBoard's events, a progress bar."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from datasets.errors import DataError, RunError, SettingsError
from datasets.files import extra, replacing
from datasets.training.order import Batch, Order

LOSS_COLUMNS = ["step", "epoch", "loss"]


@dataclass
class Progress:
    """How far a run has come, as its checkpoint keeps it.

    Args:
        sections: checks that are done.
        step: batches that are done.
        best: the score of the best check so far, None before the first; higher is better.
        waited: checks since then.
        values: the last check's values by name.
    """

    sections: int = 0
    step: int = 0
    best: float | None = None
    waited: int = 0
    values: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any, where: Path) -> Progress:
        """From what a checkpoint holds.

        Args:
            values: what `to_dict` gave, if the file is sound.
            where: the file, for the error.
        Raises:
            DataError: anything else.
        """
        names = [item.name for item in fields(cls)]
        sound = (
            isinstance(values, dict)
            and sorted(values) == sorted(names)
            and all(
                type(values[name]) is int and values[name] >= 0 for name in ("sections", "step", "waited")
            )
            and isinstance(values["best"], float | None)
            and isinstance(values["values"], dict)
        )
        if not sound:
            raise DataError(
                f"a run's checkpoint must say how far the run is; got {ascii(values)[:80]} at {where}. "
                "Take it away to begin anew."
            )
        return cls(**values)

    def check(self, step: int, values: Mapping[str, float]) -> bool:
        """Record one check's values; returns whether it is the best so far.

        The score is the mean IoU of the images kept, else their loss, else the training loss.
        """
        self.sections, self.step, self.values = self.sections + 1, step, dict(values)
        score = values.get("val_mean_iou", -values.get("val_loss", values["loss"]))
        if np.isnan(score) or (self.best is not None and score <= self.best):
            self.waited += 1
            return False
        self.best, self.waited = float(score), 0
        return True


class RunLog:
    """Writes what a run reports. A resumed run goes on where its checkpoint is.

    Args:
        folder: where the files go.
        order: the run's batches.
        progress: how far the run has come; the files are cut back to there.
        log_every: batches a loss line; an epoch shorter than that gets one line at its end.
        quiet: show no progress bar; without a terminal on stderr there is none anyway.
        tensorboard: whether to write TensorBoard's events.
    Source: lecture, "Training mUnet with MSE Loss", for the loss lines.
    """

    def __init__(
        self,
        folder: Path,
        order: Order,
        progress: Progress,
        log_every: int = 1000,
        quiet: bool = False,
        tensorboard: bool = True,
    ) -> None:
        if log_every < 1:
            raise SettingsError(f"log_every must be at least 1; got log_every={log_every}. Try 1000.")
        self.progress = progress
        self.name = "MSE loss" if order.recipe.loss == "mse" else "loss"
        self.log_every = min(log_every, order.steps_per_epoch, order.total)
        self._files = ExitStack()
        self._losses = csv.writer(self._table(folder / "loss.csv", LOSS_COLUMNS))
        self._log = self._files.enter_context(
            open(folder / "train.log", "a" if progress.step else "w", buffering=1)  # noqa: SIM115
        )
        self._metrics_path = folder / "metrics.csv"
        if not progress.step:
            self._metrics_path.unlink(missing_ok=True)
        self._events = self._writer(folder) if tensorboard else None
        disable = True if quiet else None  # None: tqdm's "only on a terminal"
        self._bar = self._files.enter_context(
            extra("tqdm").tqdm(total=order.total, initial=progress.step, unit="step", disable=disable)
        )
        self._window: list[float] = []
        self._section: list[float] = []
        self._images, self._begun = 0, time.perf_counter()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self._files.close()

    def _table(self, path: Path, columns: list[str]) -> TextIO:
        """A table with the rows of the steps that are done, open for more."""
        rows: list[list[str]] = []
        if self.progress.step and path.exists():
            with reading_table(path) as file:
                rows = [
                    row
                    for row in list(csv.reader(file))[1:]
                    if len(row) == len(columns) and int(row[0]) <= self.progress.step
                ]
        with replacing(path) as partial, open(partial, "w", newline="") as whole:
            csv.writer(whole).writerows([columns, *rows])
        return self._files.enter_context(open(path, "a", newline="", buffering=1))

    def _writer(self, folder: Path) -> Any:
        """TensorBoard's writer. Events of steps beyond the checkpoint, from before an interruption, are marked as void."""
        purge = self.progress.step + 1 if self.progress.step else None
        writer = extra("tensorboardX").SummaryWriter(str(folder), purge_step=purge, flush_secs=10)
        self._files.callback(writer.close)
        return writer

    def __call__(self, batch: Batch, loss: float) -> None:
        """Record one step's loss; every log_every batches print their mean."""
        if batch.number == 1:
            self._window.clear()
        self._window.append(loss)
        if not self._section:  # the first step of a section waits for what is prepared once
            self._images, self._begun = -len(batch.indices), time.perf_counter()
        self._section.append(loss)
        self._images += len(batch.indices)
        self._losses.writerow([batch.step, batch.epoch, repr(loss)])
        self._bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
        self._bar.update()
        if self._events and (batch.step % 10 == 0 or batch.is_last):
            self._events.add_scalar("train/loss", loss, batch.step)
        if batch.number % self.log_every == 0:
            self._say(
                f"[epoch:{batch.epoch},batch:{batch.number:5d}] {self.name}: {np.mean(self._window):.3f}"
            )
            self._window.clear()

    def _say(self, line: str) -> None:
        self._bar.write(line, file=sys.stdout)
        self._log.write(line + "\n")

    def check(self, batch: Batch, learning_rate: float, values: Mapping[str, float]) -> bool:
        """Record what the end of a section found; returns whether it is the best so far.

        Args:
            batch: the section's last.
            learning_rate: of its update.
            values: by name, such as "val_loss" and "val_mean_iou"; the section's training loss is added.
        """
        seconds = time.perf_counter() - self._begun
        values = {name: values[name] for name in sorted(values, key=_place)}
        every = {"loss": float(np.mean(self._section)), "learning_rate": learning_rate, **values}
        best = self.progress.check(batch.step, every)
        row = {"step": batch.step, "epoch": batch.epoch, **every, "images_per_second": self._images / seconds}
        self._add_row(row)
        if self._events:
            for name, value in row.items():
                tag = (
                    f"validation/{name.removeprefix('val_')}" if name.startswith("val_") else f"check/{name}"
                )
                if name not in ("step", "epoch") and np.isfinite(
                    value
                ):  # a class that is nowhere has no score
                    self._events.add_scalar(tag, value, batch.step)
        shown = [name for name in values if name == "val_loss" or ("iou" in name and "boundary" not in name)]
        shown_values = ", ".join(f"{name.removeprefix('val_')} {values[name]:.4g}" for name in shown)
        if shown_values:
            self._say(f"[step:{batch.step}] kept images: {shown_values}{' (best so far)' if best else ''}")
        self._section.clear()
        return best

    def _add_row(self, row: Mapping[str, Any]) -> None:
        """Add one row to metrics.csv and drop rows of later steps; the file is replaced as a whole."""
        rows: list[dict[str, Any]] = []
        if self._metrics_path.exists():
            with reading_table(self._metrics_path) as file:
                rows = [old for old in csv.DictReader(file) if int(old["step"]) < row["step"]]
        with replacing(self._metrics_path) as partial, open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, list(row), extrasaction="ignore")
            writer.writeheader()
            writer.writerows([*rows, {name: repr(value) for name, value in row.items()}])


@contextmanager
def reading_table(path: Path) -> Iterator[TextIO]:
    """A table of a run, open; what is read inside must be what a run writes.

    Raises:
        DataError: something else.
    """
    try:
        with open(path, newline="") as file:
            yield file
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(
            f"a run's table must be as the run wrote it; got {type(error).__name__}: {ascii(error)[:80]} at {path}. "
            "Take it away."
        ) from error


def checked(
    batch: Batch,
    learning_rate: float,
    values: Mapping[str, float],
    losses: Sequence[float],
    log: RunLog | None,
    progress: Progress,
) -> bool:
    """Record what the end of a section found; returns whether it is the best so far.

    Args:
        batch, learning_rate, values: see `RunLog.check`.
        losses: of the section's steps.
        log: where it is written; without one only the progress is updated.
        progress: of the run.
    """
    if log is not None:
        return log.check(batch, learning_rate, values)
    return progress.check(batch.step, {"loss": float(np.mean(losses)), **values})


def _place(name: str) -> tuple[bool, bool, str]:
    """Where a value stands in tables: loss and means first."""
    return (name != "val_loss", "mean" not in name and "accuracy" not in name, name)


def finite(loss: float, batch: Batch) -> float:
    """The loss itself, or a RunError that names the step at which it stopped being a number."""
    if not np.isfinite(loss):
        raise RunError(
            f"the loss must stay finite; got loss={loss} at step {batch.step} (epoch {batch.epoch}, "
            f"batch {batch.number}). Lower --learning-rate."
        )
    return loss
