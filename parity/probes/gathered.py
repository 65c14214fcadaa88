"""What the passes of all probes showed: weights that moved the outputs, limits reached, branches taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from parity.adapters import influence_of
from parity.core.adapter import Adapter
from parity.core.trace import LastSteps, Look, Trace
from parity.core.types import Array, Side
from parity.probes.branches.files import OwnFiles
from parity.probes.branches.framework import framework_alone
from parity.probes.branches.tally import BranchTally
from parity.probes.branches.watch import Seen, watching
from parity.probes.limits import LimitObserver, LimitsSeen, merge, share, unreached
from parity.probes.source.uses import uses
from parity.probes.tensors import TensorTally
from parity.report.proof import Proof, Unproven, UnprovenKind


@dataclass
class _Pass:
    """One evaluation of one side: not yet known to agree with the other side."""

    seen: Seen
    limits: LimitsSeen = field(default_factory=dict)
    moved: dict[str, Array] | None = None
    trace: Trace | None = None


class Gathered:
    """Evaluates the sides and looks on; what a pass showed counts once the sides are known to agree on it.

    Args:
        sides: both sides, Keras first.
    """

    def __init__(self, sides: tuple[Adapter, Adapter]) -> None:
        objects = [getattr(side, "model", getattr(side, "module", None)) for side in sides]
        self._files = OwnFiles(objects)
        self.own = self._files.__contains__
        self._bare = {
            side.side: side.side == "keras" and framework_alone(model, side.objects.values())  # type: ignore[attr-defined]
            for side, model in zip(sides, objects, strict=True)
        }
        self._passes: dict[Side, _Pass] = {}
        self._lost: dict[Side, str] = {}
        self.branches, self.tensors = BranchTally(), TensorTally(sides[1])
        self.limits: dict[Side, LimitsSeen] = {"keras": {}, "torch": {}}

    @contextmanager
    def watched(self, side: Side) -> Iterator[None]:
        """While this is open, the branches of one pass are watched, and nothing else."""
        with self._watching(side) as seen:
            yield
        self._passes[side] = _Pass(seen)

    @contextmanager
    def _watching(self, side: Side) -> Iterator[Seen]:
        """See the branches of a pass; where none of the user's code can run, there are none, and to look costs time."""
        with nullcontext(Seen()) if self._bare[side] else watching(self._files) as seen:
            yield seen

    def run(
        self, model: Adapter, values: Sequence[Array], gradients: bool = True, branches: bool = True
    ) -> list[tuple[str, Array]]:
        """Evaluate one side, held in float64, and look at everything.

        Args:
            model: the side.
            values: its inputs, in its own layout.
            gradients: look at which weights move the outputs.
            branches: look at the branches; to look costs time, and those of a pass that is not compared do not count.
        """
        observers: list[LimitObserver] = []

        def fresh() -> LimitObserver:
            observers.append(LimitObserver(model.side, self.limits[model.side]))
            return observers[-1]

        moved = None
        with self._watching(model.side) if branches else nullcontext(Seen()) as seen:
            if gradients and model.side == "torch" and not self.tensors.complete:
                outputs, moved, trace = influence_of(model, values, fresh, self.tensors.open)
            else:
                outputs, trace = _traced(model, values, fresh())
        limits = observers[-1].found if observers else {}
        if trace is not None and trace.lost:
            self._lost.setdefault(model.side, trace.lost[0])
        self._passes[model.side] = _Pass(seen, limits, moved, trace if model.side == "torch" else None)
        return outputs

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """While this is open, the branches of passes in training, and of losses, are watched, and count."""
        with watching(self._files) as seen:
            yield
        self.branches.add(seen)

    def limits_in_training(self, model: Adapter, values: Sequence[Array]) -> None:
        """See which limits a pass in training reaches, of a side held in float64; what it changes is put back."""
        observer = LimitObserver(model.side, self.limits[model.side])
        model.traces(values, [Look(observer, training=True)])
        merge(self.limits[model.side], observer.found)

    def limits_left(self) -> list[Unproven]:
        """Limits that no value reached, a line each; and what was made where no trace sees limits."""
        lost = [
            Unproven(
                UnprovenKind.LIMITS, f"{what}: what gives it is not seen, and limits there are not ({side})"
            )
            for side, what in self._lost.items()
        ]
        return [*unreached(self.limits["keras"], self.limits["torch"]), *lost]

    def last_steps(self) -> LastSteps | None:
        """The last steps of torch's last pass, where they are kept; they are given once."""
        last = self._passes.get("torch")
        return None if last is None or last.trace is None else last.trace.take_last()

    def accept(self) -> None:
        """The sides agree on the last pass of each: it counts."""
        for side, last in self._passes.items():
            self.branches.add(last.seen)
            merge(self.limits[side], last.limits)
            self.tensors.add(last.moved or {})
            if last.trace is not None:
                self.tensors.ran(last.trace)
        self._passes = {}

    def drop(self) -> None:
        """The last passes count for nothing."""
        self._passes = {}

    @property
    def open_limits(self) -> bool:
        """Whether a limit was not reached yet."""
        return any(limit.missing for limits in self.limits.values() for limit in limits.values())

    @property
    def complete(self) -> bool:
        """Whether every weight moved an output and every limit was reached."""
        return self.tensors.complete and not self.open_limits

    def proof(self, probes: Sequence[str], whole: bool) -> Proof:
        """The counts; of the branches alone where no further probe was made."""
        if not whole:
            return Proof(tuple(probes), None, self.branches.share(), None)
        limits = share([self.limits["keras"], self.limits["torch"]])
        return Proof(tuple(probes), self.tensors.share(), self.branches.share(), limits)

    def unproven(self, whole: bool) -> list[Unproven]:
        """What no pass showed, a line each."""
        if not whole:
            return self.of_code(whole)
        return [
            *self.of_code(whole),
            *self.tensors.unmoved(),
            *self.limits_left(),
        ]

    def of_code(self, whole: bool) -> list[Unproven]:
        """What no pass showed of the models' own code: branches, and with `whole` what becomes a step without one."""
        return [*self.branches.untaken(), *(uses(self.branches.codes) if whole else ())]


def _traced(
    model: Adapter, values: Sequence[Array], observer: LimitObserver
) -> tuple[list[tuple[str, Array]], Trace | None]:
    """The outputs of a traced pass, and its trace; of a plain one where the model cannot be traced."""
    try:
        return model.trace(values, observer, last=True)
    except Exception:  # any model, any error: a plain pass says whether it was the model's own
        return model.forward(values), None
