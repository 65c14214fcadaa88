"""How a network is trained: every setting, the two presets, and what follows from the settings."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.errors import SettingsError

ACTIVATIONS = {
    "mse": "values",
    "bce-dice": "logits",
    "cross-entropy": "softmax",
    "cross-entropy-dice": "softmax",
}
"""What the outputs are that a loss is taken of; those of classes that exclude each other have a background."""
LOSSES = tuple(ACTIVATIONS)
"""What a network's outputs are, by the loss that it is trained with; the names are the metrics'."""
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
RATES = ("constant", "cosine", "one-cycle")
INPUTS = ("raw", "unit", "contrast", "imagenet")


def _setting(default: Any, group: str, help: str, choices: tuple[str, ...] | None = None) -> Any:
    return field(default=default, metadata={"group": group, "help": help, "choices": choices})


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are the lecture's recipe.

    A step is one batch. With `accumulate` above 1, that many batches make one update of the weights, also across
    the end of an epoch.

    Raises:
        SettingsError: a value outside its range, or two that do not go together.
    Source: lecture, "Training mUnet with MSE Loss" (Kak & Bouman, Purdue, 2025).
    """

    epochs: int = _setting(6, "length", "passes over the training images")
    steps: int | None = _setting(None, "length", "stop after so many batches; else every epoch is run")
    patience: int = _setting(0, "length", "stop after so many checks without a better one; 0: never")
    check_every: int | None = _setting(
        None, "length", "batches from one check (validation and checkpoint) to the next; else an epoch"
    )
    validation: float = _setting(0.0, "data", "share of the training images that is kept for the checks")
    batch_size: int = _setting(4, "data", "images a batch")
    inputs: str = _setting(
        "raw",
        "data",
        "what the network sees: 0..255, 0..1, the difference from each image's medians, or by ImageNet's mean and "
        "deviation",
        INPUTS,
    )
    augment: str = _setting("none", "data", "none, flips, standard, or a pipeline's file (albumentations)")
    loss: str = _setting(
        "mse",
        "objective",
        "mse of raw mask values; bce-dice of independent masks; cross-entropy of label maps, alone or with Dice",
        LOSSES,
    )
    head_bias: float | None = _setting(
        None, "objective", "first value of the output's bias: the logit of a rare class; else as drawn"
    )
    auxiliary: float = _setting(
        0.5, "objective", "weight of the loss of each further output: auxiliary head, deep supervision"
    )
    freeze_batchnorm: bool = _setting(
        False, "objective", "normalise by the running statistics, and leave them and the scales as they are"
    )
    optimizer: str = _setting("sgd", "optimizer", "the rule, PyTorch's in both packages", OPTIMIZERS)
    learning_rate: float = _setting(1e-4, "optimizer", "the greatest of the run")
    lr_schedule: str = _setting("constant", "optimizer", "how the learning rate changes", RATES)
    warmup: float = _setting(0.0, "optimizer", "share of the run in which the learning rate rises")
    momentum: float = _setting(0.9, "optimizer", "of sgd and rmsprop")
    weight_decay: float = _setting(0.0, "optimizer", "decoupled for adamw, else added to the gradient")
    clip: float = _setting(0.0, "optimizer", "greatest norm of all gradients together; 0: no limit")
    accumulate: int = _setting(1, "optimizer", "batches that make one update")
    ema: float = _setting(
        0.0, "optimizer", "share that the moving average of the weights keeps a step; 0: none"
    )
    seed: int = _setting(
        0, "reproduction", "fixes the initial weights, the order of the images and their changes"
    )

    def __post_init__(self) -> None:
        least = {
            "epochs": 1,
            "batch_size": 1,
            "seed": 0,
            "steps": 1,
            "accumulate": 1,
            "patience": 0,
            "check_every": 1,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise SettingsError(
                    f"{name} must be at least {bound}; got {name}={value}. Give a larger one."
                )
        if not 0 < self.learning_rate < np.inf:
            raise SettingsError(
                f"learning_rate must be above 0; got learning_rate={self.learning_rate}. Try 1e-4."
            )
        for name in ("momentum", "ema", "validation", "warmup"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise SettingsError(f"{name} must be in [0, 1); got {name}={value}. Try another value.")
        for name in ("weight_decay", "clip", "auxiliary"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                raise SettingsError(f"{name} must be 0 or more; got {name}={value}. Give 0 to leave it out.")
        for item in fields(self):
            choices = item.metadata["choices"]
            if choices and getattr(self, item.name) not in choices:
                raise SettingsError(
                    f"{item.name} must be one of {', '.join(choices)}; got {item.name}={getattr(self, item.name)}."
                )
        if self.check_every is not None and self.check_every % self.accumulate:
            raise SettingsError(
                "check_every must be a multiple of accumulate, so that no update is cut in two; got "
                f"check_every={self.check_every}, accumulate={self.accumulate}."
            )
        if self.patience and not self.validation:
            raise SettingsError(
                f"patience must have images to check on; got patience={self.patience}, validation=0. "
                "Give --validation 0.05."
            )

    @classmethod
    def from_options(cls, options: Namespace) -> Recipe:
        """The recipe of a command line: the preset's, changed by every flag that was given."""
        preset = recipe_of(options.preset)
        given = {item.name: getattr(options, item.name) for item in fields(cls)}
        chosen: dict[str, Any] = {
            name: preset[name] if value is None else value for name, value in given.items()
        }
        return cls(**chosen)

    def steps_per_epoch(self, count: int) -> int:
        """The number of batches that `count` images make."""
        return -(-count // self.batch_size)

    def total_steps(self, count: int) -> int:
        """The number of batches of the whole run on `count` images: a whole number of updates."""
        every = self.epochs * self.steps_per_epoch(count)
        wanted = every if self.steps is None else min(every, self.steps)
        return -(-wanted // self.accumulate) * self.accumulate

    def learning_rates(self, count: int) -> NDArray[np.float64]:
        """The learning rate of every update of the run on `count` images.

        It rises in a straight line over the share `warmup` of the updates. Then it stays ("constant") or falls to 0
        along half a cosine ("cosine"). "one-cycle" begins at 1/25 of the greatest rate, rises along a cosine, and
        falls along one to 1/10,000 of where it began.

        Shapes: returns (updates,).
        Source: Loshchilov & Hutter, "SGDR", 2017, equation 5; Smith & Topin, "Super-convergence", 2018.
        """
        updates = self.total_steps(count) // self.accumulate
        at = np.arange(updates, dtype=np.float64)
        rise = self.warmup * updates
        rising = np.minimum((at + 1) / max(rise, 1), 1) if rise else np.ones(updates)
        fallen = np.clip((at + 1 - rise) / max(updates - rise, 1), 0, 1)
        if self.lr_schedule == "constant":
            share = rising
        elif self.lr_schedule == "cosine":
            share = np.where(at + 1 <= rise, rising, (1 + np.cos(np.pi * fallen)) / 2)
        else:
            first, last = 1 / 25, 1 / 25 / 1e4
            up = first + (1 - first) * (1 - np.cos(np.pi * rising)) / 2
            down = last + (1 - last) * (1 + np.cos(np.pi * fallen)) / 2
            share = np.where(at + 1 <= rise, up, down)
        return self.learning_rate * share


def scored_as(
    loss: str, classes: tuple[str, ...], mask_values: tuple[int, ...]
) -> tuple[tuple[str, ...], str, tuple[int, ...] | None]:
    """The metrics' classes, activation and mask values for a network that is trained with `loss`."""
    names = ("background", *classes) if ACTIVATIONS[loss] == "softmax" else classes
    return names, ACTIVATIONS[loss], mask_values if loss == "mse" else None


@dataclass(frozen=True)
class Machine:
    """What a run runs on. It changes nothing that is computed, except rounding.

    Args:
        dtype: float32, float64, or bfloat16, which computes in it with float32 weights.
        device: cpu or gpu; None takes what there is.
        devices: how many of this machine share every batch.
        workers: processes that read and change images ahead of the training; with 0 the training waits for its images.
        compile: torch.compile, or XLA for Keras.
        deterministic: refuse or replace operations whose result may change from run to run.
        coordinator: HOST:PORT of the first process, where there are several.
        processes: how many share every batch, on one machine or on many.
        process: which of them this is, from 0.
    Raises:
        SettingsError: numbers that do not go together.
    """

    dtype: str = "float32"
    device: str | None = "cpu"
    devices: int = 1
    workers: int = 0
    compile: bool = False
    deterministic: bool = False
    coordinator: str | None = None
    processes: int = 1
    process: int = 0

    @property
    def weights_dtype(self) -> str:
        """The dtype of the weights: bfloat16 computes with float32 ones."""
        return "float64" if self.dtype == "float64" else "float32"

    def __post_init__(self) -> None:
        if self.devices < 1 or self.processes < 1 or not 0 <= self.process < self.processes:
            raise SettingsError(
                "devices and processes must be at least 1, and process one of 0..processes-1; got "
                f"devices={self.devices}, processes={self.processes}, process={self.process}."
            )
        if self.processes > 1 and not self.coordinator:
            raise SettingsError(
                f"processes={self.processes} must have a coordinator; got none. Give --coordinator HOST:PORT, the "
                "same in every process, with a free port of the machine of process 0."
            )


MODEL = {"skip_connections": True, "depth": 16, "head": "dlstudio", "schedule": "released"}
"""The lecture's mUnet."""

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "lecture": {"model": {}, "recipe": {}},
    "best": {
        "model": {"head": "dense", "schedule": "intended"},
        "recipe": {
            "inputs": "unit",
            "loss": "bce-dice",
            "head_bias": -3.0,
            "optimizer": "adamw",
            "learning_rate": 1e-3,
            "lr_schedule": "one-cycle",
            "warmup": 0.2,
            "weight_decay": 1e-2,
            "clip": 1.0,
            "augment": "flips",
            "validation": 0.05,
        },
    },
}
"""What each preset changes in the lecture's settings."""


def recipe_of(preset: str) -> dict[str, Any]:
    """The settings of a preset, by name."""
    lecture = {item.name: item.default for item in fields(Recipe)}
    return {**lecture, **PRESETS[preset]["recipe"]}


def model_of(preset: str) -> dict[str, Any]:
    """mUnet's arguments of a preset."""
    return {**MODEL, **PRESETS[preset]["model"]}
