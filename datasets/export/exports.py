"""Networks written for other runtimes, the same in both packages: flags, inputs to try, what counts as equal."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError, RunError, SettingsError
from datasets.prediction.reading import Reading
from datasets.purdue_shapes import generate

Floats: TypeAlias = NDArray[np.floating]
Run: TypeAlias = Callable[[Floats], list[Floats]]
"""Images (N, H, W, C) to every output of a network."""

ROUNDOFF = 2.0**-24  # of float32
PRECISION_FACTOR = 64.0
"""How many times the effect of one roundoff in every weight and input two float32 runs may be apart. It is the
bound of parity.core.tolerance."""
COORDINATE_FACTOR = 2.0
"""A resize rounds its coordinates: n pixels from the origin they are n roundoffs off; see parity.core.tolerance."""
NUDGE = 1024
"""Roundoffs by which the effect is measured: far above rounding itself, far below where networks bend."""
STEP = (16, 48)
"""Rows and columns that the second input has more than the first: all networks' sizes allow them."""


@dataclass(frozen=True)
class Agreement:
    """One input's outputs: those of the exported file against the network's own.

    Attributes:
        shape: of the input, (N, H, W, C).
        greatest: difference of two elements.
        allowed: the difference that rounding explains.
        scale: greatest magnitude of the network's output.
        index: of the element, in the layout of the framework.
        output: which of the network's outputs it is in.
    """

    shape: tuple[int, ...]
    greatest: float
    allowed: float
    scale: float
    index: tuple[int, ...]
    output: int

    def __bool__(self) -> bool:
        return self.greatest <= self.allowed

    def __str__(self) -> str:
        return (
            f"input {self.shape}: greatest difference {self.greatest:.2e} at {self.index} of output {self.output}, "
            f"whose scale is {self.scale:.3g}; rounding explains {self.allowed:.2e}"
        )


def agree(
    network: Run,
    exported: Run,
    nudged: Callable[[float], AbstractContextManager[None]],
    samples: Sequence[Floats],
) -> list[Agreement]:
    """Compare a network with what was exported of it, element by element.

    Args:
        network: the network itself, in float32.
        exported: the file, run by its own runtime.
        nudged: a context in which every weight of the network is off by this share.
        samples: inputs.
    Returns: the worst output of each input.
    Raises:
        RunError: a difference that rounding does not explain, outputs of other shapes or numbers, or nothing that
            could be compared.
    """
    if not samples:
        raise SettingsError("there must be images to compare on; got no samples. Give some.")
    found = []
    for sample in samples:
        want, got = network(sample), exported(sample)
        shapes = [[value.shape for value in side] for side in (want, got)]
        if shapes[0] != shapes[1]:
            raise RunError(
                f"the file must have the network's outputs; got {shapes[1]} instead of {shapes[0]} for the input "
                f"{sample.shape}. Export for one size (--fixed), or report it."
            )
        if not want or not all(np.isfinite(value).any() for value in want):
            raise RunError(
                f"the network must give finite numbers to compare; got outputs {shapes[0]} without any for the input "
                f"{sample.shape}. Check its weights."
            )
        with nudged(NUDGE * ROUNDOFF):
            moved = network(_nudged_values(sample))
        each = [
            _worst(i, sample.shape, *values) for i, values in enumerate(zip(want, got, moved, strict=True))
        ]
        found.append(max(each, key=lambda one: one.greatest / one.allowed if one.allowed else one.greatest))
    wrong = [one for one in found if not one]
    if wrong:
        raise RunError(
            f"the file must give the network's outputs; got {wrong[0]}. Nothing was kept: export again with "
            "--fixed, and report it."
        )
    return found


def nudge(values: Floats, share: float, rng: np.random.Generator) -> Floats:
    """Every value a little larger or smaller."""
    signs = rng.integers(0, 2, values.shape) * 2 - 1
    return (values * (1 + share * signs)).astype(values.dtype)


def _nudged_values(sample: Floats) -> Floats:
    return nudge(sample, NUDGE * ROUNDOFF, np.random.default_rng(1))


def _worst(output: int, shape: tuple[int, ...], want: Floats, got: Floats, moved: Floats) -> Agreement:
    """The element that is furthest off; what is not finite must be the same on both sides."""
    scale = float(np.abs(want, where=np.isfinite(want), out=np.zeros_like(want)).max(initial=0.0))
    with np.errstate(invalid="ignore"):
        apart = np.abs(want.astype(np.float64) - got)
        same = (want == got) | (np.isnan(want) & np.isnan(got))
    apart = np.where(same, 0.0, np.where(np.isfinite(apart), apart, np.inf))
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(apart)), apart.shape)) if apart.size else ()
    with np.errstate(invalid="ignore"):
        gaps = np.abs(moved.astype(np.float64) - want)
    effect = float(gaps[np.isfinite(gaps)].max(initial=0.0)) / NUDGE
    coordinates = COORDINATE_FACTOR * max(want.shape) * ROUNDOFF * scale
    allowed = max(PRECISION_FACTOR * effect, coordinates)
    return Agreement(shape, float(apart.max(initial=0.0)), allowed, scale, index, output)


def check_samples(samples: Sequence[Floats], fixed: bool) -> None:
    """Refuse inputs that a network cannot be exported with.

    Shapes: each (N, H, W, C).
    Raises:
        DataError: none, one image alone in the first, or several sizes for a file of one size.
    """
    shapes = [sample.shape for sample in samples]
    if not shapes or any(len(shape) != 4 for shape in shapes) or shapes[0][0] < 2:
        raise DataError(
            f"samples must be images (N, H, W, C), the first of at least two; got shapes={shapes}. Give more."
        )
    if any(sample.dtype != np.float32 for sample in samples):
        raise DataError(
            f"samples must be float32; got {[str(each.dtype) for each in samples]}. Convert them first."
        )
    if fixed and len({shape[1:3] for shape in shapes}) > 1:
        raise DataError(
            f"samples must have one size for a file of one size; got shapes={shapes}. Leave fixed out."
        )


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write a file or a folder to, which takes the place of `path` only once it is whole.

    Raises:
        SettingsError: `path` is a folder that holds something else than an earlier SavedModel.
    """
    if path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").exists():
        raise SettingsError(
            f"--out must be new, or hold an earlier export; got the folder {path}. Choose another."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, before = (path.with_name(prefix + path.name) for prefix in ("partial-", "before-"))
    _remove(partial)
    try:
        yield partial
        if path.is_dir():
            os.replace(path, before)
        os.replace(partial, path)
    finally:
        _remove(partial)
        if before.exists() and not path.exists():
            os.replace(before, path)
        _remove(before)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason")


def export_flags(package: str, formats: Sequence[str]) -> argparse.ArgumentParser:
    """The flags of `python -m tf_impl.export` and `python -m torch_impl.export`."""
    parser = argparse.ArgumentParser(
        f"python -m {package}.export",
        description="Write a trained network for another runtime, run what was written there, and compare.",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        help="weights of either framework (.pt .pth .safetensors .weights.h5 .keras)",
    )
    parser.add_argument("--config", type=Path, help="default: config.json beside the checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="file or folder to write")
    parser.add_argument("--format", choices=tuple(formats), default=formats[0], help="default: %(default)s")
    parser.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="pixels to try it with; default: 64x96, or 188x236 for U-Net",
    )
    parser.add_argument(
        "--fixed", action="store_true", help="for images of that size alone; default: any size"
    )
    # What datasets.prediction.command.configuration asks for besides.
    parser.set_defaults(dtype="float32", depth=None, head=None, schedule=None, skip_connections=None)
    return parser


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.lower().split("x"))
        if min(height, width) < 32:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"a size is HxW with at least 32 pixels each way, as 64x96; got {text!r}"
        ) from None
    return height, width


def sample_images(config: dict[str, Any], size: tuple[int, int] | None, fixed: bool) -> list[Floats]:
    """Two generated images, and one of another size, as the run's network takes them.

    Shapes: returns (2, H, W, 3) and (1, H + 16, W + 48, 3), or the second of the first's size with `fixed`.
    """
    arguments = config["model"]["arguments"]
    valid = config["model"]["name"] == "UNet" and not arguments.get("padded", False)
    size = size or ((188, 236) if valid else (64, 96))
    other = size if fixed else (size[0] + STEP[0], size[1] + STEP[1])
    reading = Reading.of(config)
    return [
        np.asarray(reading.scaled(generate(count, seed, each).images, "float32"))
        for count, seed, each in ((2, 0, size), (1, 1, other))
    ]


def said(path: Path, config: dict[str, Any], found: Sequence[Agreement], fixed: bool) -> Iterator[str]:
    """What the script prints of an export."""
    for one in found:
        yield str(one)
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    reading = Reading.of(config)
    sizes = "{}x{} pixels".format(*found[0].shape[1:3]) if fixed else "images of any size"
    yield (
        f"{path}: {sum(each.stat().st_size for each in files) / 1e6:.1f} MB, any batch, {sizes}; "
        f"inputs: {reading.inputs}, outputs: {reading.activation}"
    )
