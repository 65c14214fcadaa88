"""Proves a port: what it computes, how it trains, at another size, saved and loaded, and on further backends."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parity.adapters import adapt, plain_weights, side_of
from parity.adapters.probe import as_list, build, randomise
from parity.adapters.spec import load_model
from parity.core.errors import in_a_line
from parity.core.types import Array
from parity.core.verdict import Verdict
from parity.porting.constants import settle
from parity.porting.in_scale import in_scale
from parity.porting.sizes import further_inputs
from parity.report.result import Report
from parity.verdict.compare import compare
from parity.verdict.runs import progress
from parity.weights.checkpoint import load_weights, save_weights
from parity.weights.models import pair
from parity.weights.transfer import TransferResult, transfer

SUFFIXES = {"keras": ".weights.h5", "torch": ".safetensors"}


@dataclass(frozen=True)
class PortCheck:
    """One thing that was tried of a port.

    Attributes:
        name: "outputs", "training", "second size", "reload", or a backend.
        verdict: EQUAL where it holds.
        text: what was compared, in a few words; what went wrong where it does not hold.
        report: of the comparison, where there was one.
    """

    name: str
    verdict: Verdict
    text: str
    report: Report | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.verdict} ({self.text})"


def prove(
    source: Any,
    port: Path,
    inputs: Any,
    *,
    steps: int = 3,
    seed: int = 0,
    quick: bool = False,
    layout: Sequence[str] | None = None,
) -> Iterator[PortCheck]:
    """Everything that is proved of a port in this process, one proof after the other.

    The source gets random weights and statistics, which hide nothing, and keeps them. Later proofs are left out where
    the outputs are not equal.

    Args:
        source: the model that was ported.
        port: the file that holds `build()`.
        inputs: as `parity.compare` takes them, in the Keras layout.
        steps: of Adam, in training mode.
        seed: of the random weights.
        quick: the outputs on the one input alone, without further probes, and no training.
        layout: of each input on the torch side, as `parity.compare` takes it; None finds it.
    """
    with plain_weights(source):
        randomise(adapt(source), seed)
        with suppress(Exception):  # the source's own code; its first statistics are random too
            in_scale(adapt(source), _as_taken(source, inputs), seed)
        try:
            made = built(port, inputs)
        except Exception as error:  # the port's own code raises what it likes
            yield PortCheck("outputs", Verdict.INCONCLUSIVE, f"build() raised {in_a_line(error)}")
            return
        first = tried("outputs", lambda: _outputs(source, made, inputs, layout, quick=quick))
        assert first is not None
        yield first
        if first.verdict is not Verdict.EQUAL:
            return
        more = [
            tried("training", lambda: None if quick else _training(source, made, inputs, layout, steps)),
            tried("second size", lambda: _further_size(source, made, inputs, layout)),
            tried("reload", lambda: _reloaded(made, port, inputs)),
        ]
        yield from (check for check in more if check is not None)


def tried(name: str, check: Callable[[], PortCheck | None]) -> PortCheck | None:
    """What a check found; INCONCLUSIVE where it raised; None where there is nothing to check."""
    try:
        return check()
    except Exception as error:  # the port's own code raises what it likes
        return PortCheck(name, Verdict.INCONCLUSIVE, in_a_line(error))


def built(port: Path, inputs: Any) -> Any:
    """The model that a port's `build()` gives, with its weights made."""
    model = load_model(f"{port}:build")
    build(model, inputs)
    return model


def _outputs(source: Any, port: Any, inputs: Any, layout: Any, *, quick: bool) -> PortCheck:
    """Weights copied, outputs compared on the input and, unless it is to be quick, on further probes."""
    progress.at("copying weights")
    settle(source, port)
    copied, idle = copied_weights(source, port, inputs, layout)
    report = compare(*in_order(source, port), inputs, quick=quick, layout=layout)
    probes = "one probe, " if quick else ""
    text = f"{probes}{len(copied.pairs)} layers, {report.elements} elements, greatest difference {report.max_rel_diff:.1e}"
    text += f"; {idle} layers of the source never run, and have no weights here" if idle else ""
    return PortCheck("outputs", report.verdict, text if report else told(report), report)


def copied_weights(source: Any, port: Any, inputs: Any, layout: Any) -> tuple[TransferResult, int]:
    """(what was copied, how many layers of the source never run, so that the port has no weights for them)."""
    pairing = pair(source, port, inputs=inputs, layout=layout)
    copied = transfer(source, port, pairing=pairing, strict=bool(pairing.open))
    return copied, len({tensor.layer for problem in pairing.problems for tensor in problem.held})


def _training(source: Any, port: Any, inputs: Any, layout: Any, steps: int) -> PortCheck:
    """Gradients and steps of Adam in training mode, by one rule where the frameworks' own rules differ."""
    progress.at("training")
    report = compare(
        *in_order(source, port),
        inputs,
        quick=True,
        gradients=True,
        train_steps=steps,
        optimizer="adam",
        match_rules=True,
        layout=layout,
    )
    text = f"gradients and {steps} steps of Adam, by torch's rule where the frameworks' rules differ"
    return PortCheck("training", report.verdict, text if report else told(report), report)


def _further_size(source: Any, port: Any, inputs: Any, layout: Any) -> PortCheck | None:
    """The same weights on another size and batch, where the source takes them."""
    progress.at("second size")
    torch_side = side_of(source) == "torch"
    more = further_inputs(adapt(source), _as_taken(source, inputs))
    if more is None:
        return None
    back = [np.moveaxis(value, 1, -1) if torch_side and value.ndim > 3 else value for value in more]
    given: Any = dict(zip(inputs, back, strict=True)) if isinstance(inputs, Mapping) else back
    report = compare(*in_order(source, port), given, quick=True, layout=layout)
    text = ", ".join("x".join(map(str, value.shape)) for value in back)
    return PortCheck("second size", report.verdict, text if report else told(report), report)


def _as_taken(source: Any, inputs: Any) -> list[Array]:
    """The inputs in the layout of the source."""
    torch_side = side_of(source) == "torch"
    return [np.moveaxis(v, -1, 1) if torch_side and v.ndim > 3 else v for v in as_list(inputs)]


def _reloaded(port: Any, file: Path, inputs: Any) -> PortCheck | None:
    """Weights saved, loaded into a second model, and the same outputs bit for bit."""
    progress.at("save and load")
    adapter = adapt(port)
    if not state(port):
        return None  # there is nothing to save
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"port{SUFFIXES[adapter.side]}"
        save_weights(port, path)
        again = built(file, inputs)
        load_weights(again, path)
        before, after = state(port), state(again)
        if len(before) != len(after):
            text = f"{len(before)} tensors were saved, and a model that is built anew has {len(after)}"
            return PortCheck("reload", Verdict.DIVERGED, text)
        wrong = [
            path
            for (path, value), loaded in zip(before.items(), after.values(), strict=True)
            if not np.array_equal(value, loaded)
        ]
        if wrong:
            return PortCheck("reload", Verdict.DIVERGED, f"{wrong[0]} is not what was saved")
        if adapter.side == "keras" and (fault := _whole_model(port, Path(folder) / "port.keras", inputs)):
            return PortCheck("reload", Verdict.DIVERGED, fault)
    return PortCheck("reload", Verdict.EQUAL, f"{len(before)} tensors saved, loaded and the same")


def _whole_model(port: Any, path: Path, inputs: Any) -> str:
    """What is wrong where the model is saved with its configuration; empty where nothing is."""
    from parity.adapters.keras.whole import configured, saved_and_loaded

    if fault := configured(port):
        return fault
    try:
        again = saved_and_loaded(port, path)
        build(again, inputs)
        given, found = (adapt(one).forward(as_list(inputs)) for one in (port, again))
    except Exception as error:  # the port's own code, or Keras: a model that cannot be saved is no port
        return f"model.save: {in_a_line(error)}"
    same = all(np.array_equal(a, b, equal_nan=True) for (_, a), (_, b) in zip(given, found, strict=True))
    return "" if same else "the model that was saved and loaded gives other outputs"


def carried(
    source: Any, port: Any, inputs: Any, values: Mapping[str, Array], layout: Sequence[str] | None = None
) -> None:
    """Give the source its own values back, and carry them to the port."""
    adapter = adapt(source)
    for path, value in values.items():
        adapter.write(path, value)
    copied_weights(source, port, inputs, layout)


def state(model: Any) -> dict[str, Array]:
    """The value of every tensor of a model by its path."""
    adapter = adapt(model)
    return {t.path: adapter.read(t.path) for layer in adapter.layers().values() for t in layer.tensors}


def in_order(first: Any, second: Any) -> tuple[Any, Any]:
    """(Keras model, torch module)."""
    return (first, second) if side_of(first) == "keras" else (second, first)


def told(report: Report) -> str:
    """Why a comparison is not EQUAL: its first finding."""
    return str(report.findings[0]) if report.findings else str(report.verdict)


def whole(proofs: Sequence[PortCheck]) -> bool:
    """Whether all of them hold."""
    return bool(proofs) and all(proof.verdict is Verdict.EQUAL for proof in proofs)
