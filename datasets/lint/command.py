"""`python -m datasets.lint DATA`: what is wrong with a data set, before a network is trained on it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError
from datasets.exits import exit_code
from datasets.files import replacing
from datasets.lint.files import Item, read_items
from datasets.lint.linter import Linter, Problem


def lint(
    images: Sequence[NDArray[Any]] | NDArray[Any],
    masks: Sequence[NDArray[Any]] | NDArray[Any],
    boxes: Sequence[Any] | None = None,
    *,
    classes: Sequence[str] | int | None = None,
    values: Sequence[int] | None = None,
    ignore: int | None = 255,
) -> list[Problem]:
    """Every kind of fault in a data set, errors first.

    Shapes: images N times (H, W, 3); masks N times (H, W) of class indices, or (C, H, W) with a channel a class.
    Args:
        images: raw values 0..255.
        masks: class indices, or channels that hold 0 and their class's value.
        boxes: boxes[i][c] lists [min_x, min_y, max_x, max_y], both corners included.
        classes: the classes' names or their number; without it indices have no upper limit.
        values: each class's value in its channel; without it each channel's greatest.
        ignore: the class index of pixels that do not count.
    """
    if not len(images) == len(masks) == (len(masks) if boxes is None else len(boxes)):
        got = f"{len(images)} images, {len(masks)} masks" + ("" if boxes is None else f", {len(boxes)} boxes")
        raise DataError(f"images, masks and boxes must be as many; got {got}. Pair them.")
    linter = Linter(classes, values, ignore)
    own = [None] * len(masks) if boxes is None else boxes
    for i, (image, mask, box) in enumerate(zip(images, masks, own, strict=True)):
        linter.add(Item(f"image {i}", np.asarray(image), np.asarray(mask), box))
    return linter.problems()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 when clean, 1 with problems, 2 when the data cannot be read."""
    parser = argparse.ArgumentParser("python -m datasets.lint", description=__doc__)
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="a .gz shapes file, an .npz file, or a folder"
    )
    parser.add_argument("--images", metavar="DIR", help="the images' folder inside DATA")
    parser.add_argument("--masks", metavar="DIR", help="the masks' folder inside DATA")
    parser.add_argument("--classes", metavar="N|A,B,...", help="number or names of the classes")
    parser.add_argument("--ignore", type=int, default=255, help="class index that does not count; -1: none")
    parser.add_argument("--json", type=Path, metavar="F", help="write the problems to a file too")
    parser.add_argument("--errors-only", action="store_true", help="warnings do not count for the exit code")
    return exit_code(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    """Look at the data, and print what is wrong; returns 1 where that counts."""
    classes: Any = options.classes
    if classes is not None:
        classes = int(classes) if classes.isdigit() else classes.split(",")
    ignore = None if options.ignore < 0 else options.ignore
    items, own = read_items(options.data, options.images, options.masks)
    linter = Linter(**{"classes": classes, "ignore": ignore, **own})
    for item in items:
        linter.add(item)
    problems = linter.problems()
    for problem in problems:
        print(problem)
    print(f"{linter.count} images, {len(problems)} kinds of problems")
    if options.json:
        with replacing(options.json) as partial:
            partial.write_text(json.dumps([asdict(problem) for problem in problems], indent=2) + "\n")
    return int(any(problem.severity == "error" or not options.errors_only for problem in problems))
