"""Train both packages from the same weights on the same batches and plot their losses.

python benchmarks/trajectory.py --out docs/figures/trajectory.png [--steps 200] [--depth 4] [--preset lecture | best]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# PyTorch before TensorFlow: Keras' own test configuration does so, citing a segmentation fault.
import torch_impl.train  # isort: skip
import numpy as np
import torch
from numpy.typing import NDArray

import parity
import tf_impl.train
from datasets.files import extra, replacing
from datasets.purdue_shapes import generate
from datasets.training.augment import augmentation
from datasets.training.recipe import PRESETS, Recipe, model_of, recipe_of

HALVES: dict[str, Any] = {"tf": tf_impl.train, "torch": torch_impl.train}
DTYPES = ("float64", "float32")
FLOAT32_ROUNDOFF = 2.0**-24
# Ten batches of four an epoch; unequal sides, small so that float64 is quick.
IMAGES, SIZE, BATCH = 40, (32, 40), 4
TORCH, KERAS = "#ee4c2c", "black"
Curves = dict[tuple[str, str], NDArray[np.float64]]


def settings(steps: int, seed: int, preset: str) -> Recipe:
    """A preset's recipe for so many steps on the generated images; none of them is kept for checks."""
    wanted = {**recipe_of(preset), "batch_size": BATCH, "validation": 0.0, "seed": seed, "steps": steps}
    return Recipe(**{**wanted, "epochs": -(-steps * BATCH // IMAGES)})


def network(preset: str, depth: int) -> dict[str, Any]:
    """mUnet's arguments of a preset."""
    return {**model_of(preset), "depth": depth}


def losses_of(half: Any, model: Any, recipe: Recipe, seed: int) -> NDArray[np.float64]:
    """The loss of every step of one package's own training function."""
    data = generate(IMAGES, seed, SIZE)
    augment = augmentation(recipe.augment, recipe.seed)
    return np.array(half.train(model, data.images, data.masks, recipe, augment=augment))


def trajectories(
    steps: int = 50,
    depth: int = 4,
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
    preset: str = "lecture",
    halves: Sequence[str] = tuple(HALVES),
    **recipes: Recipe,
) -> Curves:
    """The losses of both packages from the same initial weights on the same batches.

    Args:
        steps: length of the run, at least 1.
        depth: mUnet's depth.
        seed: of the images, of the initial weights and of the batch order.
        dtypes: float64, float32 or both.
        preset: of the recipe and of the network.
        halves: "tf", "torch" or both.
        recipes: "tf" and "torch", in place of the preset's, to see what a difference between them does.
    Returns: by ("tf" or "torch", dtype) the loss of every step.
    """
    recipe, arguments = settings(steps, seed, preset), network(preset, depth)
    # Every run starts from the same float32 numbers, which float64 holds exactly.
    first = torch_impl.train.make_model(arguments, seed=seed)
    curves = {}
    for name in halves:
        half = HALVES[name]
        for dtype in dtypes:
            model = half.make_model(arguments, dtype)
            if name == "torch":
                model.load_state_dict(first.state_dict())
            else:
                parity.transfer(first, model)
            curves[name, dtype] = losses_of(half, model, recipes.get(name, recipe), seed)
    return curves


def roundoff_effect(
    steps: int = 50, depth: int = 4, seed: int = 0, draws: int = 2, preset: str = "lecture"
) -> float:
    """What one unit roundoff of float32 in every initial weight does to the losses, computed in float64.

    Args:
        steps, depth, seed, preset: as for `trajectories`.
        draws: random choices of the signs.
    Returns: the greatest relative difference of any step from the run without it; a float32 run that keeps its
        digits is a small multiple of this away from its float64 run.
    """
    recipe, arguments = settings(steps, seed, preset), network(preset, depth)
    first = torch_impl.train.make_model(arguments, seed=seed).state_dict()
    rng = np.random.default_rng(seed)
    losses = []
    for draw in range(draws + 1):
        model = torch_impl.train.make_model(arguments, "float64")
        model.load_state_dict(first)
        for tensor in model.parameters() if draw else ():
            signs = torch.from_numpy(rng.choice((-1.0, 1.0), tuple(tensor.shape)))
            tensor.data.mul_(1 + signs * FLOAT32_ROUNDOFF)
        losses.append(losses_of(torch_impl.train, model, recipe, seed))
    return float(max(np.max(np.abs(curve - losses[0]) / np.abs(losses[0])) for curve in losses[1:]))


def differences(curves: Curves) -> dict[str, NDArray[np.float64]]:
    """The four differences that the claim is about, as shares of the float64 loss, step by step."""
    exact = np.abs(curves["torch", "float64"])

    def between(*pair: tuple[str, str]) -> NDArray[np.float64]:
        return np.abs(curves[pair[0]] - curves[pair[1]]) / exact

    return {
        "float64": between(("tf", "float64"), ("torch", "float64")),
        "float32": between(("tf", "float32"), ("torch", "float32")),
        "tf rounding": between(("tf", "float32"), ("tf", "float64")),
        "torch rounding": between(("torch", "float32"), ("torch", "float64")),
    }


def draw(curves: Curves, path: Path) -> None:
    """Both loss curves in both precisions, and their relative differences below, as one picture."""
    figure = extra("matplotlib.figure").Figure((8, 6.5), layout="constrained")
    losses, apart = figure.subplots(2, sharex=True)
    steps = np.arange(1, len(curves["tf", "float64"]) + 1)
    for pair, label, style in (
        (("torch", "float64"), "PyTorch, float64", {"color": TORCH, "linewidth": 6, "alpha": 0.35}),
        (
            ("torch", "float32"),
            "PyTorch, float32",
            {"color": TORCH, "linestyle": "", "marker": "s", "mfc": "none"},
        ),
        (("tf", "float64"), "Keras, float64", {"color": KERAS, "linewidth": 1}),
        (("tf", "float32"), "Keras, float32", {"color": KERAS, "linestyle": "", "marker": "."}),
    ):
        losses.semilogy(steps, curves[pair], label=label, **style)
    shares = differences(curves)
    dotted = {"linestyle": ":", "linewidth": 1.5}
    for name, label, style in (
        ("float32", "Keras against PyTorch, float32", {"color": "#1f77b4", "linewidth": 2, "marker": "."}),
        ("tf rounding", "Keras, float32 against float64", {"color": KERAS, **dotted}),
        ("torch rounding", "PyTorch, float32 against float64", {"color": TORCH, **dotted}),
        ("float64", "Keras against PyTorch, float64", {"color": "#2ca02c", "linewidth": 2, "marker": "."}),
    ):
        apart.semilogy(steps, np.where(shares[name], shares[name], np.nan), label=label, **style)
    losses.set(ylabel="loss", title=f"{len(steps)} steps from the same weights on the same batches")
    apart.set(xlabel="step", ylabel="relative difference (gap: the same bits)")
    for axis in (losses, apart):
        axis.legend(fontsize=8, ncols=2)
        axis.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120)


def main(arguments: list[str] | None = None) -> int:
    """The command: draws the picture and prints the greatest differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/figures/trajectory.png"))
    for name, default in {"steps": 200, "depth": 4, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="lecture")
    options = parser.parse_args(arguments)
    curves = trajectories(options.steps, options.depth, options.seed, preset=options.preset)
    for name, values in differences(curves).items():
        print(f"{name:15s} greatest relative difference {values.max():.1e}")
    effect = roundoff_effect(options.steps, options.depth, options.seed, preset=options.preset)
    print(f"one unit roundoff in the initial weights moves the losses by {effect:.1e}")
    draw(curves, options.out)
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
