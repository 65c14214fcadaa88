"""The attentions of both sides, one with one, and at which place what tells two of them apart is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from parity.causes.attention.explain import explain_site
from parity.causes.attention.rotary import Turning, turning
from parity.causes.attention.sites import Attending, Site, attending
from parity.causes.case import Explanation, Hypothesis
from parity.core.adapter import Adapter
from parity.core.finding import ROOT, Kind
from parity.core.types import Array
from parity.replay.located import Apart, Located


class Attentions:
    """Both sides' attentions, where both have as many, and the causes that tell them apart.

    Args:
        keras, torch: the sides.
        inputs: the model inputs of each.
        forced: while it is open, torch's paired layers give the Keras values, attention layers aside.
    """

    def __init__(
        self,
        keras: Adapter,
        torch: Adapter,
        inputs: Mapping[str, Sequence[Array]],
        forced: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.runs: tuple[Attending, Attending] | None = None
        self.found: list[tuple[int, str, list[Explanation]]] = []
        of_keras = attending(keras, inputs["keras"])
        if not of_keras.sites:
            return
        of_torch = attending(torch, inputs["torch"], forced)
        if len(of_keras.sites) != len(of_torch.sites):
            return
        self.runs = of_keras, of_torch
        for first, second in zip(of_keras.sites, of_torch.sites, strict=True):
            turnings = partial(_turnings, (of_keras, of_torch), (first, second))
            place = first.scope or ROOT, second.scope or ROOT
            explanations = explain_site(first, second, place, turnings)
            if explanations:
                self.found.append((first.end, first.scope, explanations))

    def of(self, apart: Apart, places: Sequence[Located], whole: Mapping[str, bool]) -> list[Hypothesis]:
        """What the attentions say of a difference: of those of which it is the first one behind, or which are in it.

        Args:
            apart: the difference.
            places: all differences, in execution order.
            whole: whether a Keras layer computes as one step, by its path.
        """
        explanations = [
            item
            for end, scope, found in self.found
            if next((known.apart for known in places if self._shows(known.apart, end, scope, whole)), None)
            is apart
            for item in found
        ]
        unique = {(item.cause, item.fix): item for item in reversed(explanations)}
        return [Hypothesis(tuple(reversed(unique.values())))] if unique else []

    def _shows(self, apart: Apart | None, end: int, scope: str, whole: Mapping[str, bool]) -> bool:
        """Whether a difference is one that an attention may make."""
        if apart is None or self.runs is None:
            return False
        if apart.kind == Kind.OUTPUT:
            return True
        path = apart.call.path
        if whole.get(path, False):
            return f"{scope}.".startswith(f"{path}.")
        calls = self.runs[0].trace.calls(path)
        return (
            apart.kind == Kind.WIRING and len(calls) > apart.call.index and calls[apart.call.index].id > end
        )


def _turnings(
    runs: tuple[Attending, Attending], sites: tuple[Site, Site]
) -> tuple[Turning | None, Turning | None]:
    return turning(runs[0], sites[0]), turning(runs[1], sites[1])
