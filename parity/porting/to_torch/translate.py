"""From a scope of the record to a body: each step becomes a piece, and each tensor gets its layout."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from parity.porting.to_torch.axes import TorchAxes, frames, images, plain
from parity.porting.to_torch.leaves.dense import own_dropout
from parity.porting.to_torch.leaves.table import RULES as LAYERS
from parity.porting.to_torch.naming import identifier, snake
from parity.porting.to_torch.operations.alone import as_convolution
from parity.porting.to_torch.operations.table import RULES as OPERATIONS
from parity.porting.to_torch.operations.torchs_own import as_torchs_own
from parity.porting.to_torch.piece import ClassBody, ModuleText, Piece, hole
from parity.porting.to_torch.sized import formula
from parity.porting.to_torch.use import RefusedError, StepUse, flat
from parity.porting.to_torch.values import is_layer, is_tensor, is_variable, kinds
from parity.porting.written import Unwritten


class Record:
    """What all scopes of one port share: layouts, marked shapes, names of layers, and what could not be written."""

    def __init__(
        self, shapes: dict[int, tuple[int, ...]], attributes: Callable[[Any], dict[int, str]]
    ) -> None:
        self.shapes, self.attributes = shapes, attributes
        self.layouts: dict[int, TorchAxes] = {}
        self.vectors: set[int] = set()
        self.pictures: set[int] = set()  # tensors of rank 4 that come from images, whatever their layout
        self.unwritten: list[Unwritten] = []
        self.keep: list[Any] = []
        self.root: Any = None


class Translation:
    """One scope on its way to a body. The rules ask it for layouts and formulas."""

    tells_rates = False

    def __init__(self, record: Record, scope: Any, title: str, inputs: list[tuple[str, Any]]) -> None:
        self.record, self.scope, self.vectors = record, scope, record.vectors
        self.inputs = inputs
        self.body = ClassBody(title, scope.owner, [(name, id(tensor)) for name, tensor in inputs], ())
        self.known: list[Any] = [tensor for _, tensor in inputs]
        self.names: set[str] = set()
        self.named: dict[str, Any] = {}
        self.prefix: str | None = None
        self.attributes = record.attributes(scope.owner) if scope.owner is not None else {}

    # what the rules ask
    def layout(self, tensor: Any) -> TorchAxes:
        """The layout of a tensor: what made it says, or Keras' own."""
        return self.record.layouts.get(id(tensor)) or plain(len(tensor.shape))

    def sizes(self, tensor: Any) -> tuple[int, ...]:
        """A tensor's shape with marked numbers."""
        return self.record.shapes.get(id(tensor)) or tuple(map(int, tensor.shape))

    def formula(self, use: StepUse, pair: tuple[int, int]) -> str:
        """How a number follows from the shape of a tensor that is at hand."""
        tensors = [*(value for value in use.tensors if not is_variable(value)), *self.known]
        for alone in (True, False):  # a size as it stands, wherever it is, before one that must be computed
            for tensor in tensors:
                found = formula(pair, self.layout(tensor).shape(self.sizes(tensor)), alone=alone)  # type: ignore[arg-type]
                if found is not None:
                    return found.format(use.take(tensor, atom=True))
        raise RefusedError(f"a size that is {pair[0]} once and {pair[1]} once follows from no shape at hand")

    def device(self, use: StepUse) -> str:
        """The text of the device that new tensors go to."""
        return f"{use.take(self.known[0], atom=True)}.device"

    # the work
    def run(self) -> ClassBody:
        """Translate every step, in order."""
        self.body.layouts = tuple(self.layout(tensor) for _, tensor in self.inputs)
        for step in self.scope.steps:
            piece = self._piece(step)
            self.body.pieces.append(piece)
            self.known += [value for value in flat(step.outputs) if is_tensor(value)]
        self._returned()
        return self.body

    def _returned(self) -> None:
        use = StepUse(_Ends(self.scope.outputs), "return", self, self.weight)
        body = self.body

        def text(value: Any) -> str:
            if isinstance(value, dict):
                return "{" + ", ".join(f'"{key}": {text(item)}' for key, item in value.items()) + "}"
            if isinstance(value, list | tuple):
                inner = ", ".join(map(text, value))
                return (
                    f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
                )
            axes = self.layout(value)
            wanted = (
                plain(axes.rank)
                if axes.flat or not (axes.same or axes.images or axes == frames(axes.rank))
                else axes
            )
            if wanted.rank == 3 and wanted.images and any(len(t.shape) > 3 for _, t in self.inputs):
                wanted = plain(3)  # an image that became tokens
            wanted = self._crossing(value, wanted)
            self.record.layouts[id(value)] = wanted
            before = self.record.layouts
            before[id(value)] = axes
            found = use.take(value, wanted)
            before[id(value)] = wanted
            body.out_layouts.append(wanted)
            return found

        body.result = text(self.scope.outputs)
        body.returned = use.piece.inputs
        body.result_members = use.piece  # type: ignore[attr-defined]

    def _crossing(self, tensor: Any, axes: TorchAxes) -> TorchAxes:
        """How a tensor lies where it goes from one class to another: images as images."""
        return images(4) if id(tensor) in self.record.pictures else axes

    def _piece(self, step: Any) -> Piece:
        name = self._name(step)
        use = StepUse(step, name, self, self.weight)
        outputs = [value for value in flat(step.outputs) if is_tensor(value)]
        use.piece.outputs = [id(value) for value in outputs]
        try:
            if step.scope is not None:
                self._child(use, step)
            else:
                self._leaf(use)
        except RefusedError as reason:
            self._stub(use, str(reason), outputs)
        for value, axes in zip(outputs, use.layouts, strict=False):
            if id(value) in use.piece.inputs and not use.piece.alias:
                continue
            self.record.layouts[id(value)] = axes
        taken = [value for value in use.tensors if len(value.shape) == 4]
        if any(id(value) in self.record.pictures for value in taken) or any(
            axes.images for axes in use.layouts
        ):
            self.record.pictures |= {id(value) for value in outputs if len(value.shape) == 4}
        return use.piece

    def _leaf(self, use: StepUse) -> None:
        """The rule of the first class that has one."""
        table = LAYERS if is_layer(use.layer) else OPERATIONS
        for kind in kinds(use.layer):
            if kind in table:
                use.piece.kind = kind
                return table[kind](use)
        if getattr(use.layer, "_parity_drops", None) is not None:
            return own_dropout(use)
        what = "layer" if is_layer(use.layer) else "operation"
        raise RefusedError(f"there is no rule for the {what} {kinds(use.layer)[0]}")

    def _stub(self, use: StepUse, reason: str, outputs: list[Any]) -> None:
        step = use.step
        place = step.places[0] if step.places else None
        kind = f"keras.{'layers' if is_layer(step.operation) else 'ops'}.{kinds(step.operation)[0]}"
        self.record.unwritten.append(
            Unwritten(kind, step.name, place.file if place else "", place.line if place else 0, reason)
        )
        use.piece.members, use.piece.constants, use.piece.inputs = [], [], []
        use.piece.stub = f"{kind} {step.name}: {reason}"
        for tensor in use.tensors:
            if not is_variable(tensor):
                use.take(tensor)
        use.piece.unpacked = len(outputs) > 1
        use.give("...", *(plain(len(value.shape)) for value in outputs))

    def _child(self, use: StepUse, step: Any) -> None:
        """A layer or group of steps that becomes a class of its own."""
        if is_layer(step.operation) and (as_torchs_own(use) or as_convolution(use)):
            return None
        if not step.scope.steps and is_tensor(step.outputs) and any(step.outputs is v for v in use.tensors):
            return use.give(use.take(step.outputs), self.layout(step.outputs), alias=True)
        tensors: list[tuple[str, Any]] = []
        for name, value in step.scope.inputs_named():
            if (
                is_tensor(value)
                and not is_variable(value)
                and all(value is not known for _, known in tensors)
            ):
                tensors.append((name, value))
        layouts = {id(value): self.layout(value) for _, value in tensors}
        texts = []
        for _, value in tensors:
            axes = layouts[id(value)]
            wanted = self._crossing(value, plain(axes.rank) if axes.flat else axes)
            texts.append(use.take(value, wanted))
            self.record.layouts[id(value)] = wanted
        inner = Translation(self.record, step.scope, step.scope.title(), tensors)
        body = inner.run()
        for _, value in tensors:
            self.record.layouts[id(value)] = layouts[id(value)]
        place = use.member(body)
        outs = [value for value in flat(step.outputs) if is_tensor(value)]
        use.piece.unpacked = isinstance(step.outputs, list | tuple)
        use.piece.mapping = isinstance(step.outputs, dict) and list(step.outputs)  # type: ignore[attr-defined]
        return use.give(f"{place}({', '.join(texts)})", *(self.layout(value) for value in outs))

    def _name(self, step: Any) -> str:
        """A step's name: the attribute that holds the layer, or what it is called."""
        known = self.attributes.get(id(step.operation), "").removesuffix(".layer") or None
        if known is None:
            known = identifier(step.short or self._within(step.name))
            if not is_layer(step.operation) and step.scope is None and step.short != "mask":
                known = snake(kinds(step.operation)[0])
        known = f"layer{known}" if known[0].isdigit() else known
        before = self.named.get(known)
        if (
            before is not None
            and before is not step.operation
            and (is_layer(step.operation) or step.scope is not None)
        ):
            known = next(f"{known}_{n}" for n in range(2, 999) if f"{known}_{n}" not in self.named)
        self.named.setdefault(known, step.operation)
        name, number = known, 2
        while name in self.names:
            name, number = f"{known}#{number}", number + 1
        self.names.add(name)
        return name

    def _within(self, name: str) -> str:
        """A layer's name without the words that the names of all layers of its graph begin with."""
        if self.prefix is None:
            words = [step.name.split("_") for step in self.scope.steps if is_layer(step.operation)]
            count = 0
            while len(words) > 1 and all(
                len(word) > count + 1 and word[count] == words[0][count] for word in words
            ):
                count += 1
            self.prefix = "_".join(words[0][:count]) if words else ""
        text = name.removeprefix(self.prefix).strip("_") if self.prefix else name
        inner = self.scope is not self.record.root and kinds(self.scope.owner)[0] in (
            "Functional",
            "Sequential",
        )
        return (re.sub(r"_\d+$", "", text) if inner else text) or name

    def weight(self, variable: Any) -> tuple[str, TorchAxes]:
        """The text of a weight of the scope's own layer, or of a layer in it."""
        owner = self.scope.owner
        rank = len(variable.shape)
        for name, value in vars(owner).items() if owner is not None else ():
            if value is variable:
                self._parameter(name.lstrip("_"), variable)
                return f"self.{name.lstrip('_')}", plain(rank)
        for path, layer in ((path, layer) for path, layer in self._inside(owner)):
            found = _weight_of(layer, variable)
            if found is not None:
                indexed = re.sub(r"[.]([0-9]+)", r"[\1]", path)
                return f"self.{indexed}.{found[0]}", found[1]
        raise RefusedError(f"the weight {variable.path} belongs to no layer at hand")

    def _inside(self, owner: Any) -> list[tuple[str, Any]]:
        by_id = {id(layer): layer for layer in (owner._flatten_layers() if owner is not None else ())}
        return [(path, by_id[key]) for key, path in self.attributes.items() if key in by_id]

    def _parameter(self, name: str, variable: Any) -> None:
        parameters = self.body.__dict__.setdefault("parameters", {})
        shape = tuple(int(n) for n in variable.shape)
        parameters.setdefault(
            name,
            ModuleText(
                "nn.Parameter", {"shape": shape, "value": _first(variable), "trainable": variable.trainable}
            ),
        )


class _Ends:
    """The end of a scope, as if it were a step that takes what is returned."""

    def __init__(self, outputs: Any) -> None:
        self.operation, self.args, self.outputs = object(), (outputs,), None
        self.kwargs: dict[str, Any] = {}


def _first(variable: Any) -> str:
    """How a parameter begins: as in the source, where all of its values are one number there."""
    values = np.asarray(variable)
    if values.dtype.kind != "f" or not values.size or (values != values.flat[0]).any():
        return "empty"
    value = float(f"{float(values.flat[0]):.7g}")  # float32 has seven digits
    return {1.0: "ones", 0.0: "zeros"}.get(value, f"full {value}")


def _weight_of(layer: Any, variable: Any) -> tuple[str, TorchAxes] | None:
    """A weight of a leaf: its name in torch, and how its axes lie there."""
    for name, torch_name, axes in (
        ("_embeddings", "weight", plain(2)), ("_kernel", "weight", TorchAxes((1, 0))), ("bias", "bias", plain(1)),
        ("gamma", "weight", plain(1)), ("beta", "bias", plain(1)),
    ):  # fmt: skip
        rank = len(variable.shape)
        if getattr(layer, name, None) is variable and rank == axes.rank:
            return torch_name, axes
    return None


def hole_of(number: int) -> str:
    """The open place of an input."""
    return hole("i", number)
