"""The valid steps of sequences of unlike lengths: packed sequences as tensors, with zeros behind, and back."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import handle_torch_function

_TOTALS: dict[int, tuple[weakref.ref[torch.Tensor], int]] = {}
"""How many steps there were, the padding included, of data that were packed while this was noted."""


@contextmanager
def totals_noted() -> Iterator[None]:
    """While this is open, it is noted how many steps a packed sequence had with its padding, which it forgets."""
    plain = torch._VF._pack_padded_sequence

    def pack(
        steps: torch.Tensor, lengths: torch.Tensor, batch_first: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        found = plain(steps, lengths, batch_first)
        _TOTALS[id(found[0])] = weakref.ref(found[0]), steps.shape[1 if batch_first else 0]
        return found  # type: ignore[no-any-return]

    if "_pack_padded_sequence" in vars(torch._VF):  # it is noted already
        yield
        return
    vars(torch._VF)["_pack_padded_sequence"] = pack
    try:
        yield
    finally:
        del vars(torch._VF)["_pack_padded_sequence"]
        _TOTALS.clear()


def _total(data: torch.Tensor) -> int:
    found = _TOTALS.get(id(data))
    return found[1] if found is not None and found[0]() is data else 0


class Packing:
    """How a packed sequence was packed: numbers that are no data."""

    def __init__(self, packed: PackedSequence) -> None:
        self.steps = max(len(packed.batch_sizes), _total(packed.data))
        self.sizes, self.sorted, self.unsorted = (
            packed.batch_sizes,
            packed.sorted_indices,
            packed.unsorted_indices,
        )
        counts = [int((self.sizes > i).sum()) for i in range(int(self.sizes[0]))]
        places = range(len(counts)) if self.unsorted is None else self.unsorted.tolist()
        self.lengths = tuple(counts[i] for i in places)


def _seen() -> bool:
    """Whether functions are watched, so that what they do is one step."""
    return bool(torch._C._len_torch_function_stack())


def padded(data: torch.Tensor, order: Packing) -> torch.Tensor:
    """The steps of a packed sequence, (N, T, F), zero behind each end; one step of a trace."""
    if _seen():
        return handle_torch_function(padded, (), data, order)  # type: ignore[no-any-return]
    steps, _ = torch._VF._pad_packed_sequence(data, order.sizes, True, 0.0, order.steps)
    return steps if order.unsorted is None else steps[order.unsorted]


def packed(steps: torch.Tensor, order: Packing) -> torch.Tensor:
    """The data of a packed sequence of these steps; one step of a trace."""
    if _seen():
        return handle_torch_function(packed, (), steps, order)  # type: ignore[no-any-return]
    chosen = steps if order.sorted is None else steps[order.sorted]
    counts = sorted(order.lengths, reverse=True)
    data = torch._VF._pack_padded_sequence(chosen, torch.tensor(counts), True)[0]
    _TOTALS[id(data)] = weakref.ref(data), order.steps
    return data


def turned(steps: torch.Tensor, order: Packing | None) -> torch.Tensor:
    """The steps of each sequence the last one first; what is behind its end stays."""
    if order is None or set(order.lengths) == {order.steps}:
        return torch.flip(steps, (1,))
    if _seen():
        return handle_torch_function(turned, (), steps, order)  # type: ignore[no-any-return]
    places = torch.arange(steps.shape[1]).repeat(len(order.lengths), 1)
    for row, length in zip(places, order.lengths, strict=True):
        row[:length] = torch.arange(length - 1, -1, -1)
    return torch.gather(steps, 1, places.to(steps.device)[..., None].expand_as(steps))
