"""`python -m datasets.purdue_shapes`: makes the data set's files, and draws a picture of some images."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from datasets.claims import claimed
from datasets.errors import MissingExtra, SettingsError
from datasets.exits import exit_code
from datasets.purdue_shapes import Data, constant_mse, generate, load, save
from datasets.purdue_shapes.records import KEYS

# Test images come from this many seeds further on: no small seed's training images are another's test images.
TEST_SEED = 2**32


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 when done, 2 when it could not be."""
    options = _parser().parse_args(arguments)
    return exit_code(options.run, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m datasets.purdue_shapes", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    make = commands.add_parser("generate", help="write the training and the test file")
    make.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    make.add_argument("--train", type=_count, default=10_000, metavar="N", help="training images (10000)")
    make.add_argument("--test", type=_count, default=1_000, metavar="N", help="test images (1000)")
    make.add_argument("--seed", type=_count, default=0, metavar="S", help="seed of the images (0)")
    make.add_argument(
        "--keys", choices=list(KEYS), default="mask-value", help="keys of the box map (mask-value)"
    )
    make.set_defaults(run=_generate)
    show = commands.add_parser("figure", help="draw images with their masks and boxes")
    show.add_argument("--out", type=Path, required=True, metavar="PNG", help="picture to write")
    show.add_argument("--data", type=Path, metavar="FILE", help="data file to show (new images)")
    show.add_argument("--seed", type=_count, default=0, metavar="S", help="seed of new images (0)")
    show.add_argument("--count", type=_count, default=6, metavar="N", help="images to show (6)")
    show.set_defaults(run=_figure)
    limit = commands.add_parser(
        "ceiling", help="the best scores that can be had: hidden pixels cannot be seen"
    )
    limit.add_argument("--data", type=Path, metavar="FILE", help="data file to look at (new images)")
    limit.add_argument("--seed", type=_count, default=7, metavar="S", help="seed of new images (7)")
    limit.add_argument("--count", type=_count, default=1_000, metavar="N", help="new images (1000)")
    limit.set_defaults(run=_ceiling)
    return parser


def _count(text: str) -> int:
    """Read an integer of 0 or more."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more; got {text}")
    return value


def _generate(options: argparse.Namespace) -> None:
    """Write the files that have images in them, and say what error a network must beat."""
    if not options.train + options.test:
        raise SettingsError("--train or --test must be 1 or more; got train=0, test=0. Ask for some images.")
    with claimed(options.out):
        _write(options)


def _write(options: argparse.Namespace) -> None:
    parts = [("train", options.train, options.seed), ("test", options.test, options.seed + TEST_SEED)]
    fitted_to = None
    for name, count, seed in parts:
        if not count:
            continue
        start = time.perf_counter()
        data = generate(count, seed)
        path = options.out / f"PurdueShapes5MultiObject-{count}-{name}.gz"
        save(path, data, options.keys)
        seconds = time.perf_counter() - start
        fitted_to = data.masks if fitted_to is None else fitted_to
        score = constant_mse(data.masks, fitted_to)
        print(
            f"{path}  {count} images  best constant predictor's MSE {score:.1f}  {seconds:.1f} s", flush=True
        )


def _figure(options: argparse.Namespace) -> None:
    """Draw the first images of a file, or new ones."""
    try:
        from datasets.purdue_shapes.figure import save_figure
    except ImportError as error:
        missing = f"figure needs {error.name}, which is not installed"
        raise MissingExtra(f"{missing}. Run pip install 'segparity[report]'.") from error
    data = load(options.data) if options.data else generate(options.count, options.seed)
    count = min(options.count, len(data))
    if not count:
        raise SettingsError("--count must be 1 or more; got count=0. Ask for some images.")
    save_figure(options.out, Data(data.images[:count], data.masks[:count], data.boxes[:count]))
    print(options.out)


def _ceiling(options: argparse.Namespace) -> None:
    """Score one who labels every visible pixel right."""
    from datasets.purdue_shapes.ceiling import ceiling_of, report, visible_ceiling

    if options.data:
        found = ceiling_of(load(options.data))
    else:
        found = visible_ceiling(options.count, options.seed)
    print(report(found))


if __name__ == "__main__":
    sys.exit(main())
