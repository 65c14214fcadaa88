"""Reshapes as groups of axes: which axes are merged or split, and whether Keras' order of axes allows it."""

from __future__ import annotations

from collections.abc import Sequence

from parity.porting.to_keras.layout.axes import HeldOrder, channels_last

AxisGroup = tuple[tuple[int, ...], tuple[int, ...]]


def groups(before: Sequence[int], after: Sequence[int]) -> list[AxisGroup]:
    """The smallest runs of axes with equal products: (axes before, axes after) of each, from the left.

    Raises:
        ValueError: the two shapes have different numbers of elements.
    """
    found: list[AxisGroup] = []
    i = j = 0
    while i < len(before) or j < len(after):
        start, first = i, j
        left, right = 1, 1
        if i < len(before):
            left, i = before[i], i + 1
        if j < len(after):
            right, j = after[j], j + 1
        while left != right:
            if left < right and i < len(before):
                left, i = left * before[i], i + 1
            elif right < left and j < len(after):
                right, j = right * after[j], j + 1
            else:
                raise ValueError(f"{tuple(before)} and {tuple(after)} have different numbers of elements")
        while i < len(before) and before[i] == 1 and (j == len(after) or after[j] != 1):
            i += 1
        while j < len(after) and after[j] == 1 and (i == len(before) or before[i] != 1):
            j += 1
        found.append((tuple(range(start, i)), tuple(range(first, j))))
    return found


def reshaped(order: HeldOrder, before: Sequence[int], after: Sequence[int]) -> HeldOrder | None:
    """The order behind a reshape that Keras does on its own order of axes; None where it needs torch's order.

    An order fits where the axes of each group lie side by side as torch has them. Axes of size 1 may lie anywhere.
    """
    if len(after) > 3 and all(size == 1 for size in after[2:]) and len(before) == 2:
        return channels_last(len(after))
    parts = groups(before, after)
    group_of = {axis: k for k, (axes, _) in enumerate(parts) for axis in axes}
    kept = [axis for axis in order if before[axis] != 1]
    sequence: list[int] = []
    for place, axis in enumerate(kept):
        group = group_of[axis]
        if group not in sequence:
            sequence.append(group)
        elif sequence[-1] != group or kept[place - 1] > axis:
            return None
    for group in range(len(parts)):  # groups of sizes 1 alone: behind the group before them
        if group not in sequence:
            at = sequence.index(group - 1) + 1 if group - 1 in sequence else 0
            sequence.insert(at, group)
    return tuple(axis for group in sequence for axis in parts[group][1])
