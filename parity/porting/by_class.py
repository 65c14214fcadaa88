"""A port class by class: each module of the source and what stands for it, on the input that the source gave it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from parity.adapters import adapt
from parity.adapters.probe import build
from parity.core.adapter import Observer
from parity.core.errors import in_a_line
from parity.core.types import Array, LayerInfo
from parity.core.verdict import Verdict
from parity.porting.constants import part_at
from parity.porting.proof import in_order, told
from parity.verdict.compare import compare
from parity.weights.transfer import transfer


@dataclass(frozen=True)
class ClassProof:
    """One module of the source, alone.

    Attributes:
        name: its class.
        path: of the module in the source; empty for the model itself.
        verdict: EQUAL where the port's module gives the same on the same input.
        text: what differs, or why nothing could be said.
    """

    name: str
    path: str
    verdict: Verdict
    text: str = ""

    def __str__(self) -> str:
        return f"{self.name} at {self.path or 'the root'}: {self.verdict}{f' ({self.text})' if self.text else ''}"


class _Taken(Observer):
    """Keeps what the first call of each module takes."""

    def __init__(self) -> None:
        self.inputs: dict[str, list[Array]] = {}

    def before(self, path: str, index: int, inputs: list[Array]) -> None:
        self.inputs.setdefault(path, inputs)


def each_class(
    source: Any, port: Any, inputs: Sequence[Array], classes: Mapping[str, str], *, copied: bool
) -> Iterator[ClassProof]:
    """Every module of the source whose class was written, the innermost ones first; nothing around a wrong one.

    Args:
        source: the model that was ported.
        port: what stands for it; its weights are made where `copied`.
        inputs: of the source, in the source's own layout.
        classes: a class of the source and the class of the port that stands for it.
        copied: whether the port has the source's weights; else they are copied module by module.
    """
    adapter = adapt(source)
    paths = [path for path, layer in adapter.layers().items() if layer.kind in classes]
    taken = _Taken()
    with adapter.watched(taken, set(paths)):
        adapter.forward(inputs)
    layers: Mapping[str, LayerInfo] = adapter.layers()
    diverged: list[str] = []
    for path in sorted(paths, key=lambda path: (not path, -path.count("."), paths.index(path))):
        kind, part = layers[path].kind, part_at(port, path)
        if part is None:
            yield ClassProof(kind, path, Verdict.INCONCLUSIVE, "nothing in the port has its path")
        elif wrong := next((one for one in diverged if _within(one, path)), ""):
            yield ClassProof(kind, path, Verdict.INCONCLUSIVE, f"{wrong}, which it holds, is wrong")
        elif path in taken.inputs:
            module = adapter.objects[path]  # type: ignore[attr-defined]
            verdict, text = _judged(module, part, taken.inputs[path], copied=copied)
            if verdict is Verdict.DIVERGED:
                diverged.append(path)
            yield ClassProof(kind, path, verdict, text)


def _within(path: str, outer: str) -> bool:
    return path.startswith(f"{outer}.") or not outer


def _judged(module: Any, part: Any, taken: Sequence[Array], *, copied: bool) -> tuple[Verdict, str]:
    """The verdict on one module, in the layout of the two usual ones in which it is equal."""
    verdict, text = Verdict.INCONCLUSIVE, "it takes no tensors"
    for values in _layouts(taken):
        try:
            build(part, values)
            if not copied:
                transfer(module, part, inputs=values)
            report = compare(*in_order(module, part), values, quick=True)
        except Exception as error:  # the port's own code raises what it likes
            if verdict is not Verdict.DIVERGED:
                text = in_a_line(error)
            continue
        if report:
            return report.verdict, ""
        if verdict is not Verdict.DIVERGED:
            verdict, text = report.verdict, told(report)
    return verdict, text


def _layouts(taken: Sequence[Array]) -> Iterator[Any]:
    """The inputs in the Keras layout: channels of images moved to the end, and as they are."""
    moved = [np.moveaxis(value, 1, -1) if value.ndim == 4 else value for value in taken]
    for values in [moved, list(taken)] if any(value.ndim == 4 for value in taken) else [list(taken)]:
        if values:
            yield values if len(values) > 1 else values[0]
