"""Whether a network that was written for another runtime still gives the network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.errors import RunError, SettingsError

Floats: TypeAlias = NDArray[np.floating]
Run: TypeAlias = Callable[[Floats], list[Floats]]
"""Images (N, H, W, C) to every output of a network."""

ROUNDOFF = 2.0**-24  # of float32
PRECISION_FACTOR = 64.0
"""Two float32 runs may differ by this many times the effect of one roundoff in every weight and input. It is the
bound of parity.core.tolerance; a test compares the two."""
COORDINATE_FACTOR = 2.0
"""A resize rounds its coordinates: n pixels from the origin the error is n roundoffs; see parity.core.tolerance."""
NUDGE = 1024
"""Roundoffs by which the effect is measured: far above rounding itself, far below where networks bend."""


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
        gap = np.abs(want.astype(np.float64) - got)
        same = (want == got) | (np.isnan(want) & np.isnan(got))
    gap = np.where(same, 0.0, np.where(np.isfinite(gap), gap, np.inf))
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(gap)), gap.shape)) if gap.size else ()
    with np.errstate(invalid="ignore"):
        gaps = np.abs(moved.astype(np.float64) - want)
    effect = float(gaps[np.isfinite(gaps)].max(initial=0.0)) / NUDGE
    coordinates = COORDINATE_FACTOR * max(want.shape) * ROUNDOFF * scale
    allowed = max(PRECISION_FACTOR * effect, coordinates)
    return Agreement(shape, float(gap.max(initial=0.0)), allowed, scale, index, output)
