"""What `parity check` is asked for: pairs, inputs and settings, all read before a framework is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parity import catalog, samples
from parity.adapters.spec import read_spec
from parity.cli.inputs import inputs_of, layout_of
from parity.core.errors import UsageError
from parity.core.files.json_file import read_json
from parity.report.text import short
from parity.training.requests import hyperparameters_of, loss_checked

DIRECTIONS = ("torch-to-keras", "keras-to-torch")
"""Ways to copy weights before a comparison, as `check_pair` takes them."""


@dataclass(frozen=True)
class Pair:
    """One pair to check.

    Attributes:
        name: for the report.
        keras: "module:attribute" of the Keras model.
        torch: "module:attribute" of the torch module.
        pictures: inputs in the Keras layout by name, or what is wanted of them; None draws random ones.
        mapping: {Keras path: torch path} where names differ.
    """

    name: str
    keras: str
    torch: str
    pictures: Mapping[str, Any]
    mapping: Mapping[str, Any]

    @property
    def short(self) -> str:
        """Its name as the table shows it."""
        return short(self.name)


def pairs(options: argparse.Namespace) -> list[Pair]:
    """The pairs that the command line names.

    Raises:
        UsageError: the options name no pair, or contradict one another.
    """
    if bool(options.keras) != bool(options.torch):
        raise UsageError("--keras and --torch go together; got one of them. Name both models.")
    mapping = read_mapping(options.mapping)
    if options.keras:
        if options.names or options.all:
            raise UsageError(
                "--keras and --torch name one pair; got catalogue names too. Use one or the other."
            )
        for spec in (options.keras, options.torch):
            read_spec(spec)
        name = f"{options.keras} ~ {options.torch}"
        return [Pair(name, options.keras, options.torch, _given(options), mapping)]
    names = options.names
    if options.all:
        names = [entry.name + entry.quick for entry in catalog.entries().values()]
    if not names:
        raise UsageError(
            "check needs something to check; got no name. Give names, --all, or --keras and --torch."
        )
    entries = [catalog.find(name) for name in names]
    return [
        Pair(entry.name, entry.keras, entry.torch, _pictures(entry, options), mapping or entry.mapping)
        for entry in entries
    ]


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What `check_pair` takes for every pair alike.

    Raises:
        UsageError: an optimizer or loss that is not known, or an option that would be ignored.
    """
    asked: dict[str, Any] = {
        "directions": DIRECTIONS if options.transfer == "both" else (options.transfer,),
        "dtype": options.dtype,
        "device": options.device,
        "seed": options.seed,
        "quick": options.quick,
        "layout": layout_of(options.layout),
        "ignore": tuple(options.ignore),
        "reference": options.reference,
    }
    optimizer: dict[str, Any] = {"name": options.optimizer or "sgd"}
    if options.lr is not None:
        optimizer["lr"] = options.lr
    hyperparameters_of(optimizer, sgd_rate=1.0)
    loss_checked(options.loss)
    _used(options)
    if options.initialisers:
        asked["initialisers"] = "strict" if options.strict else options.initialisers
    if not options.gradients and not options.train_steps:
        return asked
    return {
        **asked,
        "gradients": options.gradients,
        "train_steps": options.train_steps,
        "match_rules": options.match_rules,
        "optimizer": optimizer,
        "loss": options.loss,
    }


def _used(options: argparse.Namespace) -> None:
    """Refuse what would be ignored: an option of the training where nothing is trained."""
    for name, needed, given in (
        ("--optimizer", "--train-steps", options.optimizer and not options.train_steps),
        ("--lr", "--train-steps", options.lr is not None and not options.train_steps),
        (
            "--loss",
            "--gradients or --train-steps",
            options.loss and not (options.gradients or options.train_steps),
        ),
    ):
        if given:
            raise UsageError(f"{name} must come with {needed}; got it alone. Add {needed}, or leave it out.")


def read_mapping(path: Path | None) -> dict[str, Any]:
    """{Keras path: torch path} of a JSON file; nothing without one.

    Args:
        path: of at most 256 MiB.

    Raises:
        UsageError: the file does not hold a JSON object, or too large a one.
        OSError: it cannot be read.
    """
    if path is None:
        return {}
    mapping = read_json(path, "--mapping")
    if not isinstance(mapping, dict):
        raise UsageError(
            f"--mapping must be a JSON object {{Keras path: torch path}}; got {type(mapping).__name__}."
        )
    return mapping


def _pictures(entry: catalog.Entry, options: argparse.Namespace) -> dict[str, Any]:
    """Real pictures of the entry's size, unless --input says others."""
    if options.input:
        return _given(options)
    count, height, width, channels = entry.input
    size = (64, 64) if channels == 3 else (height, width)
    pictures = {"shapes": samples.shapes((count, *size, channels), options.data, options.seed)}
    photograph = samples.photograph(entry.input, options.seed)
    return pictures if photograph is None else {**pictures, "photograph": photograph}


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The inputs asked for, under the name that the report gives them; None leaves them to the model's own."""
    wanted = inputs_of(options.input or ())
    name = "given input" if any(one.array is not None for one in wanted) else "random input"
    return {name: wanted or None}
