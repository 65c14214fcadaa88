"""The engine of train.py: Lightning with the same batches, checks and files as in tf_impl."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import EMAWeightAveraging
from numpy.typing import NDArray

from datasets.errors import SettingsError
from datasets.files import replacing
from datasets.purdue_shapes import CLASSES, MASK_VALUES
from datasets.training.feeding import (
    Augment,
    Kept,
    Section,
    Source,
    middle,
    network_batch,
)
from datasets.training.order import Batch, Order
from datasets.training.recipe import Machine, Recipe, scored_as
from datasets.training.runlog import Progress, RunLog, checked, finite
from torch_impl import losses, optimizers
from torch_impl.checkpoints import BEST, CHECKPOINT, STATE, save_weights
from torch_impl.distribution import place
from torch_impl.metrics import SegmentationMetrics

LOSSES: dict[str, Callable[[], torch.nn.Module]] = {
    "mse": losses.MSELoss,
    "bce-dice": partial(losses.BCEDiceLoss, absent=False),
    "cross-entropy": losses.CrossEntropyLoss,
    "cross-entropy-dice": losses.CrossEntropyDiceLoss,
}
PRECISIONS: dict[str, Any] = {"float32": "32-true", "float64": "64-true", "bfloat16": "bf16-mixed"}


class _Engine(lightning.LightningModule):
    """A network, its loss and its optimizer.

    Args:
        network: what is trained.
        recipe: how.
        rates: the learning rate of every update.
        metrics: what the images kept are scored by.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        recipe: Recipe,
        rates: NDArray[np.float64],
        metrics: SegmentationMetrics,
    ) -> None:
        super().__init__()
        self.network, self.recipe, self.rates = network, recipe, rates
        self.loss = LOSSES[recipe.loss]()
        self.step_loss = torch.zeros(())
        self.metrics = metrics
        self.kept_losses: list[tuple[float, int]] = []

    def outputs(self, inputs: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
        """The network's outputs where the targets are, the main one first; float32 at least, for the loss."""
        found = self.network(inputs)
        outputs = list(found) if isinstance(found, list | tuple) else [found]
        outputs = [each.float() if each.dtype == torch.bfloat16 else each for each in outputs]
        return [each[..., *middle(each.shape[2:], targets.shape[-2:])] for each in outputs]

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        """The loss of one batch."""
        inputs, targets = batch
        try:
            first, *others = self.outputs(inputs, targets)
        except ValueError as error:
            if len(inputs) > 1 or "more than 1 value per channel" not in str(error):
                raise
            raise SettingsError(
                "a batch must have more than one image where a network normalises their averages; got one image in "
                f"the last batch of an epoch. Choose another --batch-size than {self.recipe.batch_size}."
            ) from error
        loss: torch.Tensor = self.loss(first, targets)
        for each in others:
            loss = loss + self.recipe.auxiliary * self.loss(each, targets)
        self.step_loss = loss.detach()
        return loss

    def validation_step(self, batch: Any, number: int) -> None:
        """Take one batch of the images kept into the metrics."""
        inputs, targets = batch
        outputs = self.outputs(inputs, targets)[0]
        self.kept_losses.append((float(self.loss(outputs, targets)), len(inputs)))
        self.metrics.update(outputs, targets)

    def on_validation_epoch_start(self) -> None:
        """Clear what earlier checks counted."""
        self.kept_losses.clear()
        self.metrics.reset()

    def found(self) -> dict[str, float]:
        """What the images kept show: mean loss, and the metrics by name."""
        sums = torch.tensor(self.kept_losses, dtype=torch.float64)  # (batches, 2): of a loss and of images
        sums = torch.stack([(sums[:, 0] * sums[:, 1]).sum(), sums[:, 1].sum()])
        sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        scores = {name: float(value) for name, value in self.metrics.compute().items()}
        return {"val_loss": float(sums[0] / sums[1]), **{f"val_{name}": v for name, v in scores.items()}}

    def configure_optimizers(self) -> Any:
        """The recipe's optimizer, with the learning rate of each update from the table."""
        recipe, first = self.recipe, float(self.rates[0])
        parameters = [value for value in self.network.parameters() if value.requires_grad]
        arguments: dict[str, Any] = {"lr": first, "weight_decay": recipe.weight_decay}
        if recipe.optimizer in ("sgd", "rmsprop"):
            arguments["momentum"] = recipe.momentum
        kinds = {"sgd": optimizers.SGD, "adam": optimizers.Adam, "adamw": optimizers.AdamW}
        optimizer = kinds.get(recipe.optimizer, optimizers.RMSprop)(parameters, **arguments)
        schedule = {"scheduler": _Rates(optimizer, self.rates), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}


class _Rates(torch.optim.lr_scheduler.LRScheduler):
    """The learning rates of a table, one for each update."""

    def __init__(self, optimizer: torch.optim.Optimizer, rates: NDArray[np.float64]) -> None:
        self.rates = rates.tolist()
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The rate of the next update; after the last one it stays."""
        return [self.rates[min(self.last_epoch, len(self.rates) - 1)]] * len(self.optimizer.param_groups)

    def state_dict(self) -> dict[str, Any]:
        """What is not in the table."""
        return {name: value for name, value in super().state_dict().items() if name != "rates"}


class _Average(EMAWeightAveraging):
    """The moving average of the weights; running statistics are the network's own, as Keras has it."""

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=False, decay=decay)

    @property
    def network(self) -> torch.nn.Module:
        """The network with the averaged weights."""
        assert self._average_model is not None
        return self._average_model.module.get_submodule("network")

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Wait for `on_fit_end`: this is not called where a run that is over is resumed."""

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Leave the network in the averaged weights; without any update there is no average."""
        if self._average_model is not None and int(self._average_model.n_averaged) > 0:
            super().on_train_end(trainer, pl_module)


class _Batches(torch.utils.data.Dataset):
    """Batches as tensors in the network's layout, which is channels_last in memory."""

    def __init__(self, batches: Section | Kept, recipe: Recipe, dtype: str, network: Any) -> None:
        self.batches, self.recipe, self.dtype, self.network = batches, recipe, dtype, network

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        arrays = network_batch(self.batches, number, self.network, self.recipe, self.dtype)
        inputs, targets = (torch.from_numpy(array) for array in arrays)
        return inputs.permute(0, 3, 1, 2), targets.long() if targets.dtype == torch.int32 else targets


class _Feed(lightning.LightningDataModule):
    """The batches of each section in turn, and the images kept."""

    def __init__(
        self,
        network: torch.nn.Module,
        source: Source,
        order: Order,
        machine: Machine,
        augment: Augment | None,
    ) -> None:
        super().__init__()
        self.network, self.source, self.order, self.augment = network, source, order, augment
        self.workers, self.dtype = machine.workers, machine.weights_dtype

    def _loader(self, batches: Section | Kept) -> Any:
        data = _Batches(batches, self.order.recipe, self.dtype, self.network)
        return torch.utils.data.DataLoader(data, batch_size=None, num_workers=self.workers)

    def train_dataloader(self) -> Any:
        """This process's part of the batches of the section that comes next."""
        assert self.trainer is not None
        steps = self.order.sections[self.trainer.current_epoch]
        share = self.trainer.global_rank, self.trainer.world_size
        return self._loader(Section(self.source, self.order, steps, self.augment, *share))

    def val_dataloader(self) -> Any:
        """This process's part of the images kept."""
        assert self.trainer is not None
        share = self.trainer.global_rank, self.trainer.world_size
        return self._loader(Kept(self.source, self.order.kept, self.order.recipe.batch_size, *share))


class _Watch(lightning.Callback):
    """Reports every step; at the end of every section checks, saves, and stops where nothing gets better."""

    def __init__(
        self,
        order: Order,
        rates: NDArray[np.float64],
        report: Callable[[Batch, float], object],
        log: RunLog | None,
        folder: Path | None,
        progress: Progress,
        average: _Average | None,
    ) -> None:
        self.order, self.rates, self.report, self.runlog = order, rates, report, log
        self.folder, self.progress, self.average = folder, progress, average
        self.losses: list[float] = []

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the batch's loss, the mean over all processes."""
        place = self.order.batch(self.order.sections[trainer.current_epoch][batch_idx])
        loss = trainer.strategy.reduce(pl_module.step_loss, reduce_op="mean")
        self.losses.append(finite(float(loss), place))
        self.report(place, self.losses[-1])

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Check and save."""
        steps = self.order.sections[trainer.current_epoch]
        place, rate = self.order.batch(steps[-1]), self.rates[steps[-1] // self.order.recipe.accumulate]
        values = pl_module.found() if len(self.order.kept) else {}
        best = checked(place, float(rate), values, self.losses[-len(steps) :], self.runlog, self.progress)
        patience = self.order.recipe.patience
        if patience and self.progress.waited >= patience:
            trainer.should_stop = True
        if self.folder is not None:
            network = self.average.network if self.average else pl_module.network
            if trainer.is_global_zero:
                save_weights(network, self.folder / CHECKPOINT)
                if best and len(self.order.kept):
                    save_weights(network, self.folder / BEST)
            _save_state(trainer, self.folder / STATE)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep what Lightning does not: how far the run is, and the state of random numbers."""
        checkpoint["progress"] = self.progress.to_dict()
        checkpoint["random"] = torch.get_rng_state()

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Draw random numbers from where the run broke off."""
        torch.set_rng_state(checkpoint["random"])


def _save_state(trainer: Any, path: Path) -> None:
    """Write all that a run needs to go on into one file; it is complete or it does not appear.

    Lightning's own way goes through the system's folder for temporary files. From another disk that is a copy, which
    can break off half-way.
    """
    if not trainer.is_global_zero:  # all processes must call it, and one writes
        trainer.save_checkpoint(path)
        return
    with replacing(path) as partial:
        trainer.save_checkpoint(partial)


def fit(
    network: torch.nn.Module,
    source: Source,
    recipe: Recipe,
    *,
    classes: tuple[str, ...] = CLASSES,
    mask_values: tuple[int, ...] = MASK_VALUES,
    augment: Augment | None = None,
    machine: Machine | None = None,
    report: Callable[[Batch, float], object] = lambda batch, loss: None,
    log: RunLog | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> list[float]:
    """Train a network in place. At the end it has the averaged weights if the recipe averages them.

    Args:
        network: its weights give the dtype.
        source: the images and their masks.
        recipe: how it is trained.
        classes: names of the masks' channels.
        mask_values: their values.
        augment: changes a batch's images and masks.
        machine: what it runs on.
        report: called after every step with its Batch and its loss.
        log: writes the run's tables.
        folder: where checkpoints go; none are written without it.
        progress: how far the run in `folder` has come; a new run without it.
    Returns: the loss of every step of this call, computed before its update.
    Raises:
        RunError: a loss that is no finite number.
    """
    order = Order(len(source), recipe, source.held)
    rates = recipe.learning_rates(len(order.trained))
    progress, machine = progress or Progress(), machine or Machine(_dtype(network))
    order.check_kept(place(machine)[1])
    stopped = recipe.patience and progress.waited >= recipe.patience
    sections = progress.sections if stopped else len(order.sections)
    if machine.compile:
        network.compile()
    if recipe.freeze_batchnorm:
        for layer in network.modules():
            if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                layer.eval().requires_grad_(False)  # Lightning leaves each layer in its mode
    metrics = SegmentationMetrics(*scored_as(recipe.loss, classes, mask_values))
    engine = _Engine(network.to(memory_format=torch.channels_last), recipe, rates, metrics)  # type: ignore[call-overload]
    average = _Average(recipe.ema) if recipe.ema else None
    watch = _Watch(order, rates, report, log, folder, progress, average)
    feed = _Feed(network, source, order, machine, augment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)  # advice on workers and loggers
        warnings.filterwarnings("ignore", message=".*LeafSpec")  # Lightning's own use of torch
        trainer = _trainer(
            recipe, machine, sections, bool(len(order.kept)), [*([average] if average else []), watch]
        )
        resumed = str(folder / STATE) if folder is not None and progress.sections else None
        trainer.fit(engine, datamodule=feed, ckpt_path=resumed, weights_only=True if resumed else None)
    return watch.losses


def _trainer(
    recipe: Recipe, machine: Machine, sections: int, checked: bool, callbacks: list[Any]
) -> lightning.Trainer:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)  # what hardware there is, at every start
    world = place(machine)[1]
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", machine.devices))  # torchrun's
    return lightning.Trainer(
        accelerator="gpu" if machine.device == "gpu" else "cpu",
        devices=devices,
        num_nodes=world // devices,
        strategy="ddp_find_unused_parameters_true" if world > 1 else "auto",  # mUnet declares some
        precision=PRECISIONS[machine.dtype],
        max_epochs=sections,
        limit_val_batches=1.0 if checked else 0,
        accumulate_grad_batches=recipe.accumulate,
        gradient_clip_val=recipe.clip or None,
        deterministic=machine.deterministic,
        callbacks=callbacks,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _dtype(network: torch.nn.Module) -> str:
    return str(next(network.parameters()).dtype).removeprefix("torch.")
