"""What makes EQUAL a proof: further probes, and the main one again after everything else."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind
from parity.core.types import Array, Side
from parity.pairing.pair import Pairing
from parity.probes.change import WEIGHTS, Change, further
from parity.probes.gathered import Gathered
from parity.replay.hidden import varied
from parity.report.proof import Proof, Unproven, UnprovenKind
from parity.verdict.attempts import Attempts, Tried
from parity.verdict.evaluate import ANOTHER, forgotten, not_repeatable, unlike_again
from parity.verdict.float32.lifting import still
from parity.verdict.hiding import hiding
from parity.verdict.outputs import Outputs, judge, same
from parity.verdict.runs import progress
from parity.verdict.runs.later import Traced, calls_for, later_calls
from parity.verdict.runs.own_dtype import Usual
from parity.verdict.where import Where, where
from parity.weights.shake import shaken_alike

UNLIKE = (
    "a side that computes in float32 within gives more than its rounding away from what it gives in float64; does it look "
    "at dtypes?"
)
MAIN = "the inputs as they are"


@dataclass
class Proven:
    """What the further probes showed.

    Attributes:
        where: findings of the first probe that shows a difference, and its layers; empty where none does.
        max_abs: greatest absolute difference of that probe.
        max_rel: the same relative to the outputs' scale.
        proof: what was looked at, counted.
        unproven: what the verdict does not rest on.
        usual: a small input at the scale of the given one; None without further probes.
        unlike: whether a side, traced on the main probe, gives something else than it does untraced: what rests on the
            traced outputs is to be judged by untraced ones.
    """

    where: Where = field(default_factory=Where)
    max_abs: float = 0.0
    max_rel: float = 0.0
    proof: Proof = field(default_factory=lambda: Proof((MAIN,)))
    unproven: list[Unproven] = field(default_factory=list)
    usual: Usual | None = None
    unlike: bool = False


def prove(
    sides: tuple[Adapter, Adapter],
    pairing: Pairing,
    values: Sequence[Array],
    inputs: Mapping[Side, Sequence[Array]],
    outputs: Mapping[Side, Outputs],
    gathered: Gathered,
    quick: bool,
    hides: bool = False,
    traced: Collection[Side] = (),
) -> Proven:
    """Look for what the main probe did not show, on two sides that agree there.

    Args:
        sides: both sides, Keras first, in float64 already.
        pairing: which layer is which.
        values: inputs of the main probe, in the Keras layout, as they were given.
        inputs: the same for each side, in its own layout, in float64.
        outputs: what each side gave for them.
        gathered: has watched the two evaluations of the main probe.
        quick: no further probes; the main one is evaluated again all the same.
        hides: whether steps of the main probe hide what they were given, so that those of the others are looked at.
        traced: sides whose outputs are those of a traced pass; the last pass, which is not, must give the same.
    """
    return _Proving(sides, pairing, values, inputs, outputs, gathered, hides, traced).run(quick)


def _size(values: Sequence[Array]) -> int:
    return sum(value.size for value in values)


class _Proving:
    """The probes of one comparison."""

    def __init__(
        self,
        sides: tuple[Adapter, Adapter],
        pairing: Pairing,
        values: Sequence[Array],
        inputs: Mapping[Side, Sequence[Array]],
        outputs: Mapping[Side, Outputs],
        gathered: Gathered,
        hides: bool,
        traced: Collection[Side],
    ) -> None:
        self.hides, self.traced = hides, traced
        self.again = dict[Side, Outputs]()
        self.sides, self.pairing, self.inputs, self.outputs = sides, pairing, inputs, outputs
        self.gathered = gathered
        self.attempts = Attempts(
            sides, values, gathered.run, lambda: gathered.tensors.waiting, gathered.last_steps
        )
        self.between: Mapping[Side, Sequence[Array]] = inputs
        self.sample: Sequence[Array] = self.attempts.values
        self.smallest: Tried | None = None
        self.ungraded: list[Sequence[Array]] = []
        self.agreed: list[Tried] = []
        self.found = Proven()

    def run(self, quick: bool) -> Proven:
        """Every further probe until one shows a difference; then the main one again."""
        self.gathered.accept()
        progress.at("probes")
        probes = [MAIN]
        for change in () if quick else further(self.attempts.values, any(self.attempts.axes)):
            if change.weights:
                self._one_example()
            tried = self._probe(change)
            probes += [tried.name] if tried is not None else []
            if self.found.where.findings or self.found.unlike:
                break
        if quick:
            text = "further probes: not run (--quick)"
            self.found.unproven.append(Unproven(UnprovenKind.PROBES, text))
        elif not (self.found.where.findings or self.found.unlike):
            self._move_the_rest()
            self._later()
        if not (self.found.where.findings or self.found.unlike):
            self._repeat()
        self.found.proof = self.gathered.proof(probes, whole=not quick)
        self.found.unproven += self.gathered.unproven(whole=not quick)
        return self.found

    def _one_example(self) -> None:
        """Which weights move the outputs of one example of the main probe; and limits that small probes left open.

        The sides agree on the main probe, and so on each example: nothing is compared again.
        """
        if self.gathered.complete:
            return
        sample = self.attempts.sample()
        try:
            for model in self.sides if self.gathered.open_limits else self.sides[1:]:
                self.gathered.run(model, sample[model.side], branches=False)
            self.gathered.accept()
        except Exception:  # any model, any error: it does not take one example alone
            self.gathered.drop()

    def _move_the_rest(self) -> None:
        """Weights that have moved nothing yet: other inputs may reach them, and not every step has a gradient."""
        torch = self.sides[1]
        while self.gathered.tensors.waiting and self.ungraded:
            self.gathered.run(torch, self.ungraded.pop(), branches=False)
            self.gathered.accept()
        self.gathered.tensors.perturb(lambda: torch.forward(self.between["torch"]))

    # --- further probes ------------------------------------------------------------------------------

    def _probe(self, change: Change) -> Tried | None:
        """One further probe: what it shows, or what it leaves unproven."""
        with self._weights(change) as alike:
            if not alike:
                text = f"{WEIGHTS}: not possible, because tied tensors do not correspond"
                self.found.unproven.append(Unproven(UnprovenKind.PROBES, text))
                return None
            tried, left = self.attempts.most(change)
            hidden = self._hidden(tried)
            unlike = tried is not None and tried.agree and not still(self.sides, tried.inputs, tried.outputs)
        said = {entry.partition(":")[0] for entry in self.found.unproven}
        self.found.unproven += [entry for entry in left if entry.partition(":")[0] not in said]
        if tried is None:
            return None
        if not tried.agree:
            self._narrow(tried)
            return tried
        if hidden:
            self.found.where = Where(hidden)
            return tried
        if unlike:
            text = f"with {tried.name}: {UNLIKE}"
            self.found.where = Where([Finding(None, None, Kind.PRECISION, None, text)])
            return tried
        lost, size = tried.not_finite()
        if lost:
            text = f"with {tried.name}: {lost} of {size} elements are NaN or infinite on both sides"
            self.found.unproven.append(Unproven(UnprovenKind.PROBES, text))
            plain = change.without("values")
            plain = plain if plain != change else change.without("drawn")
            if plain not in (change, Change()):
                return self._probe(plain)
            return tried
        self.gathered.accept()
        self.agreed.append(tried)
        if not tried.graded:
            self.ungraded.append(tried.inputs["torch"])
        if not change.weights and (self.between is self.inputs or _size(tried.values) < _size(self.sample)):
            self.between, self.sample, self.smallest = tried.inputs, tried.values, tried
        return tried

    def _hidden(self, tried: Tried | None) -> list[Finding]:
        """What labels and masks hide on a probe; the weights must be the probe's own still."""
        if not self.hides or tried is None or not tried.agree or tried.not_finite()[0]:
            return []
        found, _ = hiding(self.sides, tried.inputs, tried.outputs)
        return [replace(one, evidence=f"with {tried.name}: {one.evidence}") for one in found]

    def _narrow(self, tried: Tried) -> None:
        """Say where the sides differ on the smallest part of the change that shows it; noise is no difference."""
        self._repeat()
        if self.found.where.findings or self.found.unlike:
            return
        self._narrowed(tried)
        if remembered := self._remembered(tried):
            self.found.where.findings.insert(0, Finding(None, None, Kind.OUTPUT, None, remembered))

    def _narrowed(self, tried: Tried) -> None:
        """The smallest part of the change on which the sides differ, and where they do."""
        nothing: Mapping[int, int] = {}
        parts = [(Change(parity=tried.change.parity), tried.sizes)] if tried.sizes else []
        parts += [(part, nothing) for part in tried.change.without("sizes").parts()]
        for part, sizes in [*(parts if len(parts) > 1 else ()), (tried.change, tried.sizes)]:
            with self._weights(part):
                again = self.attempts.one(part, sizes)
                if again is not None and not again.agree:
                    self._locate(again)
                    return
        text = f"with {tried.name} the sides differed, and did not when both were evaluated again"
        finding = Finding(None, None, Kind.NOT_REPEATABLE, None, text)
        self.found.where = Where([finding], {"keras", "torch"})

    def _remembered(self, tried: Tried) -> str:
        """What says that a side gives what it gave for another input of the same shape; empty where none does."""
        for earlier in self.agreed:
            for model in self.sides:
                side = model.side
                asked_alike = all(map(np.array_equal, tried.inputs[side], earlier.inputs[side]))
                telling = all(varied(value) for _, value in tried.outputs[side])  # and no sigmoid's ones
                if telling and not asked_alike and same(model, tried.outputs[side], earlier.outputs[side]):
                    return (
                        f"with {tried.name}: the {side} side gives what it gave with {earlier.name}; does it remember "
                        "what it was given?"
                    )
        return ""

    def _locate(self, tried: Tried) -> None:
        found = where(self.sides, tried.inputs, self.pairing, raised=False)
        judged = judge(tried.outputs["keras"], tried.outputs["torch"], tried.limits, bool(found.findings))
        both_sides = {Kind.ERROR}  # NaN on both sides: no difference
        found.findings += [finding for finding in judged.findings if finding.kind not in both_sides]
        found.findings = [
            replace(finding, evidence=f"with {tried.name}: {finding.evidence}") for finding in found.findings
        ]
        self.found.where = found
        self.found.max_abs, self.found.max_rel = judged.max_abs, judged.max_rel

    @contextmanager
    def _weights(self, change: Change) -> Iterator[bool]:
        """Both sides with the weights that the change asks for."""
        if not change.weights:
            yield True
            return
        with shaken_alike(*self.sides, self.pairing) as alike:
            yield alike

    # --- the main probe again ------------------------------------------------------------------------

    def _repeat(self) -> None:
        """The main input once more, after everything else: the same bits, or the side is not repeatable."""
        stray = forgotten(self.sides, self.inputs, self.outputs, self.between, self.again)
        for model in self.sides:
            side = model.side
            if (
                stray.get(side) == ANOTHER
                and side in self.traced
                and unlike_again(model, self.inputs[side], self.outputs[side], self.again[side])
            ):
                self.found.unlike = True
                del stray[side]
        self._strayed(stray)

    def _later(self) -> None:
        """Two inputs of the smallest probe's shape in turn, the first at the scale of the main probe."""
        usual = self.attempts.usual(self.sample)
        second = self.attempts.like(self.sample) if self.smallest is None else self.smallest.inputs
        measured = None if self.smallest is None else self.smallest.measured
        count = calls_for(self.attempts.values, self.sample, sum(len(side.layers()) for side in self.sides))
        traced = self._traced_before()
        found = later_calls(
            self.sides, (usual, second), self.inputs, count, self.gathered.own, measured, traced
        )
        self.found.usual = Usual(usual, found.first, found.measured)
        self.found.unproven += found.unproven
        self.again = found.main
        self._strayed(found.stray)
        if found.findings:
            self._repeat()  # a side that counts its calls is not repeatable, whatever differs
        if found.findings and not self.found.where.findings:
            self.found.where = Where(found.findings)

    def _traced_before(self) -> dict[Side, Traced]:
        """What the sides gave for the smallest probe, traced and without gradients, and for the main one."""
        if self.smallest is None or self.smallest.graded:
            return {}
        return {side: Traced(self.smallest.outputs[side], self.outputs[side]) for side in self.traced}

    def _strayed(self, stray: Mapping[Side, str]) -> None:
        """Findings for the sides that do not repeat themselves."""
        if not stray:
            return
        findings = not_repeatable(self.sides, self.inputs, self.pairing, stray)
        self.found.where = Where(list(findings.values()), set(findings))
