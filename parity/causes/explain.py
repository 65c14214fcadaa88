"""Puts causes to what was located: gathers for each place the tensors and weights that the evidence is read from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain

import numpy as np

from parity.causes.attention.match import Attentions
from parity.causes.attention.positions import explain_positions
from parity.causes.between import Between, applied_twice
from parity.causes.case import Case, Explanation, Hypothesis
from parity.causes.cases import case_of
from parity.causes.cells.states import explain_states
from parity.causes.confirm import chosen, differing_elements, enough, unverified
from parity.causes.findings import exchanged_strides, explained
from parity.causes.layers import explain_layer
from parity.causes.norms.explain import named_after
from parity.causes.one_sided import OneSided
from parity.causes.regions.edited import Goal
from parity.causes.regions.goals import goals_of
from parity.causes.regions.placed import between_steps
from parity.causes.regions.settle import settled_by
from parity.causes.steps.budget import USED_UP, WORK, Budget, BudgetSpent
from parity.causes.steps.identify import identify
from parity.causes.wiring import Tensor, explain_arrival
from parity.core.adapter import Adapter
from parity.core.errors import in_a_line
from parity.core.finding import Finding, Kind
from parity.core.layout import activation_to_torch, aligned
from parity.core.trace import Source
from parity.core.types import RECURRENT, Array
from parity.pairing.pair import Pairing
from parity.pairing.slots import Slot
from parity.replay.located import Apart, Call, Located
from parity.replay.tensors import compare

Again = Callable[[], AbstractContextManager["Explainer | None"]]
"""Opens the same two models on another input and with other weights; None where they cannot be run so."""

NOT_LOOKED_FOR = "; its cause could not be looked for ({})"


class Explainer:
    """Explains the differences of one localisation.

    Args:
        keras, torch: the sides, in the precision to judge in.
        pairing: which tensors correspond.
        pairs: Keras path -> torch path or paths of the layers that were held against each other.
        calls: the Keras calls in execution order.
        inputs: the model inputs of each side.
        flattened: (H, W, C) of the image that was flattened in front of a Keras layer, by its path.
        record: records both sides step by step, for what happens between the layers.
    """

    def __init__(
        self,
        keras: Adapter,
        torch: Adapter,
        pairing: Pairing,
        pairs: Mapping[str, tuple[str, ...]],
        calls: Sequence[Call],
        inputs: Mapping[str, Sequence[Array]],
        flattened: Mapping[str, tuple[int, ...]],
        record: Callable[[Sequence[tuple[int, ...]]], Between],
    ) -> None:
        self._record, self.work = record, WORK
        self.keras, self.torch, self.pairs, self.calls, self.inputs = keras, torch, pairs, calls, inputs
        self.layers = keras.layers(), torch.layers()
        self.alone = OneSided(keras, torch)
        self.slots: dict[str, tuple[Slot, ...]] = {}
        for pair in pairing.pairs:
            self.slots[pair.keras] = (*self.slots.get(pair.keras, ()), *pair.slots)
        known = [*flattened.values(), *(change.sizes for change in pairing.regrouped.values())]
        self.images = sorted({(image[-1], *image[:-1]) for image in known})

    def explain(self, located: Sequence[Located], again: Again | None = None) -> list[Located]:
        """The same differences, each with its causes (one finding a cause), without mere consequences.

        Args:
            located: the differences.
            again: gives the same on another input and with other weights; None where that is not asked for.
        """
        self.prepare(located)
        places = [(item, item.apart) for item in self.places if item.apart is not None]
        budget = Budget(self.work // 2)  # the same again for trying what was found here
        asked = [
            (item, self._within(budget, len(places) - i, apart)) for i, (item, apart) in enumerate(places)
        ]
        goals = self._goals([item for item, _ in places])
        budget.left += self.work - self.work // 2
        changes = Budget(self.work // 2)  # for changing single steps
        found: list[Located] = []
        with again() if again is not None and (asked or self.settled) else nullcontext() as second:
            for i, (item, (hypotheses, trouble)) in enumerate(asked):
                behind = any(call.order < item.order for call in self.one_sided)
                # What a call that one side alone makes explains as well is no missing addition.
                unsure = behind and item.finding.kind != Kind.LAYER
                if unsure:
                    hypotheses = (h for h in hypotheses if "skip-missing" not in {c for c, _ in h.claims})
                places_left = len(asked) - i
                explanations, trouble = _looked_for(
                    budget, places_left, trouble, partial(self._chosen, item, hypotheses, second)
                )
                known = bool(explanations)
                if not known and goals[i] and not unsure:
                    explanations, trouble = _looked_for(
                        changes, places_left, trouble, partial(self._settled_by, item, goals[i], second)
                    )
                if explanations or not unsure:
                    placed = item if trouble else self._placed(item, not known)
                    found += explained(placed, explanations, trouble)
            for i, item in enumerate(self.one_sided):
                finding = self.alone.described(item.finding, self._settled(i, item.finding, second))
                found.append(replace(item, finding=finding))
        return exchanged_strides(sorted(found, key=lambda item: item.order))

    def prepare(self, located: Sequence[Located]) -> None:
        """Sort what was located: calls that one side alone makes, what these settle, and the places that remain."""
        self.one_sided = self.alone.proven(located, lambda: self.between)
        self.settled: set[int] = set()
        self.places: list[Located] = []
        for item in located:
            if item.apart is None:
                continue
            behind = [i for i, call in enumerate(self.one_sided) if call.order < item.order]
            if item.apart.kind in {Kind.WIRING, Kind.OUTPUT} and behind:
                by = next(
                    (i for i in behind if self.alone.follows(self.one_sided[i].finding, item.apart)), None
                )
                if by is not None:
                    self.settled.add(by)
                    continue
            if not self._of_whole_result(item.apart, self.places):
                self.places.append(item)

    def _settled(self, number: int, finding: Finding, second: Explainer | None) -> bool | None:
        """Whether a call made alike settles what follows: False where not, None where on this input alone."""
        if number not in self.settled:
            return False
        if second is None:
            return None
        known = {_place_of(second.one_sided[i].finding) for i in second.settled}
        return True if _place_of(finding) in known else None

    @staticmethod
    def _of_whole_result(apart: Apart, before: Sequence[Located]) -> bool:
        """Whether another shape arrives because an earlier layer, whose shape differs, was given the Keras result."""
        if (
            apart.kind != Kind.WIRING
            or not apart.keras_result
            or apart.keras_result[0].size == apart.inputs[0].size
        ):
            return False
        given = [activation_to_torch(value).shape for item in before if item.finding.kind == Kind.SHAPE and item.apart
                 for value in item.apart.keras_result]  # fmt: skip
        return apart.inputs[0].shape in given

    # --- layers and what arrives at them ------------------------------------------------------------

    def _within(self, budget: Budget, places: int, apart: Apart) -> tuple[Iterable[Hypothesis], str]:
        """The hypotheses, as far as the work allows that is left for so many places."""
        try:
            with budget.shared(places):
                return self._hypotheses(apart)
        except BudgetSpent:
            return [], USED_UP.format(budget.share)

    def _hypotheses(self, apart: Apart) -> tuple[Iterable[Hypothesis], str]:
        """What may explain a difference, or why that could not be looked for: the difference itself is proven."""
        try:
            attended = self._of_attention(apart)
            if apart.kind in {Kind.WIRING, Kind.OUTPUT}:
                return chain(attended, self._of_arrival(apart, self._recorded())), ""
            return [*attended, *explain_layer(self._case(apart))], ""
        except Exception as error:  # any tensors, any error: it costs the name, not the verdict
            return [], NOT_LOOKED_FOR.format(in_a_line(error))

    def _placed(self, item: Located, listed: bool) -> Located:
        """The difference with where the steps are written that lead to it from tensors that agree; and the steps."""
        apart = item.apart
        if apart is None or apart.kind not in {Kind.WIRING, Kind.OUTPUT}:
            return item
        try:
            number = next(
                i for i, (keras, torch) in enumerate(zip(apart.keras_result, apart.inputs, strict=False))
                if compare([keras], [torch]).differs
            )  # fmt: skip
            ends = self._ends(apart, number, self.between)
            return item if ends is None else between_steps(item, self.between, ends, self._sides, listed)
        except Exception:  # any model, any error: it costs the place, not the verdict
            return item

    # --- one torch step changed ---------------------------------------------------------------------

    def _goals(self, places: Sequence[Located]) -> list[list[Goal]]:
        """What torch should give at each place, with its steps as they run now; nothing where they are not known."""
        return goals_of(
            [item.apart for item in places if item.apart is not None],
            lambda: self.between,
            lambda apart, number: self._ends(apart, number, self.between),
            (self.torch, self.pairs),
        )

    def _settled_by(
        self, item: Located, goals: Sequence[Goal], second: Explainer | None
    ) -> list[Explanation]:
        """The one change of one torch step that settles a place, on the other input too."""
        assert item.apart is not None
        twin = None
        if second is not None:
            twin = next((known for known in second.places if _same_place(item, known)), None)
        again = None if second is None or twin is None else second._goals([twin])[0]
        found = settled_by(goals, again, self._place(item.apart)[1])
        if item.apart.kind is not Kind.LAYER:
            return found
        path = item.apart.call.path
        families = self.layers[0][path].family, self.layers[1][self.pairs[path][-1]].family
        return [named_after(one, families) for one in found]

    @property
    def _sides(self) -> tuple[Adapter, Adapter]:
        return self.keras, self.torch

    def _recorded(self) -> Between:
        """The steps of both sides, recorded at the latest now: weights may change later."""
        return self.between

    def _chosen(
        self, item: Located, hypotheses: Iterable[Hypothesis], second: Explainer | None
    ) -> list[Explanation]:
        """The explanations that hold on another input and other weights too."""
        apart = item.apart
        assert apart is not None
        if second is None:
            return [unverified(known) for known in next(iter(hypotheses), Hypothesis(())).explanations]
        first = list(zip(apart.keras_result, apart.outputs or apart.inputs, strict=False))
        twin = next((known.apart for known in second.places if _same_place(item, known)), None)

        def holds(hypothesis: Hypothesis) -> bool | None:
            if hypothesis.steps is not None:
                try:
                    answer, values = second.between.holds(hypothesis, self._place(apart))
                except Exception:  # any model, any error: the other input says nothing
                    return None
                own = self.between.values(hypothesis)
                return answer and (own is None or values is None or enough(own, values))
            if twin is None:
                return None
            if hypothesis.claims not in [known.claims for known in second.again_at(twin)]:
                return False
            return enough(*first, *zip(twin.keras_result, twin.outputs or twin.inputs, strict=False))

        return chosen(hypotheses, holds, sum(differing_elements(*pair) for pair in first))

    def again_at(self, apart: Apart) -> list[Hypothesis]:
        """Everything that may explain a difference of this localisation, steps between the layers aside."""
        attended = self._of_attention(apart)
        if apart.kind in {Kind.WIRING, Kind.OUTPUT}:
            return [*attended, *self._of_tensors(apart, self.between)]
        return [*attended, *explain_layer(self._case(apart))]

    def _of_attention(self, apart: Apart) -> list[Hypothesis]:
        """What the attentions in front of a place, or in it, say of it."""
        try:
            whole = {path: layer.whole for path, layer in self.layers[0].items()}
            return self.attentions.of(apart, self.places, whole)
        except Exception:  # any model, any error: other causes are looked for
            return []

    @cached_property
    def attentions(self) -> Attentions:
        """The attentions of both sides."""
        free = {path for path, layer in self.layers[1].items() if layer.whole}
        return Attentions(self.keras, self.torch, self.inputs, lambda: self.between.forced(free))

    @cached_property
    def between(self) -> Between:
        """The steps of both sides."""
        return self._record(self.images)

    def _place(self, apart: Apart) -> tuple[str, str]:
        """What to call a place on either side."""
        if apart.kind == Kind.OUTPUT:
            return "the output", "the output"
        return apart.call.path, ", ".join(self.pairs[apart.call.path])

    def _of_arrival(self, apart: Apart, between: Between) -> Iterator[Hypothesis]:
        """What may explain that another tensor arrives: by the steps in front, else by the tensors alone."""
        for number, (keras, torch) in enumerate(zip(apart.keras_result, apart.inputs, strict=False)):
            ends = self._ends(apart, number, between)
            if ends is not None and compare([keras], [torch]).differs:
                for item in between.explain(*ends, self._place(apart)):
                    softmax = (self._second_softmax(known, apart) for known in item.explanations)
                    yield replace(item, explanations=tuple(softmax), seen=item.claims)
        yield from self._of_tensors(apart, between)

    def _of_tensors(self, apart: Apart, between: Between) -> Iterator[Hypothesis]:
        for number, (keras, torch) in enumerate(zip(apart.keras_result, apart.inputs, strict=False)):
            ends = self._ends(apart, number, between)
            if compare([keras], [torch]).differs:
                place = self._place(apart)
                if number and self.layers[0][apart.call.path].family in RECURRENT:
                    states = explain_states(apart.keras_result, apart.inputs, place)
                    yield from (Hypothesis((item,)) for item in states)
                for item in explain_positions(keras, torch, place) if keras.dtype.kind in "iu" else ():
                    yield Hypothesis((item,))
                for item in explain_arrival(*channels_first(keras, torch), self._sources(apart), place):
                    if ends is None or between.possible(item.cause, *ends):
                        yield Hypothesis((self._second_softmax(item, apart),))

    @staticmethod
    def _second_softmax(item: Explanation, apart: Apart) -> Explanation:
        """The same, where the layer at which another tensor arrives is a softmax."""
        if apart.kind != Kind.WIRING or len(apart.call.inputs) != 1 or len(apart.call.outputs) != 1:
            return item
        step = identify(activation_to_torch(apart.call.inputs[0]), activation_to_torch(apart.call.outputs[0]))
        return item if step is None else applied_twice(item, step.kind)

    def _ends(self, apart: Apart, number: int, between: Between) -> tuple[Source, Source] | None:
        """Which output of which step of either side the number-th tensor of this place is; None where not known."""
        keras, torch = between.traces["keras"], between.traces["torch"]
        if apart.kind == Kind.OUTPUT:
            return keras.outputs[number][1], torch.outputs[number][1]
        keras_calls = keras.calls(apart.call.path)
        torch_path = self.pairs[apart.call.path][0]
        torch_calls = torch.calls(torch_path)
        if len(keras_calls) <= apart.call.index or len(torch_calls) <= apart.index:
            return None
        inputs = keras_calls[apart.call.index].inputs, torch_calls[apart.index].inputs
        # Of attention, query, key and value stand in another order there.
        if number >= min(map(len, inputs)) or (number and self.layers[1][torch_path].whole):
            return None
        return inputs[0][number], inputs[1][number]

    def _sources(self, apart: Apart) -> list[Tensor]:
        """The model's inputs, and what layers gave before this place, in execution order."""
        found = [
            Tensor(f"input {i}", np.asarray(value), True) for i, value in enumerate(self.inputs["torch"])
        ]
        for position, call in enumerate(self.calls):
            if position >= apart.order:
                break
            for value in call.outputs:
                if value.dtype.kind == "f":
                    found.append(Tensor(f"the output of {call.path}", activation_to_torch(value)))
        return found

    def _case(self, apart: Apart) -> Case:
        path = apart.call.path
        layers = self.layers[0][path], self.layers[1][self.pairs[path][-1]]
        sides = self.keras, self.torch
        return case_of(apart, sides, layers, self.pairs[path], self.slots.get(path, ()), self.images)


def _looked_for(
    budget: Budget, places: int, trouble: str, search: Callable[[], list[Explanation]]
) -> tuple[list[Explanation], str]:
    """What a search finds within the share of one of so many places, and why it found nothing; else what was known."""
    try:
        with budget.shared(places):
            found = search()
        return found, "" if found else trouble
    except BudgetSpent:
        return [], trouble or USED_UP.format(budget.share)
    except Exception as error:  # any tensors, any error: it costs the name, not the verdict
        return [], trouble or NOT_LOOKED_FOR.format(in_a_line(error))


def _same_place(first: Located, second: Located) -> bool:
    """Whether two differences of two localisations are at one call."""
    a, b = first.apart, second.apart
    return (
        a is not None and b is not None and a.kind == b.kind and a.call.path == b.call.path
        and a.call.index == b.call.index
    )  # fmt: skip


def _place_of(finding: Finding) -> tuple[str | None, str | None, Kind]:
    return finding.keras, finding.torch, finding.kind


def channels_first(keras: Array, torch: Array) -> tuple[Array, Array]:
    """A Keras tensor and torch's, both channels first."""
    fit = aligned(keras, torch) if keras.ndim == torch.ndim else None
    if fit is not None and fit[1] == "as it is":
        return activation_to_torch(keras), activation_to_torch(torch)
    return activation_to_torch(keras), torch
