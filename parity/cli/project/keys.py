"""The keys of a pair in pyproject.toml, as the options of `parity check` that they are."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from parity.cli.options.given import check_options
from parity.cli.project.file import Project
from parity.core.errors import UsageError

SIDES = ("keras", "torch")
SAID = {
    "help",
    "quiet",
    "verbose",
    "json",
    "html",
    "junit",
    "sarif",
    "markdown",
    "annotations",
    "all",
    "names",
    "jobs",
    "input",
}
"""What a command says and writes, and what it checks: no property of a pair; and what has another name there."""
PATHS = ("data", "keras-weights", "torch-weights")
OWN = ("args", "keras-args", "torch-args", "inputs", "range", "weights")
"""Keys that have another form than their options."""


def known_keys() -> list[str]:
    """Every key that a pair may have."""
    options = [name for name in check_options() if name not in SAID]
    return [*options, *OWN]


def checked_keys(keys: Mapping[str, Any], where: str) -> None:
    """Refuse a key that no pair has, with the nearest one that there is.

    Raises:
        UsageError: there is such a key.
    """
    known = known_keys()
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.5)
            said = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
            raise UsageError(f"a key of {where} must be one that parity knows; got {key!r}. {said}")


def as_arguments(name: str, project: Project) -> list[str]:
    """A pair's keys as a command line of `parity check`.

    Args:
        name: of the pair.
        project: that has it.

    Raises:
        UsageError: a key that is not known, or a value of another form.
    """
    keys = project.pairs[name]
    where = f"[tool.parity.pairs.{name}] in {project.file}"
    checked_keys(keys, where)
    for side in SIDES:
        if not isinstance(keys.get(side), str):
            raise UsageError(f'{where} must name both models; got no {side} = "module:attribute". Add it.')
    return list(_arguments(keys, project.folder, where))


def _arguments(keys: Mapping[str, Any], folder: Path, where: str) -> Iterator[str]:
    for side in SIDES:
        arguments = keys.get(f"{side}-args", keys.get("args"))
        yield f"--{side}={_spec(keys[side], arguments, folder, where)}"
    for text in _texts(keys.get("inputs", []), "inputs", where):
        yield f"--input={_input(text, folder)}"
    weights = keys.get("weights")
    if isinstance(weights, Mapping):
        for side, file in weights.items():
            if side not in SIDES or not isinstance(file, str):
                raise UsageError(
                    f"weights of {where} must be a way to copy them, or files for keras and torch; got {side!r}."
                )
            yield f"--{side}-weights={_path(file, folder)}"
    elif weights is not None:
        yield f"--transfer={weights}"
    for key, value in keys.items():
        if key in (*SIDES, *OWN, "mapping"):
            continue
        if isinstance(value, bool):
            if value:
                yield f"--{key}"
        else:
            for text in _texts(value, key, where):
                yield f"--{key}={_path(text, folder) if key in PATHS else text}"


def _texts(value: Any, key: str, where: str) -> list[str]:
    """One text, several, or a table of them by name."""
    if isinstance(value, Mapping):
        return [f"{name}={text}" for name, text in value.items()]
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) for one in values):
        raise UsageError(f"{key} of {where} must be a text, a number, or a list of them; got {value!r}.")
    return [str(one) for one in values]


def _spec(spec: str, arguments: Any, folder: Path, where: str) -> str:
    """The model's name with its arguments; a path begins at the project's folder."""
    location, colon, attribute = spec.partition(":")
    if location.endswith(".py") or (folder / spec).exists():
        location, spec = _path(location, folder), f"{_path(location, folder)}{colon}{attribute}"
    if arguments is None:
        return spec
    if "(" in attribute:
        raise UsageError(
            f"arguments of {where} must be given once; got {spec!r} and args. Leave one of them out."
        )
    if isinstance(arguments, Mapping):
        arguments = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    elif isinstance(arguments, list):
        arguments = ", ".join(map(repr, arguments))
    return f"{spec}({arguments})"


def _input(text: str, folder: Path) -> str:
    """An input; a file begins at the project's folder."""
    name, equals, rest = text.rpartition("=")
    return f"{name}{equals}{_path(rest, folder)}" if (folder / rest).is_file() else text


def _path(text: str, folder: Path) -> str:
    return text if Path(text).is_absolute() else str(folder / text)


def range_of(keys: Mapping[str, Any], where: str) -> tuple[float, float] | None:
    """The range of random inputs: "0..255", or [0, 255]; None where there is none.

    Raises:
        UsageError: two numbers of which the first is smaller are not there.
    """
    value = keys.get("range")
    if value is None:
        return None
    parts = value.split("..") if isinstance(value, str) else value
    try:
        least, below = (float(part) for part in parts)
    except (TypeError, ValueError):
        least, below = 0.0, 0.0
    if not least < below:
        raise UsageError(f'range of {where} must be "0..255" or [0, 255], the first smaller; got {value!r}.')
    return least, below


def mapping_of(
    keys: Mapping[str, Any], folder: Path, read: Callable[[Path], dict[str, Any]]
) -> dict[str, Any]:
    """{Keras path: torch path} of a table, or of a JSON file.

    Args:
        keys: of the pair.
        folder: of the project.
        read: reads the file.
    """
    value = keys.get("mapping", {})
    return dict(value) if isinstance(value, Mapping) else read(Path(_path(str(value), folder)))


def parsed(
    arguments: list[str], parse: Callable[[list[str]], argparse.Namespace], where: str
) -> argparse.Namespace:
    """The options of a pair; what the parser refuses is said of the pair.

    Raises:
        UsageError: a value that its option does not take.
    """
    try:
        return parse(["check", *arguments])
    except UsageError as error:
        raise UsageError(f"{where} must have values that `parity check` takes; got: {error}") from error
