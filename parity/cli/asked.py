"""What `parity check` is asked for: pairs, inputs and settings, all read before a framework is loaded."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from parity import catalog, samples
from parity.adapters.inputs.wanted import Wanted
from parity.adapters.spec import split_call
from parity.cli.inputs import inputs_of, layout_of
from parity.cli.options.given import given as said_itself
from parity.cli.options.given import pair_options
from parity.cli.project.file import Project, project_of
from parity.cli.project.keys import as_arguments, checked_keys, mapping_of, parsed, range_of
from parity.core.errors import UsageError
from parity.core.files.json_file import read_json
from parity.core.types import Side
from parity.report.text import short
from parity.training.requests import hyperparameters_of, loss_checked, tolerance_checked
from parity.weights.saved.kinds import read_side, saved_kind

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
        settings: its own ones, in the place of those of the command line; None leaves these.
        strict: whether it must be proven whole; None leaves that to the command line.
    """

    name: str
    keras: str
    torch: str
    pictures: Mapping[str, Any]
    mapping: Mapping[str, Any]
    settings: Mapping[str, Any] | None = None
    strict: bool | None = None

    @property
    def short(self) -> str:
        """Its name as the table shows it."""
        return short(self.name)


def pairs(options: argparse.Namespace) -> list[Pair]:
    """The pairs that the command line names: its own models, pairs of the project, or of the catalogue.

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
        _read_sides(options)
        name = f"{options.keras} ~ {options.torch}"
        return [Pair(name, options.keras, options.torch, _given(options), mapping)]
    if options.all:
        names = [entry.name + entry.quick for entry in catalog.entries().values()]
        return [_of_catalogue(catalog.find(name), options, mapping) for name in names]
    project = project_of()
    checked_keys(project.common, f"[tool.parity] of {project.file}")
    names = options.names or list(project.pairs)
    if not names:
        raise UsageError(
            f"{getattr(options, 'command', 'check')} needs something to check; got no name. Give names, --all, or "
            "--keras and --torch; or name pairs in [tool.parity.pairs.NAME] of pyproject.toml."
        )
    return [
        of_project(name, project, options)
        if name in project.pairs
        else _named(name, project, options, mapping)
        for name in names
    ]


def _named(name: str, project: Project, options: argparse.Namespace, mapping: Mapping[str, Any]) -> Pair:
    try:
        return _of_catalogue(catalog.find(name), options, mapping)
    except UsageError:
        known = catalog.entries()
        if not project.pairs or split_call(name)[0] in known:
            raise
        raise catalog.unknown(name, [*project.pairs, *known]) from None


def _of_catalogue(entry: catalog.Entry, options: argparse.Namespace, mapping: Mapping[str, Any]) -> Pair:
    return Pair(entry.name, entry.keras, entry.torch, _pictures(entry, options), mapping or entry.mapping)


def of_project(name: str, project: Project, options: argparse.Namespace | None = None) -> Pair:
    """A pair of pyproject.toml; what the command line says itself goes before what the file says.

    Args:
        name: of the pair.
        project: that has it.
        options: of the command line; None where there is none.

    Raises:
        UsageError: a key that is not known, or a value of another form.
    """
    keys, where = project.pairs[name], f"[tool.parity.pairs.{name}] in {project.file}"
    own = parsed(as_arguments(name, project), pair_options, where)
    said = said_itself(getattr(options, "arguments", ("check",))) if options is not None else {}
    for key, value in said.items():
        setattr(own, key, value)
    if str(project.folder) not in sys.path:
        sys.path.insert(0, str(project.folder))
    _read_sides(own)
    mapping = (
        read_mapping(own.mapping) if "mapping" in said else mapping_of(keys, project.folder, read_mapping)
    )
    pictures = _given(own, None if "input" in said else range_of(keys, where))
    return Pair(name, own.keras, own.torch, pictures, mapping, settings(own), own.strict)


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What `check_pair` takes for every pair alike.

    Raises:
        UsageError: an optimizer or loss that is not known, or an option that would be ignored.
    """
    asked: dict[str, Any] = {
        "directions": _directions(options),
        "dtype": options.dtype,
        "device": options.device,
        "seed": options.seed,
        "quick": options.quick,
        "layout": layout_of(options.layout),
        "ignore": tuple(options.ignore),
        "reference": options.reference,
    }
    kept = _kept(options)
    if kept:
        asked["kept"] = tuple(kept)
        asked["weights"] = {side: file for side, file in kept.items() if file is not None}
    if getattr(options, "tolerance", None) is not None:
        tolerance_checked(options.tolerance, options.dtype)
        asked["tolerance"] = options.tolerance
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


def _read_sides(options: argparse.Namespace) -> None:
    """See that both sides name something."""
    read_side(options.keras, "keras", options.keras_weights)
    read_side(options.torch, "torch", options.torch_weights)


def _kept(options: argparse.Namespace) -> dict[Side, Path | None]:
    """The sides whose weights come from a file, and that file where it holds weights alone."""
    found: dict[Side, Path | None] = {}
    sides: tuple[tuple[Side, str | None], ...] = (("keras", options.keras), ("torch", options.torch))
    for side, spec in sides:
        weights = getattr(options, f"{side}_weights", None)
        if weights is not None or (spec and saved_kind(spec, side) is not None):
            found[side] = weights
    return found


def _directions(options: argparse.Namespace) -> tuple[str, ...]:
    """Ways to copy weights: as asked; else none where both sides have their own, or from the side that has."""
    if options.transfer not in (None, "both"):
        return (options.transfer,)
    kept = _kept(options)
    if options.transfer == "both" or not kept:
        return DIRECTIONS
    return (
        ("none",) if len(kept) > 1 else tuple(one for one in DIRECTIONS if one.startswith(next(iter(kept))))
    )


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


def _given(options: argparse.Namespace, span: tuple[float, float] | None = None) -> dict[str, Any]:
    """The inputs asked for, under the name that the report gives them; None leaves them to the model's own.

    Args:
        options: of the pair.
        span: the range of random floating inputs that have none of their own.
    """
    wanted = inputs_of(options.input or ())
    if span is not None:
        wanted = [_within(one, span) for one in wanted]
        if not wanted:
            raise UsageError(
                "a range needs inputs that are drawn; got no inputs. Give their sizes, as in 2x64x96x3."
            )
    name = "given input" if any(one.array is not None for one in wanted) else "random input"
    return {name: wanted or None}


def _within(wanted: Wanted, span: tuple[float, float]) -> Wanted:
    """An input that is drawn from a range, where it says no other."""
    if wanted.array is not None or wanted.least is not None or wanted.dtype == "bool":
        return wanted
    return replace(wanted, dtype=wanted.dtype or "float32", least=span[0], below=span[1])
