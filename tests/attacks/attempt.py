"""One attempt at a false EQUAL: two networks that compute different functions, and what became of the comparison."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.causes.explain import Explainer
from parity.cli import run
from parity.core.errors import ParityError, UsageError
from tests.attacks import served
from tests.attacks.written import Written, images, seeded

TORCH_NAMES = {
    "kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip

BRANCH = r"^branches .*\.py:\d+: "
"""What `excused` is where a branch was not taken: the report names its file and line."""

STOPPED, EXCUSED, EQUAL = "stopped", "EQUAL, and the report names it", "false EQUAL"


class Weights:
    """One model's tensors under Keras' names and in the Keras layout."""

    def __init__(self, model: Any) -> None:
        self.adapter = adapt(model)

    def edit(self, path: str, change: Callable[[np.ndarray], None]) -> None:
        """Change the tensor `layer.name` in place."""
        layer, _, name = path.rpartition(".")
        torch = self.adapter.side == "torch"
        own = f"{layer}.{TORCH_NAMES.get(name, name)}" if torch else path
        value = np.array(self.adapter.read(own))
        turned = torch and name == "kernel"
        value = value.transpose((2, 3, 1, 0) if value.ndim == 4 else (1, 0)).copy() if turned else value
        change(value)
        back = value.transpose((3, 2, 0, 1) if value.ndim == 4 else (1, 0)) if turned else value
        self.adapter.write(own, np.ascontiguousarray(back))


@dataclass(frozen=True)
class Attempt:
    """One row.

    Attributes:
        kind: what sort of trick it is.
        name: of the trick.
        honest: the network on one side.
        fault: the network on the side where the fault is.
        side: where the fault is; weights are carried over from this side to the honest one.
        inputs: what both sides are given, in the Keras layout.
        arguments: of `parity.compare`.
        alike: a change to the weights of both sides.
        change: a change to the faulty side's weights, after the transfer.
        excused: a pattern that an entry of `report.unproven`, or a note, must fit where the verdict is EQUAL; ""
            allows no EQUAL.
        direct: compare the models as they are built, without randomising and copying their weights.
    """

    kind: str
    name: str
    honest: Written
    fault: Written
    side: str = "torch"
    inputs: tuple[np.ndarray, ...] = field(default_factory=lambda: (images(),))
    arguments: Mapping[str, Any] = field(default_factory=dict)
    alike: Callable[[Weights], None] | None = None
    change: Callable[[Weights], None] | None = None
    excused: str = ""
    direct: bool = False

    @property
    def id(self) -> str:
        """Its name for pytest."""
        return f"{self.kind}: {self.name}, in {self.side}"

    def models(self) -> tuple[Any, Any]:
        """The Keras model and the torch module, with the weights of the faulty side."""
        seeded()
        inputs = list(self.inputs)
        model = (self.fault if self.side == "keras" else self.honest).in_keras(inputs)
        module = (self.fault if self.side == "torch" else self.honest).in_torch()
        faulty, honest = (model, module) if self.side == "keras" else (module, model)
        if not self.direct:
            randomise(adapt(faulty))
            if self.alike:
                self.alike(Weights(faulty))
            parity.transfer(faulty, honest, inputs=inputs, strict=False)
        if self.change:
            self.change(Weights(faulty))
        return model, module

    def report(self, explained: bool = False) -> Any:
        """What `parity.compare` says; the text of the error where it refuses.

        Args:
            explained: look for the causes of what arrives different too. It takes seconds and changes no verdict.
        """
        model, module = self.models()
        inputs = list(self.inputs)
        try:
            if not explained:
                with unexplained():
                    return parity.compare(
                        model, module, inputs if len(inputs) > 1 else inputs[0], **self._given()
                    )
            return parity.compare(model, module, inputs if len(inputs) > 1 else inputs[0], **self._given())
        except (UsageError, ParityError) as error:
            return f"{type(error).__name__}: {error}"

    def _given(self) -> dict[str, Any]:
        """The arguments; a pair of optimizers is made anew."""
        arguments = dict(self.arguments)
        made = arguments.pop("made", None)
        return {**arguments, **({"optimizer": (made["keras_make"](), made["torch_make"])} if made else {})}

    def judged(self, report: Any) -> str:
        """What a report means: STOPPED, EXCUSED or EQUAL."""
        if isinstance(report, str) or not report:
            return STOPPED
        return EXCUSED if self.excused and names(report, self.excused) else EQUAL

    def outcome(self) -> str:
        """Through Python: STOPPED, EXCUSED or EQUAL."""
        return self.judged(self.report())

    def exit_code(self) -> int:
        """Through the command line, in this process, with the weights that the models have."""
        served.PAIR[:] = self.models()
        shapes = [f"--input={'x'.join(map(str, value.shape))}" for value in self.inputs]
        models = [f"--keras={served.__name__}:keras_model", f"--torch={served.__name__}:torch_module"]
        with unexplained():
            return run(["check", *models, *shapes, "--transfer", "none", *self.options()])

    def options(self) -> list[str]:
        """The arguments as options of the command line."""
        return [f"--{name}={value}" for name, value in self.arguments.items()]


@contextmanager
def unexplained() -> Iterator[None]:
    """Look for no causes of what arrives different at a layer or at the output, while this is open.

    Nothing is tried again on another input either: no verdict depends on a cause.
    """
    explain = Explainer.explain
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Explainer, "explain", lambda self, located, again=None: explain(self, located))
        patch.setattr(Explainer, "_of_arrival", lambda self, *rest: [])
        patch.setattr(Explainer, "_goals", lambda self, places: [[] for _ in places])
        patch.setattr(Explainer, "_placed", lambda self, item, listed: item)
        yield


def names(report: Any, word: str) -> bool:
    """Whether the report says so: what it names as unproven, or its notes."""
    said = [
        *(f"{getattr(entry, 'kind', '')} {entry}" for entry in getattr(report, "unproven", ())),
        *report.notes,
    ]
    return any(re.search(word, text) for text in said)


def attempts(
    kind: str,
    name: str,
    honest: Written,
    fault: Written,
    sides: tuple[str, ...] = ("torch", "keras"),
    **more: Any,
) -> Iterator[Attempt]:
    """The same attempt with the fault on either side."""
    for side in sides:
        yield Attempt(kind, name, honest, fault, side, **more)


def listed(rows: list[Attempt]) -> list[Any]:
    """Rows as pytest's parameters."""
    return [pytest.param(row, id=row.id) for row in rows]
