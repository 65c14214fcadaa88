"""Runs both models so that each pair of layers sees identical inputs.

The Keras model is run once and every call of a paired layer is kept. Then the torch model is run with each paired
layer's input and output replaced by what the Keras side had at the same call. So
- what a layer itself does to identical inputs is its own error;
- what arrives at a layer, when all layers before it gave the Keras values, shows the wiring between them;
- nothing propagates: every independent fault shows in the one run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from parity.core.adapter import Adapter, Observer
from parity.core.finding import Kind
from parity.core.layout import activation_to_torch
from parity.core.types import Array
from parity.replay.forced import Spreads
from parity.replay.located import Apart, Call, Compared
from parity.replay.tensors import (
    NEARER,
    PairSpread,
    compare,
    compare_result,
    compare_within,
    is_cut,
    regrouped,
    without_borders,
)


@dataclass
class Row:
    """One Keras call: the layer's own error and the error that arrived, relative; None where not measured."""

    own: float | None = None
    arrived: float | None = None


class Replay(Observer):
    """Feeds the Keras values to the torch layers and notes where they would have differed.

    `keras_spread` and `torch_spread` say how far rounding moves the tensors: of each call, and by the torch path.
    With `gentle`, a call whose sizes are not Keras' gives what torch makes of its own tensors, once it is judged: another
    stride would else end the run at the first sum of two branches. With 1, that leaves out what may be a mere cut.
    Without `judging` the values are put in alone, and no layer is run a second time for what arrived at it.
    `uncut` are calls, by Keras path and number, whose torch result flows on as it is: a part of the Keras result, which
    the Keras model cuts out behind the layer, or the other way round, or a result of another rank. `cut` are the calls that
    may be such. `cuts` are calls of Keras layers without a partner that crop, or that apply an activation.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        match: dict[tuple[str, int], int],
        pairs: dict[str, tuple[str, ...]],
        torch: Adapter,
        uncut: frozenset[tuple[str, int]] = frozenset(),
        cuts: Sequence[Call] = (),
        keras_spread: Sequence[Call] = (),
        torch_spread: Spreads | None = None,
        judging: bool = True,
        gentle: int = 0,
    ) -> None:
        self.gentle = gentle
        self._own: dict[tuple[str, int], list[Array]] = {}
        self._unlike = False
        self.cuts, self.judging = cuts, judging
        self.keras_spread, self.torch_spread = keras_spread, torch_spread or Spreads()
        self.calls, self.match, self.torch, self.pairs, self.uncut = calls, match, torch, pairs, uncut
        self.cut: dict[tuple[str, int], int] = {}
        self.first = {paths[0]: path for path, paths in pairs.items()}
        self.last = {paths[-1]: path for path, paths in pairs.items()}
        self.apart: list[Apart] = []
        self.rows = [Row() for _ in calls]
        self._arrived: dict[tuple[str, int], tuple[list[Array], Compared]] = {}
        self._taken: dict[tuple[str, int], list[Array]] = {}

    def _call(self, names: dict[str, str], path: str, index: int) -> tuple[int, Call] | None:
        position = self.match.get((names[path], index)) if path in names else None
        return None if position is None else (position, self.calls[position])

    def before(self, path: str, index: int, inputs: list[Array]) -> list[Array] | None:
        """Compare what arrives, then put the Keras inputs in its place."""
        found = self._call(self.first, path, index)
        if found is None:
            return None
        position, call = found
        call = replace(call, inputs=regrouped(call.inputs, inputs))
        compared = compare(
            call.inputs, inputs, one_pixel=True, spread=self._arrived_spread(position, path, index)
        )
        if compared.misshapen:
            alike, compared = without_borders(call.inputs, inputs) or (False, compared)
            # One side pads inside the layer, the other in front of it; or one takes the numbers of a table's rows, and
            # the other, as a layer of positions does, data whose shape says them: judge by the result.
            if alike or _numbers_and_data(call.inputs, inputs):
                self._taken[call.path, index] = inputs
                return None
        if compared.misshapen and self.gentle:
            self._own[call.path, index] = inputs
            if self._unlike:  # that follows from the first one
                self._taken[call.path, index] = compared.replacement or inputs
                return compared.replacement
            self._unlike = True
        self.rows[position].arrived = compared.greatest
        self._taken[call.path, index] = inputs if compared.replacement is None else compared.replacement
        if compared.differs:
            self._arrived[call.path, index] = (inputs, compared)
        return compared.replacement

    def after(
        self, path: str, index: int, inputs: list[Array], outputs: list[Array], linear: list[Array] | None
    ) -> list[Array] | None:
        """Compare what the layer made of the Keras inputs, then put the Keras outputs in its place."""
        found = self._call(self.last, path, index)
        if found is None:
            return None
        position, call = found
        taken = self._taken.pop((call.path, index), inputs)
        plain = None if call.linear is None else regrouped(call.linear, outputs)
        given = regrouped(call.inputs, taken)
        call = replace(call, inputs=given, outputs=regrouped(call.outputs, outputs), linear=plain)
        arrived = self._arrived.pop((call.path, index), None)
        spreads = self._result_spreads(position, path, index)
        if arrived is not None and self.judging:
            own, replacement = self._on_its_own_input(call, arrived[0], spreads)
            if own:  # a step in front of the layer on one side is part of the layer on the other
                self.rows[position].own = 0.0
                return replacement
            text = f"input differs: {arrived[1].text}"
            self.apart.append(
                Apart(
                    position - 0.25,
                    call,
                    Kind.WIRING,
                    text,
                    arrived[0],
                    [],
                    call.inputs,
                    index,
                    _size(arrived[1]),
                )
            )
        compared, keras_result = compare_result(call, outputs, *spreads)
        if compared.misshapen:
            call = self._cut_behind(call, outputs)
            compared, keras_result = compare_result(call, outputs, *spreads)
        parts = self._parts(call, keras_result, outputs) if compared.misshapen else None
        if parts is not None:
            self.cut[call.path, call.index] = parts
            if (call.path, call.index) in self.uncut:
                self.rows[position].own = 0.0
                return None
        inside = None
        if compared.differs and not compared.misshapen:
            found_within = compare_within(call, outputs, self.cuts, spreads[0])
            if found_within is not None and _size(found_within[0]) < NEARER * _size(compared):
                compared, inside = found_within
        self.rows[position].own = compared.greatest
        if compared.differs:
            kind = Kind.SHAPE if arrived is None and compared.misshapen else Kind.LAYER
            text = f"on identical inputs: {compared.text}"
            size = _size(compared)
            self.apart.append(
                Apart(position, call, kind, text, taken, outputs, keras_result, index, size, inside)
            )
        return self._going_on(call, path, index, compared)

    @staticmethod
    def _parts(call: Call, keras: Sequence[Array], torch: Sequence[Array]) -> int | None:
        """How many other findings a layer must cause that does a part of the work alone; None where it is no such layer.

        Where one result is a part of the other's, a cut may follow; or a fault of the layer. Where the ranks differ (looked
        up rows, and their mean), the layers cannot be the same.
        """
        if len(keras) != 1 or len(torch) != 1:
            return None
        if keras[0].ndim != torch[0].ndim:
            return 0
        return 1 if any(is_cut(result[0], torch[0]) for result in (keras, call.linear) if result) else None

    def _going_on(self, call: Call, path: str, index: int, compared: Compared) -> list[Array] | None:
        """What is put in place of a result: the Keras one, or what torch makes of its own tensors of other sizes."""
        own = self._own.pop((call.path, index), None)
        if own is not None and len(self.pairs[call.path]) == 1:
            try:
                return list(self.torch.run_layer(path, own))
            except Exception:  # it cannot take them: the run ends where it would have ended
                return compared.replacement
        if compared.misshapen and self.gentle > ((call.path, call.index) in self.cut):
            self._unlike = True
            return None
        return compared.replacement

    def _cut_behind(self, call: Call, outputs: Sequence[Array]) -> Call:
        """The call with what the Keras model cuts out of its result, where that has the shape of torch's result."""
        if len(call.outputs) != 1 or len(outputs) != 1 or outputs[0].ndim < 3:
            return call
        for cut in self.cuts:
            shape = activation_to_torch(cut.outputs[0]).shape
            if (
                cut.outputs[0].size < cut.inputs[0].size
                and shape == outputs[0].shape
                and np.array_equal(cut.inputs[0], call.outputs[0])
            ):
                return Call(call.path, call.index, call.inputs, [cut.outputs[0]])
        return call

    def _arrived_spread(self, position: int, path: str, index: int) -> PairSpread:
        keras = self.keras_spread[position].inputs if self.keras_spread else ()
        return PairSpread(keras, self.torch_spread.arrived.get((path, index), ()))

    def _result_spreads(self, position: int, path: str, index: int) -> tuple[PairSpread, PairSpread]:
        """Of the results, and of the results with Keras' before its built-in activation."""
        torch = self.torch_spread.results.get((path, index), ())
        if not self.keras_spread:
            return PairSpread((), torch), PairSpread((), torch)
        keras = self.keras_spread[position]
        return PairSpread(keras.outputs, torch), PairSpread(keras.linear or (), torch)

    def _on_its_own_input(
        self, call: Call, inputs: list[Array], spreads: tuple[PairSpread, PairSpread]
    ) -> tuple[bool, list[Array] | None]:
        """Whether the layer gives the Keras output from the input that the torch model gave it."""
        if len(self.pairs[call.path]) > 1:
            return False, None
        try:
            outputs = self.torch.run_layer(self.pairs[call.path][0], inputs)
        except Exception:  # it cannot even take it: the input is what is wrong
            return False, None
        compared, _ = compare_result(call, outputs, *spreads)
        return not compared.differs, compared.replacement


def _numbers_and_data(keras: Sequence[Array], torch: Sequence[Array]) -> bool:
    """Whether one side alone takes whole numbers."""
    kinds = [{value.dtype.kind for value in values} for values in (keras, torch)]
    return all(kinds) and (kinds[0] <= set("iu")) != (kinds[1] <= set("iu"))


def _size(compared: Compared) -> float:
    return float("inf") if compared.greatest is None else compared.greatest
