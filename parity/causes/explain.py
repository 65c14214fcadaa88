"""Puts causes to what was located: gathers for each place the tensors and weights that the evidence is read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from parity.causes.between import Between, applied_twice
from parity.causes.case import Case, Explanation
from parity.causes.layers import explain_layer
from parity.causes.steps.identify import identify
from parity.causes.wiring import Tensor, explain_arrival
from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind, in_a_line
from parity.core.layout import activation_to_keras, activation_to_torch, aligned
from parity.core.types import Array
from parity.pairing.pair import Pairing
from parity.replay.located import Apart, Call, Located
from parity.replay.tensors import compare


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
        self._record = record
        self.keras, self.torch, self.pairs, self.calls, self.inputs = keras, torch, pairs, calls, inputs
        self.layers = keras.layers(), torch.layers()
        self.slots = {item.keras: item.slots for item in pairing.pairs}
        self.images = sorted({(image[-1], *image[:-1]) for image in flattened.values()})

    def explain(self, located: Sequence[Located]) -> list[Located]:
        """The same differences, each with its causes (one finding a cause), without mere consequences."""
        one_sided = [item for item in located if item.finding.kind in {Kind.MISSING_CALL, Kind.EXTRA_CALL}]
        found: list[Located] = []
        settled: dict[int, str] = {}
        for item in located:
            if item.apart is None:
                continue
            behind = [i for i, call in enumerate(one_sided) if call.order < item.order]
            if item.apart.kind in {Kind.WIRING, Kind.OUTPUT} and behind:
                by = next((i for i in behind if self._follows(one_sided[i].finding, item.apart)), None)
                if by is not None:
                    settled.setdefault(by, "with the call made alike, what arrives behind it agrees")
                    continue
            if self._of_whole_result(item.apart, found):
                continue
            explanations, trouble = self._explanations(item.apart)
            if (
                behind and item.apart.kind != Kind.LAYER
            ):  # what a call that one side alone makes explains as well
                explanations = [known for known in explanations if known.cause != "skip-missing"]
                if not explanations:
                    continue
            found += _explained(item, explanations, trouble)
        for i, item in enumerate(one_sided):
            found.append(replace(item, finding=self._of_call(item.finding, settled.get(i))))
        return _exchanged_strides(sorted(found, key=lambda item: item.order))

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

    # --- calls that one side alone makes ------------------------------------------------------------

    def _follows(self, finding: Finding, apart: Apart) -> bool:
        """Whether the layer that one side alone runs turns what arrived into what should have, or back."""
        missing = finding.kind == Kind.MISSING_CALL
        path = finding.keras if missing else finding.torch
        layers = self.layers[0 if missing else 1]
        if path not in layers or len(apart.keras_result) != 1 or len(apart.inputs) != 1:
            return False
        try:
            if missing:
                value = self.keras.run_layer(path, [activation_to_keras(apart.inputs[0])])
                return not compare(value, apart.inputs if value[0].shape != apart.keras_result[0].shape else
                                   [activation_to_torch(apart.keras_result[0])]).differs  # fmt: skip
            value = self.torch.run_layer(path, [activation_to_torch(apart.keras_result[0])])
            return not compare([activation_to_keras(apart.inputs[0])], value).differs
        except Exception:  # any layer, any error: it does not fit here
            return False

    def _of_call(self, finding: Finding, settled: str | None) -> Finding:
        """A missing or extra call with what it does, where that is an activation."""
        missing = finding.kind == Kind.MISSING_CALL
        path = finding.keras if missing else finding.torch
        fix = f"call {path} on the {'torch' if missing else 'Keras'} side too"
        text = f"{finding.evidence}; {settled}" if settled else finding.evidence
        if self._is_activation(path, missing):
            return replace(
                finding, cause="activation-missing", evidence=text, fix=fix, fix_verified=bool(settled)
            )
        return replace(finding, evidence=text, fix=fix if settled else None, fix_verified=bool(settled))

    def _is_activation(self, path: str | None, missing: bool) -> bool:
        layers = self.layers[0 if missing else 1]
        if path not in layers or not layers[path].leaf or layers[path].tensors:
            return False
        probe = np.random.default_rng(0).normal(0.0, 3.0, (2, 3, 5, 4))
        try:
            if missing:
                value = activation_to_torch(self.keras.run_layer(path, [activation_to_keras(probe)])[0])
            else:
                value = self.torch.run_layer(path, [probe])[0]
        except Exception:
            return False
        step = identify(probe, value)
        return step is not None and step.kind in {"activation", "softmax"}

    # --- layers and what arrives at them ------------------------------------------------------------

    def _explanations(self, apart: Apart) -> tuple[list[Explanation], str]:
        """The causes, or why they could not be looked for: the difference itself is proven already."""
        try:
            if apart.kind in {Kind.WIRING, Kind.OUTPUT}:
                return self._of_arrival(apart), ""
            return explain_layer(self._case(apart)), ""
        except Exception as error:  # any tensors, any error: it costs the name, not the verdict
            return [], f"; its cause could not be looked for ({in_a_line(error)})"

    @cached_property
    def between(self) -> Between:
        """The steps of both sides."""
        return self._record(self.images)

    def _of_arrival(self, apart: Apart) -> list[Explanation]:
        path = apart.call.path
        at_end = apart.kind == Kind.OUTPUT
        place = ("the output", "the output") if at_end else (path, ", ".join(self.pairs[path]))
        for number, (keras, torch) in enumerate(zip(apart.keras_result, apart.inputs, strict=False)):
            if compare([keras], [torch]).differs:
                found = self._by_steps(apart, number, place)
                found = found or explain_arrival(*channels_first(keras, torch), self._sources(apart), place)
                if found:
                    return [self._second_softmax(item, apart) for item in found]
        return []

    @staticmethod
    def _second_softmax(item: Explanation, apart: Apart) -> Explanation:
        """The same, where the layer at which another tensor arrives is a softmax."""
        if apart.kind != Kind.WIRING or len(apart.call.inputs) != 1 or len(apart.call.outputs) != 1:
            return item
        step = identify(activation_to_torch(apart.call.inputs[0]), activation_to_torch(apart.call.outputs[0]))
        return item if step is None else applied_twice(item, step.kind)

    def _by_steps(self, apart: Apart, number: int, place: tuple[str, str]) -> list[Explanation]:
        """What the steps on both sides show that lead to the number-th tensor of this place."""
        keras, torch = self.between.traces["keras"], self.between.traces["torch"]
        if apart.kind == Kind.OUTPUT:
            sources = keras.outputs[number][1], torch.outputs[number][1]
        else:
            keras_calls = keras.calls(apart.call.path)
            torch_calls = torch.calls(self.pairs[apart.call.path][0])
            if len(keras_calls) <= apart.call.index or len(torch_calls) <= apart.index:
                return []
            inputs = keras_calls[apart.call.index].inputs, torch_calls[apart.index].inputs
            if number >= min(map(len, inputs)):
                return []
            sources = inputs[0][number], inputs[1][number]
        return self.between.explain(*sources, place)

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
        torch_paths = self.pairs[path]
        keras, torch = self.layers[0][path], self.layers[1][torch_paths[-1]]
        weights: tuple[dict[str, Array], dict[str, Array]] = {}, {}
        for slot in self.slots.get(path, ()):
            name = slot.torch.rpartition(".")[2] if len(torch_paths) == 1 else slot.torch
            weights[0][name] = slot.layout.to_torch(self.keras.read(slot.keras))
            weights[1][name] = self.torch.read(slot.torch)

        def rerun(values: Mapping[str, Array], settings: Mapping[str, Any]) -> Array | None:
            if len(torch_paths) != 1:
                return None
            outputs = self.torch.trial(torch_paths[0], apart.inputs, values, settings)
            return outputs[0] if outputs else None

        return Case(
            path, ", ".join(torch_paths), (keras.family, torch.family), (keras.settings, torch.settings),
            list(apart.call.inputs), apart.keras_result[0], list(apart.inputs), apart.outputs[0], weights,
            self.images, rerun,
        )  # fmt: skip


def channels_first(keras: Array, torch: Array) -> tuple[Array, Array]:
    """A Keras tensor and torch's, both channels first."""
    fit = aligned(keras, torch) if keras.ndim == torch.ndim else None
    if fit is not None and fit[1] == "as it is":
        return activation_to_torch(keras), activation_to_torch(torch)
    return activation_to_torch(keras), torch


def _explained(item: Located, explanations: Sequence[Explanation], trouble: str) -> list[Located]:
    """One finding for each cause; the finding as it is where there is none."""
    found = []
    for known in explanations:
        finding = replace(
            item.finding, cause=known.cause, evidence=f"{item.finding.evidence}; {known.evidence}",
            fix=known.fix, fix_verified=known.verified,
        )  # fmt: skip
        if known.layers is not None:  # two layers without weights between this place and the one before
            finding = replace(finding, keras=known.layers[0], torch=known.layers[1], kind=Kind.LAYER)
        found.append(replace(item, finding=finding, strides=known.strides))
    return found or [replace(item, finding=replace(item.finding, evidence=item.finding.evidence + trouble))]


def _exchanged_strides(located: list[Located]) -> list[Located]:
    """Two neighbouring convolutions, each with the stride of the other: one cause for both."""
    found = list(located)
    strided = [i for i, item in enumerate(found) if item.strides is not None]
    for i, j in pairwise(strided):
        first, second = found[i].strides, found[j].strides
        if first and second and first == second[::-1]:
            for k, neighbour in ((i, j), (j, i)):
                finding = found[k].finding
                text = f"{finding.evidence}; {found[neighbour].finding.keras} has the two exchanged"
                fix = f"exchange the strides of {found[i].finding.torch} and {found[j].finding.torch}"
                found[k] = replace(
                    found[k], finding=replace(finding, cause="stride-placement", evidence=text, fix=fix)
                )
    return found
