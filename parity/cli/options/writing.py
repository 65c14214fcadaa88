"""The arguments of the commands that write something of their own."""

from __future__ import annotations

import argparse
from pathlib import Path

from parity.cli.options.numbers import at_least


def add_repro(command: argparse.ArgumentParser) -> None:
    """Which finding, and where the script goes."""
    command.add_argument(
        "report", type=Path, metavar="REPORT.json", help="what check --json or to_json wrote"
    )
    command.add_argument("--finding", type=int, required=True, metavar="K", help="its number, counted from 1")
    command.add_argument("--pair", metavar="NAME", help="of which pair, where the report holds several")
    command.add_argument(
        "-o", "--output", type=Path, required=True, metavar="F.py", help="the script to write"
    )


def add_port(command: argparse.ArgumentParser) -> None:
    """Which model, on which input, and what to write."""
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
        help="an input in the Keras layout, once for each, as `parity check` takes it (1x224x224x3); without it, "
        "what a Keras model declares is drawn",
    )
    command.add_argument(
        "--layout", metavar="LAYOUT", help="order of axes in which torch takes it; default: channels-first"
    )
    command.add_argument("-o", "--output", type=Path, metavar="F.py", help="the source file to write")
    command.add_argument(
        "--weights", type=Path, metavar="F", help="where the weights go: .weights.h5 .keras .safetensors .pt"
    )
    command.add_argument(
        "--library",
        action="store_true",
        help="take layers from tf_impl.layers or torch_impl.layers where the file would bring helpers",
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
        "--train-steps", type=at_least(1), metavar="N", help="training steps to prove; default: 3"
    )
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the proof's weights; default: %(default)s"
    )
    command.add_argument("--json", type=Path, metavar="F", help="the port and its proofs as JSON")


def add_convert(command: argparse.ArgumentParser) -> None:
    """Which file, and of which models."""
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
