"""Where two models part, and why: every independent fault, in execution order.

Both models are run so that each pair of layers sees identical inputs (parity.replay.replay). What a layer itself does to
them is its own error ("layer"); what arrives at a layer, when all layers before it gave the Keras values, shows the
wiring between them ("wiring"). The causes are read from the tensors (parity.causes).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.adapters.inputs.padding import masks_zero, padded_like
from parity.adapters.probe import to_torch_inputs
from parity.core.adapter import Adapter
from parity.core.errors import in_a_line
from parity.core.finding import ROOT, Finding, Kind
from parity.core.store import Store
from parity.core.types import Array
from parity.pairing.pair import Pairing
from parity.replay.forced import KerasValues, Spreads, forced_spreads
from parity.replay.located import Apart, Call, Located
from parity.replay.record import CallLog, in_torch_order, match_calls
from parity.replay.replay import Replay
from parity.replay.tensors import PairSpread, output_findings
from parity.verdict.calls import one_sided_calls, watched_pairs, weightless
from parity.verdict.layer_table import layer_rows
from parity.verdict.runs import progress

if TYPE_CHECKING:
    from parity.causes.between import Between
    from parity.causes.explain import Explainer

SEED = 1
"""Of the other input and the other weights on which causes are tried again."""

_Run = tuple[Replay, list[Array] | None, tuple[str, str] | None]
"""A replay, what torch gave in it, and the error that ended it."""

GROSS = 1e-2
"""Relative to the scale: a difference that is called none of rounding before the Keras side's is measured."""


@dataclass
class Localised:
    """Findings in execution order, and one row for each call of a paired layer."""

    findings: list[Finding] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)


def localise(
    keras: Adapter,
    torch: Adapter,
    pairing: Pairing,
    keras_inputs: Sequence[Array],
    torch_inputs: Sequence[Array],
    flattened: Mapping[str, tuple[int, ...]] | None = None,
) -> Localised:
    """Every independent difference, in execution order, with its causes.

    Args:
        keras: the Keras side, already in the precision to judge in (float64).
        torch: the torch side, likewise.
        pairing: which layer is which.
        keras_inputs: model inputs in the Keras layout.
        torch_inputs: the same in the torch layout.
        flattened: (H, W, C) of the image that was flattened in front of a Keras layer, by its path.
    """
    with Store() as store:
        return _Localisation(keras, torch, pairing, keras_inputs, torch_inputs, flattened or {}, store).run()


class _Localisation:
    """One localisation: the two sides, their pairs, and what was recorded."""

    def __init__(
        self,
        keras: Adapter,
        torch: Adapter,
        pairing: Pairing,
        keras_inputs: Sequence[Array],
        torch_inputs: Sequence[Array],
        flattened: Mapping[str, tuple[int, ...]],
        store: Store,
    ) -> None:
        self.keras, self.torch, self.pairing, self.flattened = keras, torch, pairing, flattened
        self.inputs = {"keras": keras_inputs, "torch": torch_inputs}
        self.pairs = watched_pairs(keras, torch, pairing)
        self.log, self.store = CallLog(store), store
        self.names: list[str] = []

    def _record(self) -> None:
        """Record both sides and replay: what differs, and where."""
        errors = []
        plain = {path for path, layer in self.keras.layers().items() if weightless(layer)} - set(self.pairs)
        with self.keras.watched(self.log, set(self.pairs) | plain):
            outputs, error = _attempt(self.keras, self.inputs["keras"], self.names)
        errors += [error] if error else []
        calls = [call for call in self.log.calls if call.path not in plain]
        cuts = [call for call in self.log.calls if call.path in plain and _cuts(call)]
        order, stopped = _torch_order(self.torch, self.pairs, self.inputs["torch"])
        match = match_calls(calls, order)
        if stopped:  # calls that torch would have made on its own; with the Keras values it may get further
            for position, call in enumerate(calls):
                if position not in match.values():
                    match.setdefault((call.path, call.index), position)
        silent = ({"missing-call"} if stopped else set()) | ({"extra-call"} if errors else set())
        ordered = in_torch_order(calls, self.keras, self.flattened, None, self.pairing.regrouped)
        run, forced, error, spread = self._judged(outputs, calls, ordered, match, cuts)
        errors += [error] if error else []
        located = [self._located(apart) for apart in run.apart]
        one_sided = one_sided_calls(calls, order, match, self.pairs, self.keras, self.torch, self.inputs)
        located += [
            item for item in one_sided if item.finding.kind not in silent
        ]  # a side that raised says no more
        if not error and outputs is not None and forced is not None:
            located += output_findings(outputs, forced, len(calls), spread, self.names)
        self.located = sorted(located, key=lambda item: item.order)
        self.run_, self.ordered, self.errors = run, ordered, errors

    def run(self) -> Localised:
        """Record, replay, and put the findings together."""
        progress.at("localising")
        self._record()
        errors, run = self.errors, self.run_
        progress.at("causes")
        explained = self._explainer().explain(self.located, self._again)
        found = Localised(_each_once([item.finding for item in explained]))
        found.findings += [
            Finding(None, None, Kind.ERROR, None, f"{side} raised {text}")
            for side, text in errors
            if not found.findings
        ]
        found.layers = layer_rows(run, found.findings, self.pairs, (self.keras.layers(), self.torch.layers()))
        return found

    def _judged(
        self,
        outputs: list[Array] | None,
        calls: Sequence[Call],
        ordered: Sequence[Call],
        match: dict[tuple[str, int], int],
        cuts: Sequence[Call],
    ) -> tuple[Replay, list[Array] | None, tuple[str, str] | None, PairSpread]:
        """The replay, and the outputs' spread. Each side's spreads are measured where nothing else explains a difference.

        A difference of more than GROSS of the scale is no rounding of the Keras side, once it is none of torch's.
        """
        run, forced, error = self._replay(ordered, match)
        if not run.apart and not output_findings(outputs or [], forced or [], 0, PairSpread()):
            return run, forced, error, PairSpread()
        paths = set(run.first) | set(run.last)
        torch = forced_spreads(
            self.torch, self.inputs["torch"],
            lambda: Replay(ordered, match, self.pairs, self.torch, cuts=cuts, judging=False), paths,
        )  # fmt: skip
        run, forced, error = self._replay(ordered, match, cuts, (), torch, outputs or ())
        spread = PairSpread((), torch.outputs)
        rest = output_findings(outputs or [], forced or [], 0, spread)
        if all(_is_gross(apart) for apart in [*run.apart, *(item.apart for item in rest if item.apart)]):
            return run, forced, error, spread
        keras = forced_spreads(self.keras, self.inputs["keras"], lambda: KerasValues(calls), set(self.pairs))
        measured = [
            Call(call.path, call.index, keras.arrived.get((call.path, call.index), ()),
                 keras.results.get((call.path, call.index), ()), keras.linear.get((call.path, call.index)))
            for call in calls
        ]  # fmt: skip
        reordered = in_torch_order(measured, self.keras, self.flattened, calls, self.pairing.regrouped)
        run, forced, error = self._replay(ordered, match, cuts, reordered, torch, outputs or ())
        return run, forced, error, PairSpread(keras.outputs, torch.outputs)

    def _explainer(self) -> Explainer:
        from parity.causes.explain import Explainer  # computes with torch: not for `import parity`

        return Explainer(
            self.keras, self.torch, self.pairing, self.pairs, self.ordered, self.inputs, self.flattened,
            lambda images: self._between(self.run_, images),
        )  # fmt: skip

    @contextmanager
    def _again(self) -> Iterator[Explainer | None]:
        """The same two models on another input and with other weights."""
        from parity.causes.again import fresh_inputs, fresh_weights

        values = fresh_inputs(self.inputs["keras"], SEED)
        if masks_zero(self.keras.layers()):
            values = [padded_like(*pair) for pair in zip(values, self.inputs["keras"], strict=True)]
        with ExitStack() as stack:
            explainer = None
            try:
                stack.enter_context(fresh_weights(self.keras, self.torch, self.pairing, SEED))
                more = _Localisation(
                    self.keras, self.torch, self.pairing, values, to_torch_inputs(values, self.keras),
                    self.flattened, stack.enter_context(Store()),
                )  # fmt: skip
                more._record()
                explainer = more._explainer()
                explainer.prepare(more.located)
            except Exception:  # any model, any error: its fixes are not verified then
                explainer = None
            yield explainer

    def _replay(
        self,
        calls: Sequence[Call],
        match: dict[tuple[str, int], int],
        cuts: Sequence[Call] | None = None,
        keras_spread: Sequence[Call] = (),
        torch_spread: Spreads | None = None,
        wanted: Sequence[Array] = (),
    ) -> _Run:
        """The torch side with the Keras values; a cut that one side makes behind a layer is no fault of it.

        Without `cuts` nothing is tried: where rounding is not measured yet, the count of differences says nothing.
        `wanted` are the outputs of Keras.
        """

        def replay(uncut: frozenset[tuple[str, int]]) -> _Run:
            seen: Mapping[tuple[str, int], int] = {}
            for gentle in range(3):
                if gentle == 1 and not seen:
                    continue
                run = Replay(
                    calls, match, self.pairs, self.torch, uncut, cuts or (), keras_spread, torch_spread, gentle=gentle
                )  # fmt: skip
                with self.torch.watched(run, set(run.first) | set(run.last)):
                    outputs, error = _attempt(self.torch, self.inputs["torch"])
                seen = run.cut
                if not error or not any(apart.greatest == float("inf") for apart in run.apart):
                    break  # else Keras' values, of other sizes, may be what ended the run
            return run, outputs, error

        def count(found: _Run) -> int:
            """How many differences there are; a run that ended, or would have without gentleness, shows one more."""
            run, outputs, error = found
            behind = output_findings(wanted, outputs or [], 0, PairSpread()) if wanted and outputs else []
            return len(run.apart) + bool(error) + run.gentle + bool(behind)

        plain = replay(frozenset())
        if cuts is None or not plain[0].cut:
            return plain
        uncut, best = dict(plain[0].cut), plain
        while (best := replay(frozenset(uncut)))[0].cut.keys() - uncut.keys():
            uncut |= best[0].cut  # behind the first of them there may be more
        if count(best) >= count(plain) or (best[2] and not plain[2]):
            return plain  # what ends a run hides what lies behind it
        for call, more in sorted(uncut.items()):
            left = frozenset(uncut.keys() - {call})
            tried = replay(left)
            # Its own finding comes back, with those that its Keras values cause behind it; else it is a fault of its own.
            if count(tried) <= count(best) + more:
                del uncut[call]
                best = tried
        return best

    def _between(self, run: Replay, images: Sequence[tuple[int, ...]]) -> Between:
        """Both sides step by step, the torch layers giving the Keras values again."""
        again = Replay(run.calls, run.match, self.pairs, self.torch, run.uncut, run.cuts,
                       run.keras_spread, run.torch_spread, gentle=run.gentle)  # fmt: skip
        paths = set(again.first) | set(again.last)
        linear = [value for call in run.calls for value in call.linear or ()]
        from parity.causes.between import Between

        return Between(
            self.keras, self.torch, self.inputs, lambda: (again, paths), images, self.store, linear
        )

    def _located(self, apart: Apart) -> Located:
        call = apart.call
        again = f" (call {call.index + 1} of this layer)" if call.index else ""
        keras, torch = call.path or ROOT, ", ".join(self.pairs[call.path]) or ROOT
        tensors = {f"torch_input.{i}": np.array(value) for i, value in enumerate(apart.inputs)}
        tensors |= {f"keras_input.{i}": np.array(value) for i, value in enumerate(call.inputs)}
        if apart.kind != Kind.WIRING:
            tensors |= {f"torch_output.{i}": np.array(value) for i, value in enumerate(apart.outputs)}
            tensors |= {f"keras_output.{i}": np.array(value) for i, value in enumerate(apart.keras_result)}
        effect = apart.greatest if np.isfinite(apart.greatest) else None
        finding = Finding(keras, torch, apart.kind, None, apart.text + again, tensors=tensors, effect=effect)
        return Located(apart.order, finding, apart)


def _is_gross(apart: Apart) -> bool:
    return apart.kind is Kind.SHAPE or not apart.greatest <= GROSS


def _cuts(call: Call) -> bool:
    """Whether a layer without weights cuts an image smaller, or may be an activation."""
    if len(call.inputs) != 1 or len(call.outputs) != 1 or call.inputs[0].ndim != call.outputs[0].ndim:
        return False
    return call.inputs[0].ndim > 2 and call.outputs[0].size <= call.inputs[0].size


def _attempt(
    model: Adapter, inputs: Sequence[Array], names: list[str] | None = None
) -> tuple[list[Array] | None, tuple[str, str] | None]:
    """Outputs, or the error that the model raised, in a line; `names` gets the outputs' names."""
    try:
        found = model.forward(inputs)
        if names is not None:
            names[:] = [str(name) for name, _ in found]
        return [value for _, value in found], None
    except Exception as error:  # any model, any error: it is a finding, not a crash of the tool
        return None, (model.side, in_a_line(error))


def _torch_order(
    torch: Adapter, pairs: dict[str, tuple[str, ...]], inputs: Sequence[Array]
) -> tuple[list[Call], bool]:
    """The calls that the torch model makes on its own, by the name of the Keras partner; whether it raised."""
    log = CallLog()
    partner = {paths[-1]: path for path, paths in pairs.items()}
    with torch.watched(log, set(partner)):
        _, error = _attempt(torch, inputs)
    return [replace(call, path=partner[call.path]) for call in log.calls], error is not None


def _each_once(findings: Sequence[Finding]) -> list[Finding]:
    """One finding a layer for what every call of it shows."""
    first: dict[tuple[str | None, ...], Finding] = {}
    for finding in findings:
        first.setdefault((finding.keras, finding.torch, finding.kind, finding.cause), finding)
    return list(first.values())
