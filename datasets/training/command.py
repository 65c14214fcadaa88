"""What a training command asks for: data, network and recipe, the same in both packages."""

from __future__ import annotations

import argparse
import hashlib
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datasets.bounds.regular import open_regular
from datasets.errors import DataError, SettingsError
from datasets.purdue_shapes import constant_mse
from datasets.training.augment import PRESETS
from datasets.training.feeding import Arrays, Bytes, Source
from datasets.training.flags import machine_settings
from datasets.training.networks import NETWORKS, named
from datasets.training.order import Indices
from datasets.training.recipe import ACTIVATIONS, MODEL, Recipe, model_of
from datasets.training.runs import load_part
from datasets.voc.colours import NAMES
from datasets.voc.files import LISTS
from datasets.voc.folder import CROP, VOIDS, Voc


@dataclass(frozen=True)
class Training:
    """What a command line asks for.

    Attributes:
        source: the images and their masks.
        classes: the masks' names, without the background.
        network: "name" and "arguments".
        recipe: how it is trained.
        about: what the configuration records of the data.
    """

    source: Source
    classes: tuple[str, ...]
    network: dict[str, Any]
    recipe: Recipe
    about: dict[str, Any]

    @classmethod
    def of(cls, options: argparse.Namespace) -> Training:
        """Read the command line and the data.

        Raises:
            SettingsError: settings that do not go together.
            DataError: data that cannot be read.
        """
        recipe = Recipe.from_options(options)
        voc = (options.data / LISTS).is_dir() or (options.data / NAMES).is_file()
        source, classes, about = _voc(options, recipe) if voc else _shapes(options, recipe)
        name, arguments = named(options.model)
        known = NETWORKS[name]
        if name == "mUnet":
            given = {key: getattr(options, key) for key in MODEL if getattr(options, key) is not None}
            arguments = {**model_of(options.preset), **given, **arguments}
        elif any(getattr(options, key) is not None for key in MODEL):
            raise SettingsError(
                f"{', '.join(MODEL)} are mUnet's; got model={name}. Give its arguments as in {name}(width=32)."
            )
        if known.output is None and recipe.head_bias is not None:
            if options.head_bias is not None:
                raise SettingsError(
                    f"head_bias needs one layer that ends the network; {name} has none. Leave --head-bias out."
                )
            recipe = replace(recipe, head_bias=None)
        channels = len(classes) + (ACTIVATIONS[recipe.loss] == "softmax")  # the background is a class there
        network = {"name": name, "arguments": {**known.fixed, **arguments, "num_classes": channels}}
        return cls(source, classes, network, recipe, about)

    @property
    def first_bias(self) -> tuple[str, float] | None:
        """The layer whose bias the recipe gives a first value, and that value."""
        layer, value = NETWORKS[self.network["name"]].output, self.recipe.head_bias
        return None if layer is None or value is None else (layer, value)

    def config(
        self, package: str, options: argparse.Namespace, device: str, **versions: str
    ) -> dict[str, Any]:
        """Everything that fixes the run, and under "device" and "versions" what it happens to run on.

        Raises:
            DataError: a file that the run needs is not there.
        """
        read = [options.init, options.backbone]
        if self.recipe.augment not in PRESETS:
            read.append(Path(self.recipe.augment))
        return {
            "package": package,
            "preset": options.preset,
            "model": self.network,
            "classes": list(self.classes),
            "recipe": asdict(self.recipe),
            "dtype": options.dtype,
            "data": {"path": str(options.data), "images": len(self.source), **self.about},
            "init": options.init and str(options.init),
            "backbone": options.backbone and str(options.backbone),
            "files": {str(path): digest(path) for path in read if path},
            "device": device,
            "machine": machine_settings(options),
            "versions": {"python": platform.python_version(), "numpy": np.__version__, **versions},
        }


def digest(path: Path) -> str:
    """A file's SHA-256 in hexadecimal digits: another content gives another digest.

    Raises:
        DataError: no such file.
    """
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"a run's files must be there; got {error}. Check the path.") from error


Read = tuple[Source, tuple[str, ...], dict[str, Any]]


def _shapes(options: argparse.Namespace, recipe: Recipe) -> Read:
    """A data set of images with independent masks."""
    if options.crop or options.void:
        raise SettingsError(f"--crop and --void are for VOC's folder; got {options.data}. Leave them out.")
    data = load_part(options.data, "train")
    return Arrays(data.images, data.masks), data.classes, {"mse_of_best_constant": constant_mse(data.masks)}


def _voc(options: argparse.Namespace, recipe: Recipe) -> Read:
    """VOC's folder: training uses the list train, the checks the list val."""
    if ACTIVATIONS[recipe.loss] != "softmax":
        raise SettingsError(
            f"VOC's classes exclude each other; got loss={recipe.loss}. Give --loss cross-entropy or cross-entropy-dice."
        )
    if options.validation is not None:
        raise SettingsError(
            f"VOC has images of its own for the checks, the list val; got validation={options.validation}. "
            "Leave --validation out."
        )
    crop, void = list(options.crop or CROP), options.void or VOIDS[0]
    source = VocTraining(options.data, (crop[0], crop[1]), void, recipe.seed)
    about = {"crop": crop, "void": void, "kept": len(source.held), "left_out": source.left_out}
    return source, source.classes, about


class VocTraining:
    """VOC's two lists as one source: first the images of train, then those of val, which only the checks use.

    Shapes: `take` gives (n, *crop, 3) and (n, 1, *crop).
    Args:
        root: the folder that holds JPEGImages, SegmentationClass, ImageSets, and class_names.txt where the classes
            are not VOC's.
        crop, void, seed: see `Voc`. Training sees another piece of each image in every epoch; the checks see its middle.
    Raises:
        DataError, SettingsError: what `Voc` refuses.
    """

    labels = True

    def __init__(self, root: Path, crop: tuple[int, int], void: str, seed: int) -> None:
        self.train, self.val = (Voc(root, part, crop, void, seed) for part in ("train", "val"))
        self.held: Indices = np.arange(len(self.train), len(self))
        self.left_out = len(self.train.left_out) + len(self.val.left_out)
        self.classes = self.train.classes[1:]  # the first is the background

    def __len__(self) -> int:
        return len(self.train) + len(self.val)

    def take(self, indices: Indices, epoch: int | None) -> tuple[Bytes, Bytes]:
        """Pieces of images, and their class indices as one mask."""
        count = len(self.train)
        places = [(self.train, index) if index < count else (self.val, index - count) for index in indices]
        pieces = [part.crops([index], epoch) for part, index in places]
        images, labels = (np.concatenate(each) for each in zip(*pieces, strict=True))
        return images, labels[:, None]
