"""`python -m datasets.voc check ROOT`: checks a folder in VOC's layout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets.exits import exit_code
from datasets.voc.checking import check
from datasets.voc.files import PARTS, Size
from datasets.voc.folder import CROP


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 when nothing is wrong, 2 with faults."""
    parser = argparse.ArgumentParser("python -m datasets.voc", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    look = commands.add_parser("check", help="count images and classes, and say what is wrong")
    look.add_argument("root", type=Path, metavar="ROOT", help="the folder that holds JPEGImages")
    look.add_argument("--parts", nargs="+", default=PARTS, metavar="PART", help="lists (train val trainval)")
    look.add_argument("--crop", type=_size, default=CROP, metavar="HxW", help="smaller are counted (320x480)")
    return exit_code(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    """Check the folder, and print what is wrong; returns 2 where anything is."""
    found = check(options.root, options.parts, options.crop)
    print(found)
    for fault in found.faults:
        print("fault:", fault, file=sys.stderr)
    return 2 if found.faults else 0


def _size(text: str) -> Size:
    """Read 320x480."""
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise argparse.ArgumentTypeError(f"must be HxW in pixels, such as 320x480; got {text}")
    return int(height), int(width)
