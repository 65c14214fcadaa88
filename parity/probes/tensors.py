"""Weights of the torch side that moved no output, in any probe: whole tensors, rows, channels or elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from parity.core.adapter import Adapter
from parity.core.finding import ROOT
from parity.core.trace import Trace
from parity.core.types import Array, LayerInfo
from parity.report.proof import Share, Unproven, UnprovenKind

ROWS: Mapping[str, str] = {"conv": "channels", "conv_transpose": "channels", "depthwise": "channels"}
"""What the first axis of a layer's weight is called; "rows" for all other layers."""


class TensorTally:
    """Which elements moved an output so far.

    Args:
        torch: the torch side.
    """

    def __init__(self, torch: Adapter) -> None:
        self.torch = torch
        self.layers: dict[str, LayerInfo] = {
            tensor.path: layer
            for layer in torch.layers().values()
            for tensor in layer.tensors
            if tensor.dtype.startswith(("float", "bfloat")) and np.prod(tensor.shape)
        }
        self.moved: dict[str, Array] = {}
        self._called: set[str] = set()
        self._touched: set[str] = set()
        self._looked = False

    def ran(self, trace: Trace) -> None:
        """Take into account which layers a pass called, and which tensors its steps read."""
        self._looked = True
        self._called |= {node.path for node in trace.nodes if node.sort == "layer" and node.path is not None}
        self._touched |= {node.path or node.scope for node in trace.nodes if node.sort in {"op", "parameter"}}

    def add(self, moved: Mapping[str, Array]) -> None:
        """Take one probe into account."""
        for path, mask in moved.items():
            if path in self.layers:
                self.moved[path] = np.logical_or(self.moved.get(path, False), mask)

    @property
    def still(self) -> list[str]:
        """Tensors of which nothing moved."""
        return [path for path in self.layers if path not in self.moved or not self.moved[path].any()]

    @property
    def waiting(self) -> list[str]:
        """Tensors of which nothing moved although a pass was seen to run their layer, or none was looked at."""
        return [path for path in self.still if not self._looked or self._ran(path)]

    def _ran(self, path: str) -> bool:
        parts = self.layers[path].path.split(".")
        within = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        return bool(self._called & within) or bool(self._touched & {path, self.layers[path].path})

    @property
    def open(self) -> set[str]:
        """Tensors of which some element did not move an output yet."""
        return {path for path in self.layers if path not in self.moved or not self.moved[path].all()}

    @property
    def complete(self) -> bool:
        """Whether every element of every tensor moved an output."""
        return not self.open

    def perturb(self, evaluate: Callable[[], Sequence[tuple[str, Array]]]) -> None:
        """Try the tensors of which nothing has a gradient by changing them: a step may have none and pass them on.

        They are changed all at once; where the outputs move, halves of them are, and so on.

        Args:
            evaluate: the torch side on the smallest probe, in float64.
        """
        open_groups = [self.still] if self.still else []
        if not open_groups:
            return
        plain = evaluate()
        while open_groups:
            group = open_groups.pop()
            if not self._moves(group, plain, evaluate):
                continue
            if len(group) == 1:
                self.add({group[0]: np.ones(self.torch.peek(group[0]).shape, dtype=bool)})
            else:
                open_groups += [group[: len(group) // 2], group[len(group) // 2 :]]

    def _moves(
        self,
        paths: Sequence[str],
        plain: Sequence[tuple[str, Array]],
        evaluate: Callable[[], Sequence[tuple[str, Array]]],
    ) -> bool:
        """Whether the outputs change where these tensors do."""
        rng = np.random.default_rng(0)
        kept = {path: self.torch.read(path) for path in paths}
        try:
            for path, value in kept.items():
                spread = rng.uniform(0.5, 1.5, value.shape)
                self.torch.write(
                    path, np.where(value == 0, rng.uniform(0.1, 0.5, value.shape), value * spread)
                )
            after = evaluate()
        except Exception:  # any model, any error: these values are not for it
            return False
        finally:
            for path, value in kept.items():
                self.torch.write(path, value)
        return any(
            first.shape != second.shape
            or not np.array_equal(first, second, equal_nan=first.dtype.kind in "fc")
            for (_, first), (_, second) in zip(plain, after, strict=False)
        )

    def share(self) -> Share:
        """Tensors that moved an output, of all."""
        return Share(len(self.layers) - len(self.still), len(self.layers))

    def unmoved(self) -> list[Unproven]:
        """One entry for each layer of which nothing moved an output, and for its tensors that moved it alike in part."""
        found = []
        still = set(self.still)
        by_layer: dict[str, list[str]] = {}
        for path, layer in self.layers.items():
            by_layer.setdefault(layer.path, []).append(path)
        for layer_path, paths in by_layer.items():
            if len(paths) > 1 and still.issuperset(paths):
                text = f"{layer_path or ROOT}: none of its {len(paths)} tensors ever moved an output"
                found.append(Unproven(UnprovenKind.TENSORS, text, tuple(paths)))
                continue
            alike: dict[str, list[str]] = {}
            for path in paths:
                part = path if path in still else self._in_part(path)
                if part:
                    alike.setdefault(part, []).append(path)
            for part, places in alike.items():
                whole = part == places[0]
                text = f"{part}: never moved an output" if whole else _said(part, places)
                kind = UnprovenKind.TENSORS if whole else UnprovenKind.PARTS
                found.append(Unproven(kind, text, tuple(places)))
        return found

    def _in_part(self, path: str) -> str:
        """How much of a tensor never moved an output; nothing where all of it did."""
        mask = self.moved[path]
        if mask.all():
            return ""
        name = ROWS.get(self.layers[path].family or "", "rows")
        rows: Array = np.asarray(
            mask.reshape(len(mask), -1).any(1) if mask.ndim > 1 else np.ones(1, dtype=bool)
        )
        count, of, what = (
            (mask.size - int(np.count_nonzero(mask)), mask.size, "elements")
            if rows.all()
            else (len(rows) - int(np.count_nonzero(rows)), len(rows), name)
        )
        return f"{count:,} of {of:,} {what}"


def _said(part: str, places: Sequence[str]) -> str:
    """What of some tensors of one layer never moved an output, in a line."""
    if len(places) == 1:
        return f"{places[0]}: {part} never moved an output"
    layer = places[0].rpartition(".")[0]
    return f"{layer or ROOT}: {part} of each of {len(places)} tensors never moved an output"
