"""Training and data against the lecture's own package, as ratios measured side by side in one run.

python benchmarks/training_speed.py [--only step size depth load generate] [--repeat 5] [--count 10000]

- step: a training step and a prediction of both halves, in float32 and bf16, batch 4 and 16, against DLStudio
  2.5.8 in float32; goals: 1.5 times its training speed in float32 and 2.2 times in bf16. The share of the
  speed of a large float32 matrix product, measured in the same turns, counts DLStudio's operations.
- size, depth: what a training step costs, and the ratio to DLStudio, by image size and by depth.
- load: reading a file of the data set, each in a process of its own; goals: once cached 20 times as fast as
  DLStudio's reader, in a tenth of its memory.
- generate: images a second.

What is compared takes turns; each ratio is the median over the turns, with the quartiles.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.turns import Spread, ratios, side_by_side

ROOT = Path(__file__).resolve().parents[1]
BASE, PEAK = "DLStudio", "matrix product"
PRODUCT = 1024  # rows and columns of the matrix product
SECTIONS = ("step", "size", "depth", "load", "generate")
GOALS = {"float32": 1.5, "bf16": 2.2}
FILE = "PurdueShapes5MultiObject-{}-train.gz"
Row = dict[str, Any]


def judged(reached: float, goal: float) -> str:
    """Say whether a goal is met, or by how much not."""
    return f"goal {goal:g} met" if reached >= goal else f"goal {goal:g} MISSED by {goal - reached:.2g}"


def table(title: str, rows: Sequence[Row]) -> None:
    """Print rows under the names of their columns, in Markdown; without a title, below the rows before."""
    if title:
        print(f"\n### {title}\n\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(str(value) for value in row.values())} |")
    sys.stdout.flush()


def operations(action: Callable[[], Any]) -> int:
    """Floating point operations of convolutions and matrix products in one call."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops()


def contenders(
    batch: int, size: int, depth: int, halves: Sequence[str], precisions: Sequence[str], compiled: bool
) -> dict[str, Any]:
    """DLStudio's network, and each half's in each precision, if asked also compiled."""
    from benchmarks.contenders import dlstudio, ours_keras, ours_torch

    found = {BASE: dlstudio(batch, size, depth)}
    for precision in precisions:
        for half in halves:
            make = ours_torch if half == "torch_impl" else ours_keras
            for jit in (False, True) if compiled else (False,):
                name = f"{half} compiled {precision}" if jit else f"{half} {precision}"
                found[name] = make(batch, size, depth, bf16=precision == "bf16", jit=jit)
    return found


def measure(
    options: argparse.Namespace, precisions: Sequence[str], predictions: bool = False, **at: int
) -> list[Row]:
    """Rows of training steps and, if asked, of predictions, `at` a batch, a size and a depth."""
    import torch

    found = contenders(**at, halves=options.halves, precisions=precisions, compiled=options.compile)
    square = torch.rand(PRODUCT, PRODUCT)
    rows = []
    for what in ("step", "predict") if predictions else ("step",):
        actions = {name: getattr(each, what) for name, each in found.items()}
        work = operations(actions[BASE])
        times = side_by_side({PEAK: lambda: [square @ square for _ in range(10)], **actions}, options.repeat)
        peak = [10 * 2 * PRODUCT**3 / seconds for seconds in times[PEAK]]
        for name in actions:
            faster = ratios(times, BASE, name)
            goal = GOALS.get(name.rpartition(" ")[2]) if what == "step" else None
            share = [100 * work / a / b for a, b in zip(times[name], peak, strict=True)]
            rows.append(
                {
                    **at,
                    "network": name,
                    "what": what,
                    "ms": f"{1000 * Spread.of(times[name]).median:.0f}",
                    "times DLStudio's speed": faster,
                    "% of the matrix product": f"{Spread.of(share).median:.0f}",
                    "goal": "" if goal is None else judged(faster.median, goal),
                }
            )
    return rows


def step(options: argparse.Namespace) -> Iterator[list[Row]]:
    """Each half in each precision."""
    for batch in options.batch:
        yield measure(options, options.precision, predictions=True, batch=batch, size=64, depth=options.depth)


def size(options: argparse.Namespace) -> Iterator[list[Row]]:
    """Cost against the image's size."""
    for each in (64, 96, 128):
        yield measure(options, ["float32"], batch=4, size=each, depth=4)


def depth(options: argparse.Namespace) -> Iterator[list[Row]]:
    """Cost against the network's depth."""
    for each in (4, 8, 16):
        yield measure(options, ["float32"], batch=4, size=64, depth=each)


# Each of these runs in a fresh process: argv[1] is the folder, argv[2] the file's name.
OURS = """
from datasets.purdue_shapes import load
before = resident(); start = time.perf_counter()
data = load(f"{sys.argv[1]}/{sys.argv[2]}")
print(time.perf_counter() - start, resident() - before)
"""
THEIRS = """
import contextlib, types, warnings
from benchmarks.dlstudio import import_dlstudio
warnings.simplefilter("ignore")
reader = import_dlstudio().SemanticSegmentation.PurdueShapes5MultiObjectDataset
studio = types.SimpleNamespace(dataroot=sys.argv[1] + "/", image_size=(64, 64))
before = resident(); start = time.perf_counter()
with contextlib.redirect_stdout(None):
    data = reader(studio, types.SimpleNamespace(max_num_objects=5), "train", sys.argv[2])
print(time.perf_counter() - start, resident() - before)
"""
RESIDENT = """
import os, sys, time
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
"""


def loading(code: str, folder: Path, name: str) -> tuple[float, float]:
    """Seconds and megabytes that one load takes in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT + code, str(folder), name],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, extra = done.stdout.split()
    return float(seconds), int(extra) / 1e6


def generated(folder: Path, count: int) -> tuple[str, float]:
    """Make a data file by the command line; its name and the seconds that took."""
    command = [sys.executable, "-m", "datasets.purdue_shapes", "generate", "--out", str(folder)]
    start = time.perf_counter()
    subprocess.run(
        [*command, "--train", str(count), "--test", "1", "--keys", "shape-index"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return FILE.format(count), time.perf_counter() - start


def load(options: argparse.Namespace) -> Iterator[list[Row]]:
    """The first load, which writes the cache, and cached ones, against DLStudio's reader."""
    kinds = (BASE, "first load", "cached load")
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made, _ = generated(folder, options.count)
        name = "shapes.gz"  # DLStudio also pickles what it reads from a file of the lecture's name
        (folder / made).rename(folder / name)
        for _ in range(min(options.repeat, 3)):  # every load is cold of its own process, warm of the disk
            (folder / f"{name}.cache").unlink(missing_ok=True)
            for kind in kinds:
                found[kind].append(loading(THEIRS if kind == BASE else OURS, folder, name))
    rows = []
    for kind in kinds:
        pairs = list(zip(found[BASE], found[kind], strict=True))
        faster = Spread.of([a[0] / b[0] for a, b in pairs])
        smaller = Spread.of([a[1] / max(b[1], 0.1) for a, b in pairs])
        cached = kind == "cached load"
        rows.append(
            {
                "images": options.count,
                "reader": kind,
                "ms": f"{1000 * Spread.of([each[0] for each in found[kind]]).median:.1f}",
                "MB": f"{Spread.of([each[1] for each in found[kind]]).median:.1f}",
                "times DLStudio's speed": faster,
                "times less memory": smaller,
                "goal": f"{judged(faster.median, 20)}; {judged(smaller.median, 10)}" if cached else "",
            }
        )
    yield rows


def generate(options: argparse.Namespace) -> Iterator[list[Row]]:
    """How fast images are drawn and written."""
    with tempfile.TemporaryDirectory() as place:
        _, seconds = generated(Path(place), options.count)
    yield [{"images": options.count, "s": f"{seconds:.1f}", "images/s": f"{options.count / seconds:.0f}"}]


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="sections to run")
    parser.add_argument("--repeat", type=int, default=5, help="turns (5)")
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 16], help="images a step (4 16)")
    parser.add_argument("--depth", type=int, default=16, help="of the networks in `step` (16)")
    parser.add_argument(
        "--precision", nargs="+", choices=tuple(GOALS), default=tuple(GOALS), help="of our networks (all)"
    )
    halves = ("torch_impl", "tf_impl")
    parser.add_argument("--halves", nargs="+", choices=halves, default=halves, help="to run (both)")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="also by torch.compile and XLA: minutes for each network before its first step",
    )
    parser.add_argument("--count", type=int, default=10_000, help="images of the data file (10000)")
    parser.add_argument("--threads", type=int, default=2, help="of every network (2)")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    return parser.parse_args(arguments)


def set_threads(count: int) -> None:
    """Give both frameworks as many threads; before their first operation."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    import torch  # isort: skip
    import tensorflow as tf

    torch.set_num_threads(count)
    tf.config.threading.set_intra_op_parallelism_threads(count)


def main() -> None:
    """Print a table for each section."""
    options = read_options()
    if {"step", "size", "depth"} & set(options.only):
        set_threads(options.threads)
    titles: dict[str, tuple[str, Callable[[argparse.Namespace], Iterator[list[Row]]]]] = {
        "step": ("Training step and prediction", step),
        "size": ("Cost by image size", size),
        "depth": ("Cost by depth", depth),
        "load": ("Loading", load),
        "generate": ("Generating", generate),
    }
    found: dict[str, list[Row]] = {}
    for name in options.only:
        title, section = titles[name]
        found[name] = []
        for rows in section(options):
            table(title if not found[name] else "", rows)
            found[name] += rows
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
