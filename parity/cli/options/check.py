"""The arguments of `parity check`."""

from __future__ import annotations

import argparse
from pathlib import Path

from parity.cli.options.numbers import at_least


def add_check(command: argparse.ArgumentParser) -> None:
    """What to compare, how, in training too, and what to say and write."""
    what, how = add_pair(command)
    what.add_argument(
        "--all", action="store_true", help="every pair of the catalogue, the largest with fewer channels"
    )
    how.add_argument(
        "--jobs",
        type=at_least(1),
        default=1,
        metavar="N",
        help="pairs checked at a time; default: %(default)s",
    )
    how.add_argument(
        "--strict", action="store_true", help="exit with 1 too where EQUAL leaves anything unproven"
    )
    _say(command)


def add_pair(command: argparse.ArgumentParser) -> tuple[argparse._ArgumentGroup, argparse._ArgumentGroup]:
    """Which models are compared, and how, in training too; gives the groups of the first two."""
    what = command.add_argument_group("what to compare")
    what.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="pairs of [tool.parity] in pyproject.toml, or of the catalogue (parity models lists these)",
    )
    what.add_argument(
        "--keras",
        metavar="M:A",
        help="Keras model: module:attribute, file.py:attribute, ...:Name(depth=8); "
        "or .keras, .h5, or a folder of Hugging Face or keras-hub",
    )
    what.add_argument(
        "--torch",
        metavar="M:A",
        help="torch module, named in the same way; or .pt2, or a Hugging Face folder",
    )
    for side, forms in (("keras", ".weights.h5 .h5 .keras"), ("torch", ".pt .pth .safetensors")):
        what.add_argument(
            f"--{side}-weights",
            type=Path,
            metavar="F",
            help=f"weights that are read into the {side} side: {forms}",
        )
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
        help="which way to copy weights first, random ones unless the source has its own from a file; none compares the "
        "weights that both sides have. Default: none where both have files, from the side that has one, else both",
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
        "--tolerance",
        type=float,
        metavar="X",
        help="in float32, float16 or bfloat16, how far from its own float64 result a side may be where rounding does "
        "not explain it, relative to the output's scale; structure has none",
    )
    how.add_argument(
        "--device", choices=("cpu", "gpu"), default="cpu", help="where both sides run; default: %(default)s"
    )
    how.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of random weights and inputs; default: %(default)s"
    )
    how.add_argument(
        "--quick",
        action="store_true",
        help="the given input alone, without further probes of values, sizes and weights",
    )
    training = command.add_argument_group("training")
    training.add_argument("--gradients", action="store_true", help="compare gradients too")
    training.add_argument(
        "--train-steps", type=at_least(0), default=0, metavar="N", help="compare N training steps too"
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
    return what, how


def _say(command: argparse.ArgumentParser) -> None:
    said = command.add_argument_group("what to say and write")
    amount = said.add_mutually_exclusive_group()
    amount.add_argument("-q", "--quiet", action="store_true", help="a line for each pair, and nothing else")
    amount.add_argument(
        "-v", "--verbose", action="store_true", help="every finding, note and figure; tracebacks of errors"
    )
    said.add_argument(
        "--json",
        type=Path,
        metavar="F",
        help="the results as JSON, and the tensors of the findings next to it; - writes to standard output",
    )
    said.add_argument("--html", type=Path, metavar="F", help="the results as one HTML page")
    said.add_argument(
        "--junit", type=Path, metavar="F", help="the results as JUnit's XML, which CI servers show"
    )
    said.add_argument(
        "--sarif", type=Path, metavar="F", help="the findings as SARIF, which code hosts show at their lines"
    )
    said.add_argument(
        "--markdown",
        type=Path,
        metavar="F",
        help="the results as Markdown, for a comment on a pull request or the summary of a run",
    )
    said.add_argument(
        "--annotations",
        action=argparse.BooleanOptionalAction,
        help="the findings as GitHub's annotations; default: where GITHUB_ACTIONS is set",
    )
