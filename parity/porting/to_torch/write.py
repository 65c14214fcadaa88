"""Writes a Keras model as torch source."""

from __future__ import annotations

import re
from typing import Any

from parity.adapters.keras.recording.modes import training_alone
from parity.adapters.keras.recording.ports import attributes_of, recorded
from parity.porting.formatting import formatted
from parity.porting.library import LAYERS, library_layers
from parity.porting.tidying.axes_said import in_torch_order
from parity.porting.tidying.words import in_torch_words
from parity.porting.to_torch.axes import TorchAxes, frames, images, plain
from parity.porting.to_torch.carried import carried
from parity.porting.to_torch.emission.classes import written
from parity.porting.to_torch.grouping.grouped import grouped
from parity.porting.to_torch.grouping.neighbours import resizings_as_steps
from parity.porting.to_torch.sized import compare
from parity.porting.to_torch.translate import Record, Translation
from parity.porting.to_torch.use import flat
from parity.porting.to_torch.values import is_tensor, kinds
from parity.porting.written import Unwritten, WrittenPort


def write(model: Any, inputs: Any, *, name: str | None = None, library: bool = False) -> WrittenPort:
    """Write a Keras model as torch source that a person could have written.

    Args:
        model: a functional, sequential or subclassed Keras 3 model, built or not.
        inputs: what the model takes, in Keras' layout: an array, or a structure of arrays.
        name: the name of the model's class; None takes the source's.
        library: whether layers of `torch_impl.layers` stand where the port would else bring helpers.

    Returns:
        The text, and what could not be written.

    Raises:
        UsageError: the model cannot be called with symbolic tensors of the inputs' shapes.
    """
    first, second = recorded(model, inputs)
    lost = _in_training(model, inputs, first)
    for one in (first, second):
        if one is not None:
            resizings_as_steps(one)
    shapes: dict[int, tuple[int, ...]] = {}
    if second is not None and not compare(first, second, shapes):
        shapes.clear()
    regroup(first)
    record = Record(shapes, attributes_of)
    record.root, record.keep = first, [first, second]
    named = [(label, value) for label, value in first.inputs_named() if is_tensor(value)]
    for _, tensor in named:
        record.layouts[id(tensor)] = first_layout(first, tensor)
        if len(tensor.shape) == 4:
            record.pictures.add(id(tensor))
    title = name or first.title()
    with library_layers(LAYERS if library else ()):
        body = Translation(record, first, title, named).run()
    classes = written(body)
    text, helpers = carried(classes, title)
    mapping = {c.bodies[0].title: c.name for c in classes if c.bodies[0].owner is not None}
    layouts = tuple("".join(map(str, record.layouts[id(tensor)].order)) for _, tensor in named)
    unwritten = (*record.unwritten, *lost)
    text = in_torch_words(in_torch_order(text))
    return WrittenPort(formatted(text), mapping, unwritten, layouts=layouts, helpers=helpers)


def _in_training(model: Any, inputs: Any, first: Any) -> list[Unwritten]:
    """What training mode alone computes: the port has the steps of inference, and says so."""
    try:
        different = training_alone(model, inputs, first)
    except Exception as error:
        reason = (
            f"the call cannot be read in training mode: {type(error).__name__}: {str(error).strip()[:200]}"
        )
        return [Unwritten(f"{kinds(model)[0]}.call", "", "", 0, reason)]
    found = []
    for owner, step in different.values():
        place = step.places[0] if step is not None and step.places else None
        start = kinds(step.operation)[0] if step is not None else "what it returns or sets"
        reason = (
            f"in training mode it does other steps, from {start} on; the port has those of inference alone"
        )
        file, line = (place.file, place.line) if place else ("", 0)
        found.append(Unwritten(f"{kinds(owner)[0]}.call", str(owner.name), file, line, reason))
    return found


def regroup(scope: Any) -> None:
    """Find the blocks in every graph of layers, the model's own and those inside it."""
    for step in scope.steps:
        if step.scope is not None:
            regroup(step.scope)
    owner = type(scope.owner).__name__
    if hasattr(scope.owner, "_nodes_by_depth") or (owner == "Sequential" and len(scope.steps) > 12):
        grouped(scope)


def first_layout(scope: Any, tensor: Any) -> TorchAxes:
    """How an input lies in torch: images N, C, H, W; sequences as their first layer wants them."""
    rank = len(tensor.shape)
    if rank < 3:
        return plain(rank)
    wanted = _wanted(scope, tensor, 0)
    if rank == 5:
        return frames(5) if wanted in ("ConvLSTM2D", "TimeDistributed") else images(5)
    if rank == 4:
        return images(4)
    return (
        images(3)
        if re.search(r"(Conv|Pooling|UpSampling)1D", wanted) and "Global" not in wanted
        else plain(rank)
    )


def _wanted(scope: Any, tensor: Any, depth: int) -> str:
    """The class of the first layer with weights behind a tensor."""
    known = {id(tensor)}
    for step in scope.steps:
        taken = [value for value in flat((step.args, step.kwargs)) if is_tensor(value) and id(value) in known]
        if not taken:
            continue
        if step.scope is not None and depth < 8:
            found = _wanted(step.scope, taken[0], depth + 1)
            if found:
                return found
        kind = kinds(step.operation)[0]
        if re.search(
            r"Conv|Dense|LSTM|GRU|RNN|Attention|Pooling|Bidirectional|TimeDistributed|UpSampling|LayerNorm",
            kind,
        ):
            return kind
        known |= {id(value) for value in flat(step.outputs) if is_tensor(value)}
    return ""
