"""U-Net's sizes, in plain numbers: the same file in both packages."""

from __future__ import annotations

from collections.abc import Sequence

LEVELS = 4  # halvings
STEP = 2**LEVELS
MARGIN = 124  # what the valid convolutions of the way down take from the input, counted in its pixels
SMALLEST = 188  # the bottom must have 4 pixels left, for the way up takes 60 from 16 times as many
LOST = 184  # by all valid convolutions


def check_options(in_channels: int, num_classes: int, width: int, dropout: float) -> None:
    """Refuse options without a meaning."""
    for name, value in (("in_channels", in_channels), ("num_classes", num_classes), ("width", width)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {name}={value}. Give a count.")
    if not 0 <= dropout < 1:
        raise ValueError(
            f"dropout must be in [0, 1); got dropout={dropout}. Give the share of values to drop."
        )


def check_image(sizes: Sequence[int | None], padded: bool) -> None:
    """Refuse sizes at which a pooling would not halve exactly; an unknown size (None) passes."""
    for name, size in zip(("height", "width"), sizes, strict=True):
        if size is None:
            continue
        if padded and size < STEP:
            raise ValueError(f"{name} must be at least {STEP}; got {name}={size}. Pad the picture.")
        if not padded and (size < SMALLEST or (size - MARGIN) % STEP):
            below = (size - MARGIN) // STEP * STEP + MARGIN
            nearest = f"{below} or {below + STEP}" if size > SMALLEST else f"{SMALLEST}"
            raise ValueError(
                f"{name} must be {STEP} * n + {MARGIN} and at least {SMALLEST}, so that each pooling halves; "
                f"got {name}={size}. Crop or pad to {nearest}, or use padded=True."
            )


def input_size(size: int, padded: bool) -> int:
    """The fewest rows of an input whose output has at least `size` rows."""
    if padded:
        return max(size, STEP)
    return max(SMALLEST, -(-(size + LOST - MARGIN) // STEP) * STEP + MARGIN)


def output_size(size: int | None, padded: bool) -> int | None:
    """Rows of the output for an input of `size` rows."""
    return size if padded or size is None else size - LOST
