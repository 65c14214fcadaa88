"""Where dropout stands, and what it scales: the same examples halved on both sides, then the same elements dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice, permutations, product
from math import isfinite, prod

from parity.adapters.inputs.fitted import fitted
from parity.core.errors import in_a_line
from parity.core.finding import Finding, Kind
from parity.core.trainer import Dropped, Drops
from parity.core.types import Array, Both, Side
from parity.training.bench import Bench, places_of
from parity.training.dropout.masks import Elements, Examples, Sizes, order_of
from parity.weights.confirmed import relative

BATCHES = (5, 7, 11, 13)
"""Sizes of a batch that are tried: one that no other axis has tells where the examples lie."""
APART = 1e-6
"""Outputs differ where they do by more of their scale: rounding in float64 is far below it."""
SCORES = 4
"""Axes of an attention's scores."""
ORDERS = 24
"""Orders of equal random layers that are tried where the sides run them in another one."""


def compare_places(bench: Bench, dropped: Both[list[Dropped]]) -> None:
    """Drop the same on both sides, which drop as much as one another, and add what differs then to the result.

    Where dropout stands says what follows it: a normalisation, a bias, a sum. What is dropped on one side in front of
    such a step, and on the other behind it, gives the same as long as dropout is off.
    """
    if not dropped.keras:
        return
    found = _Places(bench, dropped).run()
    if isinstance(found, Finding):
        bench.result.findings.append(found)
    elif found:
        bench.result.notes.append(found)


def _of_batch(values: Sequence[Array], size: int) -> list[Array]:
    """The inputs with so many examples; as they are where they do not agree on a batch."""
    batches = {value.shape[0] for value in values if value.ndim}
    return [fitted(value, 0, size) if value.ndim and len(batches) == 1 else value for value in values]


class _Places:
    """One comparison of the places, on a batch whose size tells its axis."""

    def __init__(self, bench: Bench, dropped: Both[list[Dropped]]) -> None:
        self.bench, self.dropped = bench, dropped
        self.inputs = bench.inputs
        self.taken: Both[list[Sizes]] = Both([], [])
        self.off: frozenset[int] = frozenset()

    def run(self) -> Finding | str:
        """A finding where the places differ; else a note on what was compared."""
        batch = self._batch()
        if isinstance(batch, str):
            return f"where dropout stands was not compared: {batch}"
        gap = self._gap(Both(Examples(batch, self.off), Examples(batch, self.off)))
        if not isfinite(gap):
            return "where dropout stands was not compared: the outputs are not finite with what it drops"
        if gap > APART:
            text = "with every second example halved by dropout on both sides the outputs in training mode differ by"
            return self._apart(f"{text} {gap:.2g} of their scale")
        on = [[prod(shape) for i, shape in enumerate(taken) if i not in self.off] for taken in self.taken]
        sizes = Both(*map(sorted, on))
        if sizes.keras != sizes.torch:
            return self._apart("the tensors that are dropped from have other sizes")
        return self._by_elements()

    def _batch(self) -> int | str:
        """A size of the batch that no other axis has, with inputs of it; or why there is none."""
        said = "the models take no other batch"
        for size in BATCHES:
            made = _of_batch(self.bench.inputs.keras, size)
            self.inputs = Both(made, self.bench.to_torch(made))
            plain = Both(Drops(), Drops())
            try:
                gap = self._gap(plain)
            except Exception as error:  # any model, any error: it does not take this batch
                said = f"with a batch of {size} a side raised {in_a_line(error, 120)}"
                continue
            if not self._known(plain):
                return "some of it is within functions of the framework"
            if not gap <= APART:
                return f"the outputs in training mode differ with a batch of {size}"
            on = [shape for taken in self.taken for i, shape in enumerate(taken) if i not in self.off]
            if all(shape.count(size) == 1 for shape in on):
                self._one_for_each(size)
                return size
            said = "some of it is on tensors without an axis that is the batch's alone"
        return said

    def _known(self, plain: Both[Drops]) -> bool:
        """Keep what the random layers take; whether each can be given something else, or is off on both sides.

        What drops the shares of an attention within a function stays off. In Keras that is a layer of its own, on
        scores with axes for heads, queries and keys.
        """
        found = Both(plain.keras.taken, plain.torch.taken)
        if any(len(taken) != len(noted) for taken, noted in zip(found, self.dropped, strict=True)):
            return False
        pairs = list(zip(*found, strict=True))
        self.off = frozenset(i for i, pair in enumerate(pairs) if None in pair)
        scores = [shape for i in self.off for shape in pairs[i] if shape is not None]
        self.taken = Both(*([shape or () for shape in taken] for taken in found))
        return len(self.off) < len(pairs) and all(len(shape) == SCORES for shape in scores)

    def _one_for_each(self, size: int) -> None:
        """A branch that is left out at random has one number for each example, in whatever shape."""
        for taken, items in zip(self.taken, self.dropped, strict=True):
            for i, item in enumerate(items):
                if item.kind == "example" and i not in self.off:
                    taken[i] = (size,)

    def _gap(self, drops: Both[Drops]) -> float:
        """How far apart the outputs of both sides are, of their scale, with these in the place of dropout."""
        sides: tuple[Side, ...] = ("keras", "torch")
        found: list[list[tuple[str, Array]]] = []
        with self.bench.unchanged():
            for side in sides:
                trainer = self.bench.trainers.of(side)
                trainer.drops = drops.of(side)
                try:
                    found.append(trainer.evaluate(self.inputs.of(side), None, training=True).outputs)
                finally:
                    trainer.drops = None
        pairs = zip(found[0], places_of(*found), strict=True)
        return max((relative(value, found[1][place][1]) for (_, value), place in pairs), default=float("inf"))

    def _apart(self, text: str) -> Finding:
        """The finding, with the first places that take unlike tensors."""
        unlike = next(
            (
                i
                for i, (a, b) in enumerate(zip(*self.taken, strict=False))
                if prod(a) != prod(b) and i not in self.off
            ),
            None,
        )
        shown = ""
        if unlike is not None:
            shapes = [taken[unlike][1:] for taken in self.taken]
            shown = f"; place {unlike + 1} drops from examples of shape {shapes[0]} in Keras, {shapes[1]} in torch"
        paths = [items[unlike or 0].path for items in self.dropped]
        text = f"{text}: dropout stands at other places, or what it drops is scaled or used otherwise{shown}"
        fix = "put dropout in front of the same step on both sides"
        return Finding(paths[0], paths[1], Kind.TRAINING, None, text, fix)

    def _by_elements(self) -> Finding | str:
        """The same elements dropped on both sides, in the order in which these run, or in another one."""
        fitted, images = False, tuple(self.bench.pairing.flattened.values())
        for order in islice(self._orders(), ORDERS):
            places = [
                None if i in self.off else (number, order_of(self.taken.keras[number], shape))
                for i, (number, shape) in enumerate(zip(order, self.taken.torch, strict=True))
            ]
            known = [(place[0], place[1]) if place and place[1] is not None else None for place in places]
            if sum(place is None for place in known) > len(self.off):
                continue
            shapes = self.taken.keras
            own = [
                None if i in self.off else (i, tuple(range(sum(length != 1 for length in shape))))
                for i, shape in enumerate(shapes)
            ]
            for flattened in dict.fromkeys((images, ())):
                masks: Both[Drops] = Both(Elements(shapes, own), Elements(shapes, known, flattened))
                gap = self._gap(masks)
                if gap <= APART:
                    return ""
                fitted |= isfinite(gap)
        if not fitted or images or self.bench.pairing.regrouped:
            return (
                "where dropout stands was compared by whole examples: its tensors are laid out in other ways"
            )
        return Finding(None, None, Kind.NOT_COMPARED, None,
                       "with the same elements dropped on both sides the outputs in training mode differ, and with the same "
                       "examples dropped they do not: dropout stands on the other side of a step without a bias, or the "
                       "sides run their random layers in unlike orders",
                       "put dropout in front of the same step on both sides, and call the layers in one order")  # fmt: skip

    def _orders(self) -> Iterator[Sequence[int]]:
        """For each of torch's random layers a number of Keras' of the same rate, kind and size: as they run, first."""

        def sort(side: Side, number: int) -> tuple[float, str, Sizes]:
            item = self.dropped.of(side)[number]
            return round(item.rate, 12), item.kind, tuple(sorted(self.taken.of(side)[number]))

        groups: defaultdict[tuple[float, str, Sizes], Both[list[int]]] = defaultdict(lambda: Both([], []))
        sides: tuple[Side, ...] = ("keras", "torch")
        for side in sides:
            for number in range(len(self.dropped.of(side))):
                groups[(-1.0, "", (number,)) if number in self.off else sort(side, number)].of(side).append(
                    number
                )
        if any(len(group.keras) != len(group.torch) for group in groups.values()):
            yield range(len(self.dropped.torch))
            return
        for chosen in product(*(permutations(group.keras) for group in groups.values())):
            order = [0] * len(self.dropped.torch)
            for group, numbers in zip(groups.values(), chosen, strict=True):
                for place, number in zip(group.torch, numbers, strict=True):
                    order[place] = number
            yield order
