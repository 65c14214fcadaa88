"""mUnet's rules in plain numbers and names: the same file in both packages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

Tensor = TypeVar("Tensor")

CHANNELS = 3  # the network reads RGB
STRIDE = 8  # three halvings: the pooling and the two downsamplers


class Slices(NamedTuple):
    """Which entries of three arrays run at the three places at which the schedules differ."""

    down128: slice  # skip128DN_arr after the third save
    up128: slice  # skip128UP_arr after bn1UP
    up64: slice  # skip64UP_arr before the second save is written


def schedule_slices(schedule: str, depth: int) -> tuple[int, Slices]:
    """Give the quarter (of `depth` // 2) where every array is divided, and the schedule's slices.

    At the five other places all schedules agree: the arrays' first quarter or their rest.
    """
    quarter = depth // 2 // 4
    first, rest = slice(None, quarter), slice(quarter, None)
    table = {
        "released": Slices(down128=rest, up128=first, up64=rest),  # DLStudio 2.5.8
        "printed": Slices(down128=first, up128=first, up64=first),  # lecture, slides 70-71
        "intended": Slices(down128=rest, up128=rest, up64=rest),  # every block once
    }
    if schedule not in table:
        raise ValueError(f"schedule must be one of {sorted(table)}; got schedule={schedule!r}. Choose one.")
    return quarter, table[schedule]


def check_options(depth: int, num_classes: int, head: str) -> None:
    """Refuse options without a meaning."""
    if depth < 2:
        raise ValueError(f"depth must be at least 2; got depth={depth}. An array holds depth // 2 blocks.")
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1; got num_classes={num_classes}. Give a count.")
    if head not in ("dlstudio", "dense"):
        raise ValueError(f'head must be "dlstudio" or "dense"; got head={head!r}. Choose one of them.')


def check_image(channels: int | None, height: int | None, width: int | None) -> None:
    """Refuse images that the network cannot take; an unknown size (None) passes.

    The pooling drops an odd last row, and the two halvings below it must be exact, since the way up doubles:
    a size is valid when it is a multiple of 8, or one more (then the output has one row less).
    """
    if channels is not None and channels != CHANNELS:
        raise ValueError(f"images must have {CHANNELS} channels; got channels={channels}. Give RGB images.")
    for name, size in (("height", height), ("width", width)):
        if size is not None and (size < STRIDE or size % STRIDE > 1):
            below, above = size // STRIDE * STRIDE + 1, (size // STRIDE + 1) * STRIDE
            nearest = f"{below} and {above}" if size > STRIDE else f"{STRIDE}"
            raise ValueError(
                f"height and width must be multiples of {STRIDE}, or one more; got {name}={size}. "
                f"Crop or pad to the nearest valid size: {nearest}."
            )


def output_size(size: int | None) -> int | None:
    """Rows of the output for an input of `size` rows."""
    return None if size is None else size // STRIDE * STRIDE


def mirrored_name(name: str) -> str:
    """Give the lecture's name of a DLStudio 2.5.8 tensor: convo1 -> conv1, convoT2 -> convT2."""
    return re.sub(r"(^|\.)convo(T?)([12])(?=\.)", r"\1conv\2\3", name)


def mirrored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give DLStudio's tensors the lecture's names; refuse a tensor that comes under both."""
    twice = sorted(name for name in tensors if mirrored_name(name) != name and mirrored_name(name) in tensors)
    if twice:
        raise ValueError(
            f"each tensor must be given once; got names={twice} and names="
            f"{[mirrored_name(name) for name in twice]}. Remove one of the two."
        )
    return {mirrored_name(name): tensor for name, tensor in tensors.items()}


def read_depth(names: Iterable[str]) -> int:
    """Read mUnet's `depth` from the names of its tensors: twice the entries of skip64DN_arr."""
    found = [re.match(r"skip64DN_arr\.(\d+)\.", name) for name in names]
    entries = [int(match[1]) for match in found if match]
    if not entries:
        raise ValueError(
            "the names must be those of DLStudio's mUNet (skip64DN_arr.0.convo1.weight, ...); "
            f"got names={sorted(names)[:5]}. Give the state_dict itself."
        )
    return 2 * (max(entries) + 1)


def check_fits(given: Mapping[str, Sequence[int]], wanted: Mapping[str, Sequence[int]]) -> None:
    """Refuse shapes by name that differ from the network's, listing every difference."""
    missing = sorted(wanted.keys() - given.keys())
    extra = sorted(given.keys() - wanted.keys())
    misshapen = [
        f"{name} {tuple(given[name])} instead of {tuple(wanted[name])}"
        for name in sorted(wanted.keys() & given.keys())
        if tuple(given[name]) != tuple(wanted[name])
    ]
    if missing or extra or misshapen:
        raise ValueError(
            f"every tensor must fit the network; got missing={missing}, extra={extra}, "
            f"misshapen={misshapen}. Give the whole state_dict of DLStudio's mUNet."
        )


def check_one_dtype(dtypes: Mapping[str, str]) -> str:
    """Give the one floating dtype that all tensors have; refuse a mixture."""
    kinds = sorted(set(dtypes.values()))
    if len(kinds) != 1 or "float" not in kinds[0]:
        raise ValueError(
            f"all tensors must share one floating dtype; got dtypes={kinds}. Convert them first."
        )
    return kinds[0]
