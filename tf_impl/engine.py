"""The engine of train.py: keras.Model.fit with the same batches, checks and files as in torch_impl."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

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
from tf_impl import losses, optimizers
from tf_impl._aside import aside
from tf_impl._backend import precision
from tf_impl._seal import seal
from tf_impl.checkpoints import BEST, CHECKPOINT, STATE, save_weights
from tf_impl.distribution import place
from tf_impl.metrics import SegmentationMetrics

LOSSES: dict[str, Callable[[], Any]] = {
    "mse": losses.MSELoss,
    "bce-dice": partial(losses.BCEDiceLoss, absent=False),
    "cross-entropy": losses.CrossEntropyLoss,
    "cross-entropy-dice": losses.CrossEntropyDiceLoss,
}


class _Engine(keras.Model):
    """A network, its loss and its metrics; the network itself is not compiled, so that its checkpoint is its weights.

    Args:
        network: what is trained.
        recipe: how.
        rates: the learning rate of every update.
        metrics: what the images kept are scored by.
    """

    def __init__(
        self,
        network: keras.Model,
        recipe: Recipe,
        rates: NDArray[np.float64],
        metrics: SegmentationMetrics,
    ) -> None:
        super().__init__(name="engine")
        self.network = network
        self.recipe, self.rates = recipe, rates
        self.step_loss = _Last(name="step_loss")
        self.scores = metrics
        self.built = True
        self._testing = False

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The network's outputs, the main one first; float32 at least, for the loss."""
        found = self.network(inputs, training=training)
        outputs = list(found) if isinstance(found, list | tuple) else [found]
        return [ops.cast(each, self.variable_dtype) for each in outputs]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss of this batch: Keras itself reports only the mean since the epoch began."""
        first, *others = (_where(each, y) for each in y_pred)
        loss = super().compute_loss(x, y, first, sample_weight, training)
        for each in () if self._testing else others:
            loss = loss + self.recipe.auxiliary * super().compute_loss(x, y, each, sample_weight, training)
        self.step_loss.update_state(loss)
        return loss

    def test_step(self, *args: Any) -> Any:
        """One batch of the images kept, metrics included."""
        self._testing = True
        try:
            return super().test_step(*args)
        finally:
            self._testing = False

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """What the logs hold: the loss of this batch, or in a test the mean so far."""
        if not self._testing:
            return {"step_loss": self.step_loss.result()}
        self.scores.update_state(y, _where(y_pred[0], y))
        return {"loss": self._loss_tracker.result()}


def _where(outputs: Any, targets: Any) -> Any:
    """The part of the outputs that lies on the targets; outputs may cover more."""
    if outputs.shape[1:3] == targets.shape[1:3]:
        return outputs
    return outputs[:, *middle(outputs.shape[1:3], targets.shape[1:3])]


class _Last(keras.metrics.Metric):
    """The last value alone."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.last = self.add_variable((), "zeros", name="last")

    def update_state(self, value: Any, sample_weight: Any = None) -> None:
        """Keep one value in place of the one before."""
        self.last.assign(ops.cast(value, self.last.dtype))

    def result(self) -> Any:
        """The value."""
        return ops.convert_to_tensor(self.last)


@keras.saving.register_keras_serializable(package="tf_impl")
class _Rates(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rates of a table, one for each update."""

    def __init__(self, rates: Any, every: int = 1) -> None:
        self.rates, self.every = np.asarray(rates, keras.config.floatx()), every

    def __call__(self, step: Any) -> Any:
        """The rate of a batch, of which `every` make one update; after the last one it stays."""
        update = ops.minimum(ops.floor_divide(ops.cast(step, "int32"), self.every), len(self.rates) - 1)
        return ops.take(ops.convert_to_tensor(self.rates), update)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return {"rates": self.rates.tolist(), "every": self.every}


def _optimizer(recipe: Recipe, rates: NDArray[np.float64]) -> keras.optimizers.Optimizer:
    """The recipe's optimizer, with the learning rate of each update from the table."""
    schedule = float(rates[0]) if np.ptp(rates) == 0 else _Rates(rates, recipe.accumulate)
    arguments: dict[str, Any] = {"lr": schedule, "weight_decay": recipe.weight_decay}
    if recipe.optimizer in ("sgd", "rmsprop"):
        arguments["momentum"] = recipe.momentum
    if recipe.clip:
        arguments["global_clipnorm"] = recipe.clip
    if recipe.accumulate > 1:
        arguments["gradient_accumulation_steps"] = recipe.accumulate
    if recipe.ema:
        arguments |= {"use_ema": True, "ema_momentum": recipe.ema}
    kinds: dict[str, Any] = {"sgd": optimizers.SGD, "adam": optimizers.Adam, "adamw": optimizers.AdamW}
    return kinds.get(recipe.optimizer, optimizers.RMSprop)(**arguments)


class _Batches(keras.utils.PyDataset):
    """Batches in the network's layout."""

    def __init__(
        self, batches: Section | Kept, recipe: Recipe, dtype: str, workers: int, network: keras.Model
    ) -> None:
        super().__init__(workers=max(workers, 1))
        self.batches, self.recipe, self.dtype, self.network = batches, recipe, dtype, network

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        inputs, targets = network_batch(self.batches, number, self.network, self.recipe, self.dtype)
        return inputs, np.moveaxis(targets, 1, -1) if targets.ndim == 4 else targets


class _Watch(keras.callbacks.Callback):
    """Reports every step of one section."""

    def __init__(
        self, order: Order, steps: range, report: Callable[[Batch, float], object], found: list[float]
    ) -> None:
        super().__init__()
        self.order, self.steps, self.report, self.found = order, steps, report, found

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Report the batch's loss."""
        place = self.order.batch(self.steps[batch])
        self.found.append(finite(float((logs or {})["step_loss"]), place))
        self.report(place, self.found[-1])


@contextlib.contextmanager
def _averaged(engine: _Engine) -> Iterator[None]:
    """Put the moving average in the place of the weights, if the recipe keeps one."""
    if not engine.recipe.ema:
        yield
        return
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(engine)
    swap.on_test_begin()
    try:
        yield
    finally:
        swap.on_test_end()


def fit(
    network: keras.Model,
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
    progress, machine = progress or Progress(), machine or Machine(str(network.dtype_policy.compute_dtype))
    dtype = network.variable_dtype
    found: list[float] = []
    with precision(machine.dtype), warnings.catch_warnings():
        # Some of mUnet's blocks are declared and never used, as in the lecture: they have no gradient.
        warnings.filterwarnings("ignore", message="Gradients do not exist for variables")
        metrics = SegmentationMetrics(*scored_as(recipe.loss, classes, mask_values))
        if recipe.freeze_batchnorm:
            for layer in network._flatten_layers():
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False
        engine = _Engine(network, recipe, rates, metrics)
        xla = machine.compile or keras.config.backend() == "jax"
        engine.compile(_optimizer(recipe, rates), loss=LOSSES[recipe.loss](), jit_compile=xla)
        # Its variables made here, the first step is traced once, not twice.
        engine.optimizer.build(engine.trainable_variables)
        if folder is not None and progress.sections:
            _load_state(engine, folder / STATE)
        rank, world = place(machine)
        order.check_kept(world)
        kept = Kept(source, order.kept, recipe.batch_size, rank, world)
        # One call of fit for each section: Keras goes on from the end of an epoch alone, not from within one.
        for steps in order.sections[progress.sections :]:
            if recipe.patience and progress.waited >= recipe.patience:
                break
            section = Section(source, order, steps, augment, rank, world)
            batches = _Batches(section, recipe, dtype, machine.workers, network)
            engine.fit(batches, shuffle=False, callbacks=[_Watch(order, steps, report, found)], verbose=0)
            _check(engine, order, steps, kept, found, log, folder if rank == 0 else None, progress)
        if recipe.ema:
            with _averaged(engine):
                averaged = network.get_weights()
            network.set_weights(averaged)
    return found


def _check(
    engine: _Engine,
    order: Order,
    steps: range,
    kept: Kept,
    found: list[float],
    log: RunLog | None,
    folder: Path | None,
    progress: Progress,
) -> None:
    """The end of a section: test on the images kept, and save."""
    place, recipe = order.batch(steps[-1]), engine.recipe
    with _averaged(engine):
        values = {}
        if len(order.kept):
            batches = _Batches(kept, recipe, engine.network.variable_dtype, 1, engine.network)
            result = engine.evaluate(batches, verbose=0, return_dict=True)
            # Several devices: inside the step each knows its own counts alone.
            result = {"loss": result["loss"], **engine.scores.result()}
            values = {f"val_{name}": float(value) for name, value in result.items()}
        rate = float(engine.rates[steps[-1] // recipe.accumulate])
        best = checked(place, rate, values, found[-len(steps) :], log, progress)
        if folder is not None:
            with aside():
                save_weights(engine.network, folder / CHECKPOINT)
                if best and len(order.kept):
                    save_weights(engine.network, folder / BEST)
    if folder is not None:
        with aside():
            _save_state(engine, folder / STATE, progress)


def _save_state(engine: _Engine, path: Path, progress: Progress) -> None:
    """Write all that a run needs to go on into one file; it is complete or it does not appear."""
    with replacing(path) as partial:
        engine.save_weights(partial)
        with h5py.File(partial, "a") as file:
            file.attrs["progress"] = json.dumps(progress.to_dict())
            seal(file)


def _load_state(engine: _Engine, path: Path) -> None:
    """Put a compiled engine, its optimizer built, in the state that was saved."""
    engine.load_weights(path)
