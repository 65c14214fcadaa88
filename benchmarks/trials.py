"""Scores and draws what both halves predict on the kept tiles of a picture, beside what needs no network.

    python benchmarks/trials.py ROOT --predictions PyTorch=DIR Keras=DIR --otsu --out trial.png

ROOT is what `python -m datasets.tiles` wrote, each DIR what `predict --data ROOT` wrote.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from datasets.scores.metrics import SegmentationMetrics, one_hot
from datasets.voc import VOID, Voc

RIGHT, MISSED, FALSE, UNKNOWN = (255, 255, 255), (230, 159, 0), (86, 180, 233), (90, 90, 90)
Bytes = NDArray[np.uint8]


def otsu(data: Voc) -> list[Bytes]:
    """Class 1 where a pixel is above Otsu's threshold of the training tiles' grey values."""
    from skimage.filters import threshold_otsu

    train = Voc(data.root, "train", crop=(1, 1))
    bound = threshold_otsu(
        np.concatenate([train.load(index)[0][..., 0].ravel() for index in range(len(train))])
    )
    return [(data.load(index)[0][..., 0] > bound).astype(np.uint8) for index in range(len(data))]


def scored(data: Voc, labels: list[Bytes]) -> list[float]:
    """Mean IoU and the IoU of every class over all tiles together."""
    metrics = SegmentationMetrics(data.classes, boundary_width=0)
    for index, found in enumerate(labels):
        target, valid = one_hot(data.load(index)[1][None], len(data.classes))
        metrics.update(one_hot(found[None], len(data.classes), None)[0], target, valid)
    result = metrics.result()
    return [result["mean_iou"], *result["iou_per_class"].values()]


def joined(data: Voc, tiles: list[Bytes]) -> Bytes:
    """Tiles at the places that their names give, as one picture."""
    corners = np.array([[int(part) for part in name.split("_")[-2:]] for name in data.names])
    corners -= corners.min(axis=0)
    height, width = (corners + data.sizes).max(axis=0)
    whole = np.zeros((height, width, *tiles[0].shape[2:]), np.uint8)
    for (top, left), tile in zip(corners.tolist(), tiles, strict=True):
        whole[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return whole


def compared(truth: Bytes, found: Bytes) -> Bytes:
    """(H, W) twice to (H, W, 3): right, missed and falsely found pixels of classes in their colours, else black."""
    picture = np.zeros((*truth.shape, 3), np.uint8)
    picture[(found > 0) & (truth != found)] = FALSE
    picture[(truth > 0) & (truth != found)] = MISSED
    picture[(truth > 0) & (truth == found)] = RIGHT
    picture[truth == VOID] = UNKNOWN
    return picture


def draw(path: Path, panels: dict[str, Bytes], dpi: int) -> None:
    """One panel beside the other."""
    height, width = next(iter(panels.values())).shape[:2]
    side = 7.5 / max(height, width * len(panels))
    figure = Figure((side * width * len(panels) + 0.4, side * height + 0.9), layout="constrained")
    for axes, (name, picture) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axes.imshow(picture, interpolation="antialiased")
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    colours = {"found": RIGHT, "missed": MISSED, "found where it is not": FALSE}
    patches = [
        Patch(facecolor=np.divide(each, 255), edgecolor="black", label=name) for name, each in colours.items()
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, dpi=dpi)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, metavar="ROOT")
    parser.add_argument("--predictions", nargs="+", required=True, metavar="NAME=DIR")
    parser.add_argument("--otsu", action="store_true", help="Otsu's threshold too")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dpi", type=int, default=110)
    options = parser.parse_args()
    data = Voc(options.root, "val", crop=(1, 1))
    images, truth = (
        list(each) for each in zip(*(data.load(index) for index in range(len(data))), strict=True)
    )
    found = {"all background": [np.zeros_like(labels) for labels in truth]}
    if options.otsu:
        found["Otsu"] = otsu(data)
    panels = {"image": joined(data, images), "truth": compared(*[joined(data, truth)] * 2)}
    for word in options.predictions:
        name, _, folder = word.partition("=")
        found[name] = [np.array(Image.open(Path(folder) / "masks" / f"{each}.png")) for each in data.names]
        panels[name] = compared(joined(data, truth), joined(data, found[name]))
    print("| | mean IoU | " + " | ".join(data.classes) + " |")
    print("|---|" + "---|" * (1 + len(data.classes)))
    for name, labels in found.items():
        print(f"| {name} | " + " | ".join(f"{score:.3f}" for score in scored(data, labels)) + " |")
    draw(options.out, panels, options.dpi)


if __name__ == "__main__":
    main()
