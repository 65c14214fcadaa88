"""Where torch has which of Keras' axes: one permutation a tensor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TorchAxes:
    """The order of a tensor's axes in torch.

    Attributes:
        order: torch's axis j is Keras' axis order[j].
        flat: (H, W, C) where the last axis was flattened from an image in torch's order C, H, W.
    """

    order: tuple[int, ...]
    flat: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        """How many axes there are."""
        return len(self.order)

    @property
    def same(self) -> bool:
        """Whether torch has what Keras has."""
        return self.order == tuple(range(self.rank)) and not self.flat

    @property
    def images(self) -> bool:
        """Whether the channels stand behind the batch."""
        return self.rank > 2 and self.order == images(self.rank).order

    def torch(self, axis: int) -> int:
        """Torch's number of Keras' axis; a negative one stays negative where that is the last axis."""
        found = self.order.index(axis % self.rank)
        return -1 if axis < 0 and found == self.rank - 1 else found

    def shape(self, keras: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """A shape in torch's order."""
        return tuple(keras[axis] for axis in self.order)


def plain(rank: int) -> TorchAxes:
    """Keras' own order."""
    return TorchAxes(tuple(range(rank)))


def images(rank: int) -> TorchAxes:
    """N, C, *spatial."""
    return TorchAxes((0, rank - 1, *range(1, rank - 1))) if rank > 2 else plain(rank)


def frames(rank: int) -> TorchAxes:
    """N, T, C, *spatial: films, one image behind another."""
    return TorchAxes((0, 1, rank - 1, *range(2, rank - 1)))


def turned(text: str, before: TorchAxes, after: TorchAxes) -> str:
    """The text of a tensor, an atom, with its axes in another order."""
    if before == after:
        return text
    if before.flat and not after.flat:
        count = len(before.flat)
        shape = ", ".join(map(str, (before.flat[-1], *before.flat[:-1])))
        at = before.rank - 1
        order = ", ".join(map(str, (*range(at), *range(at + 1, at + count), at)))
        return f"{text}.unflatten({at}, ({shape})).permute({order}).flatten({at})"
    moved = tuple(before.order.index(axis) for axis in after.order)
    swapped = [axis for axis in range(len(moved)) if moved[axis] != axis]
    if not swapped:
        return text
    if len(swapped) == 2:
        return f"{text}.transpose({swapped[0]}, {swapped[1]})"
    return f"{text}.permute({', '.join(map(str, moved))})"
