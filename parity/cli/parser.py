"""The arguments of every command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parity.cli import check, doctor, listing
from parity.cli.writing import convert, port, repro


def parser() -> argparse.ArgumentParser:
    """The parser; among the parsed options `run` carries the command out, and `models_run` says that it runs models."""
    made = argparse.ArgumentParser(
        prog="parity", description="Are a Keras model and a torch module the same?"
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    _check(
        _command(commands, "check", check.run, "copy weights, evaluate both sides, compare", models_run=True)
    )
    _repro(_command(commands, "repro", repro.run, "write a script that shows one finding"))
    _convert(_command(commands, "convert", convert.run, "carry a weight file over", models_run=True))
    _port(
        _command(
            commands, "port", port.run, "write a model in the other framework, and prove it", models_run=True
        )
    )
    for name, run, text in (
        ("models", listing.models, "list the catalogue"),
        ("causes", listing.causes, "list the known causes"),
    ):
        added = _command(commands, name, run, text, models_run=name == "models")
        added.add_argument("--json", type=Path, metavar="F", help="write the list as JSON")
    _command(commands, "doctor", doctor.run, "look at the environment")
    return made


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, models_run: bool = False
) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = commands.add_parser(name, help=text, description=run.__doc__)
    added.set_defaults(run=run, models_run=models_run)
    return added


def _check(command: argparse.ArgumentParser) -> None:
    what = command.add_argument_group("what to compare")
    what.add_argument(
        "names", nargs="*", metavar="NAME", help="pairs of the catalogue (parity models lists them)"
    )
    what.add_argument(
        "--all", action="store_true", help="every pair of the catalogue, the largest with fewer channels"
    )
    what.add_argument(
        "--keras", metavar="M:A", help="Keras model: module:attribute, file.py:attribute, ...:Name(depth=8)"
    )
    what.add_argument("--torch", metavar="M:A", help="torch module, named in the same way")
    what.add_argument(
        "--mapping", type=Path, metavar="F", help="JSON file {Keras path: torch path} for names that differ"
    )
    what.add_argument(
        "--ignore",
        metavar="PATTERN",
        action="append",
        default=[],
        help="paths of layers or tensors of either side that are neither copied nor compared ('aux.*'); once for each",
    )
    what.add_argument(
        "--transfer",
        choices=("both", "torch-to-keras", "keras-to-torch", "none"),
        default="both",
        help="which way to copy random weights first; none compares the weights that both sides have",
    )
    what.add_argument(
        "--reference",
        choices=("keras", "torch"),
        help="the side that is right: fixes are written for the other one alone; default: for either",
    )
    how = command.add_argument_group("how to compare")
    how.add_argument(
        "--input",
        metavar="[NAME=]SPEC",
        action="append",
        help="an input in the Keras layout, once for each: sizes of a random one (2x65x96x3), with dtype and range "
        "(ids=2x16:int32:0..1000, mask=2x16:bool), or a .npy, .npz or image file; KERAS,TORCH= where names differ",
    )
    how.add_argument(
        "--layout",
        metavar="[NAME=]LAYOUT",
        action="append",
        help="order of axes in which torch takes the inputs: same, channels-first, channels-last, frames, or axes "
        "as in 0312; default: found by trying",
    )
    how.add_argument(
        "--data", type=Path, metavar="PATH", help="data-set file or folder for the shapes images"
    )
    how.add_argument(
        "--dtype", choices=("float64", "float32", "float16", "bfloat16"), help="default: float64 and float32"
    )
    how.add_argument(
        "--device", choices=("cpu", "gpu"), default="cpu", help="where both sides run; default: %(default)s"
    )
    how.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of random weights and inputs; default: %(default)s"
    )
    how.add_argument(
        "--jobs", type=_least(1), default=1, metavar="N", help="pairs checked at a time; default: %(default)s"
    )
    how.add_argument(
        "--quick",
        action="store_true",
        help="the given input alone, without further probes of values, sizes and weights",
    )
    how.add_argument(
        "--strict", action="store_true", help="exit with 1 too where EQUAL leaves anything unproven"
    )
    training = command.add_argument_group("training")
    training.add_argument("--gradients", action="store_true", help="compare gradients too")
    training.add_argument(
        "--train-steps", type=_least(0), default=0, metavar="N", help="compare N training steps too"
    )
    training.add_argument(
        "--optimizer", metavar="NAME", help="sgd, sgd-nesterov, adam, adamw or rmsprop; default: sgd"
    )
    training.add_argument(
        "--lr", type=float, metavar="X", help="its learning rate; default: one that fits the loss"
    )
    training.add_argument(
        "--loss",
        metavar="NAME",
        help="mse, mae, bce or cross-entropy (both of logits); default: the squared error",
    )
    training.add_argument(
        "--initialisers",
        nargs="?",
        const="note",
        choices=("note", "strict"),
        help="compare the laws of both sides' first weights: as notes (the default), or strictly as findings",
    )
    training.add_argument(
        "--match-rules",
        action="store_true",
        help="where the frameworks' own rules differ, judge by one rule and note the difference",
    )
    written = command.add_argument_group("what to write")
    written.add_argument(
        "--json",
        type=Path,
        metavar="F",
        help="the results as JSON, and the tensors of the findings next to it",
    )
    written.add_argument("--html", type=Path, metavar="F", help="the results as one HTML page")


def _repro(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "report", type=Path, metavar="REPORT.json", help="what check --json or to_json wrote"
    )
    command.add_argument("--finding", type=int, required=True, metavar="K", help="its number, counted from 1")
    command.add_argument("--pair", metavar="NAME", help="of which pair, where the report holds several")
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="F.py", help="the script to write"
    )


def _port(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--torch", metavar="M:A", help="torch module to write in Keras: module:attribute, file.py:attribute"
    )
    command.add_argument(
        "--keras", metavar="M:A", help="Keras model to write in torch, named in the same way"
    )
    command.add_argument(
        "--args", metavar="ARGS", help="arguments that the source is built with: 'depth=8, classes=3'"
    )
    command.add_argument(
        "--input",
        metavar="[NAME=]SPEC",
        action="append",
        required=True,
        help="an input in the Keras layout, once for each, as `parity check` takes it (1x224x224x3)",
    )
    command.add_argument(
        "--layout", metavar="LAYOUT", help="order of axes in which torch takes it; default: channels-first"
    )
    command.add_argument("-o", "--output", type=Path, metavar="F.py", help="the source file to write")
    command.add_argument(
        "--weights", type=Path, metavar="F", help="where the weights go: .weights.h5 .keras .safetensors .pt"
    )
    command.add_argument(
        "--quick",
        action="store_true",
        help="prove the outputs on the given input alone, another size, and saving; no further probes, no training",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="list what cannot be written, and write nothing"
    )
    command.add_argument(
        "--train-steps", type=_least(1), metavar="N", help="training steps to prove; default: 3"
    )
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the proof's weights; default: %(default)s"
    )
    command.add_argument("--json", type=Path, metavar="F", help="the port and its proofs as JSON")


def _convert(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", type=Path, metavar="SRC", help=".pt .pth .safetensors .weights.h5 .keras")
    command.add_argument(
        "destination", type=Path, metavar="DST", help="one of the same; the suffix decides the format"
    )
    command.add_argument(
        "--model", metavar="NAME", help="pair of the catalogue, for example mUnet or 'mUnet(depth=8)'"
    )
    command.add_argument("--keras", metavar="M:A", help="Keras model: module:attribute")
    command.add_argument("--torch", metavar="M:A", help="torch module: module:attribute")
    command.add_argument("--mapping", type=Path, metavar="F", help="JSON file {Keras path: torch path}")


def _least(bound: int) -> Callable[[str], int]:
    """A whole number that is not below the bound."""

    def number(text: str) -> int:
        value = int(text)
        if value < bound:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {bound}; got {text}")
        return value

    number.__name__ = "whole number"  # what argparse calls it where int() refuses the text
    return number
