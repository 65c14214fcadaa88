"""Loss curves of training runs on one axis: python benchmarks/curves.py RUN... --out F.png."""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.errors import RunError
from datasets.exits import exit_code
from datasets.files import extra
from datasets.training.runs import read_config

COLOURS = {"torch_impl": "#d1495b", "tf_impl": "#00798c"}
STYLES = ("-", "--", ":", "-.")


def curve(folder: Path, window: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Steps, means of the losses over the last `window` steps, and the checks, (n, 2) of step and mean IoU."""
    losses = np.genfromtxt(folder / "loss.csv", delimiter=",", skip_header=1, ndmin=2)
    if len(losses) < window:
        raise RunError(
            f"a run must have at least {window} steps; got {len(losses)} in {folder}. Give --window 1."
        )
    means = np.convolve(losses[:, 2], np.full(window, 1 / window), "valid")
    rows = []
    if (folder / "metrics.csv").exists():  # else the run has not come to its first check
        with (folder / "metrics.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("val_mean_iou")]
    checks = np.array([[float(row["step"]), float(row["val_mean_iou"])] for row in rows]).reshape(-1, 2)
    return losses[window - 1 :, 0], means, checks


def levels(config: dict[str, Any]) -> dict[str, tuple[float, str]]:
    """Losses to hold a run of mean squared error against: label, value, and the edge that the label has there.

    Curves end below the best constant and above a floor, so the labels stand on the other side.
    """
    constant = config["data"].get("mse_of_best_constant")
    if config["recipe"]["loss"] != "mse" or constant is None:
        return {}
    found = {f"best constant: {constant:.1f}": (constant, "bottom")}
    if config["model"]["arguments"].get("head") == "dlstudio":
        # Three of four pixels are the head's bias, whatever the image: it sees every second row and column.
        found[f"floor of the sparse head: {0.75 * constant:.1f}"] = (0.75 * constant, "top")
    return found


def draw(folders: Sequence[Path], path: Path, window: int, names: Sequence[str]) -> None:
    """One picture: the losses, and the mean IoU of the images kept at every check."""
    figure = extra("matplotlib.figure").Figure((8, 4.5), layout="constrained")
    axes = figure.subplots()
    right = axes.twinx()
    drawn: Counter[str] = Counter()
    lines: dict[str, tuple[float, str]] = {}
    checked = False
    for folder, name in zip(folders, names, strict=True):
        steps, means, checks = curve(folder, window)
        config = read_config(folder / "config.json")
        package = config["package"]
        lines |= levels(config)
        style = {"color": COLOURS[package], "linestyle": STYLES[drawn[package] % len(STYLES)]}
        drawn[package] += 1
        axes.plot(steps, means, label=name, linewidth=1.6, **style)
        right.plot(*checks.T, marker="o", markersize=5, linewidth=0.8, alpha=0.6, **style)
        checked |= len(checks) > 0
        score = f", mean IoU {checks[-1, 1]:.4f}" if len(checks) else ""
        print(f"{name}: loss {means[-1]:.4f} over the last {window} steps{score}")
    for label, (value, edge) in lines.items():
        axes.axhline(value, color="black", linestyle=":", linewidth=1)
        axes.annotate(label, (0.99, value), xycoords=("axes fraction", "data"), ha="right", va=edge)
    axes.set(xlabel="step", ylabel=f"loss, mean of {window} steps", ylim=(0, None))
    right.set(ylabel="mean IoU of the images kept (dots)", ylim=(0, 1), visible=checked)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def run(options: argparse.Namespace) -> None:
    """Carry out one command line."""
    names = options.names or [folder.name for folder in options.runs]
    if len(names) != len(options.runs):
        raise RunError(f"names must be as many as runs; got {len(names)} and {len(options.runs)}.")
    draw(options.runs, options.out, options.window, names)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: returns 0, or 2 after one line that says what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="folders that training wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--names", nargs="+", help="of the curves; default: the folders'")
    parser.add_argument("--window", type=int, default=50, help="steps averaged; default: %(default)s")
    return exit_code(run, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
