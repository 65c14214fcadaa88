"""Subscripts of tensors, and of their shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from parity.adapters.recording.records import SeenTensor
from parity.porting.to_keras.layout.axes import identity, place_of_new, slot, with_axis, without
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, RewriteError, atom
from parity.porting.to_keras.operations.step import BodyStep, NoRuleError


@dataclass(frozen=True)
class Index:
    """One part of a subscript: its kind and its text."""

    kind: str  # slice, number, none, ellipsis, tensor
    text: str
    value: Any = None


def subscript(step: BodyStep, parts: Sequence[Index]) -> Operand:
    """A tensor's subscript with its parts in Keras' order of axes."""
    tensor = step.tensor
    layout = tensor.layout or AxisLayout(tensor.order)
    rank = len(tensor.value.shape)
    used = sum(part.kind in ("slice", "number") for part in parts)
    used += sum(_axes_of(part) for part in parts if part.kind == "tensor")
    if any(part.kind == "tensor" for part in parts):
        return _by_tensor(step, parts, used)
    per_axis: dict[int, Index] = {}
    new: list[int] = []  # torch axes behind, where a new axis goes
    axis, after = 0, 0
    for part in parts:
        if part.kind == "ellipsis":
            axis, after = axis + rank - used, after + rank - used
        elif part.kind == "none":
            new.append(after)
            after += 1
        else:
            per_axis[axis] = part
            axis += 1
            after += part.kind == "slice"
    order = layout.order
    texts = [per_axis[a].text if a in per_axis else ":" for a in order]
    gone = [a for a, part in per_axis.items() if part.kind == "number"]
    kept = without(order, gone)
    slots = [k for k, a in enumerate(order) if a not in gone]
    for place in new:
        at = place_of_new(kept, place)
        kept = with_axis(kept, place, at)
        texts.insert(slots[at] if at < len(slots) else len(texts), "None")
        slots = [k + (at < len(slots) and k >= slots[min(at, len(slots) - 1)]) for k in slots]
        slots.insert(at, texts.index("None"))
    if new and order == identity(rank):
        texts = [part.text for part in parts]
    while len(texts) > 1 and texts[-1] == ":":
        texts.pop()
    plain = order == identity(rank)
    if plain and any(part.kind == "ellipsis" for part in parts):
        texts = [part.text for part in parts]
    elif (
        len(order) - len(texts) == 0
        and texts.count(":") == len(texts) - 1
        and len(texts) > 2
        and texts[-1] != ":"
    ):
        texts = ["...", texts[-1]]
    return step.gives(f"{atom(tensor.text)}[{', '.join(texts)}]", layout.into(kept))


def _axes_of(part: Index) -> int:
    value = part.value
    return len(value.shape) if isinstance(value, SeenTensor) and value.dtype == "bool" else 1


def _by_tensor(step: BodyStep, parts: Sequence[Index], used: int) -> Operand:
    """Rows by a tensor of indices."""
    tensor = step.tensor
    rank = len(tensor.value.shape)
    order = tensor.order
    if order != identity(rank) and not _whole_but_one(parts):
        if tensor.layout is not None and tensor.layout.debts:
            raise RewriteError(tensor.layout.debts[-1])
        raise NoRuleError("a subscript by tensors on an image whose axes Keras has in another order")
    chosen = [k for k, part in enumerate(parts) if part.kind == "tensor"]
    if len(chosen) != 1 or any(part.kind not in ("slice", "ellipsis", "tensor") for part in parts):
        raise NoRuleError("a subscript by several tensors")
    part = parts[chosen[0]]
    if isinstance(part.value, SeenTensor) and part.value.dtype == "bool":
        raise NoRuleError("a subscript by a mask, whose result has a size that depends on values")
    if any(p.kind == "slice" and p.text.replace(" ", "") != ":" for p in parts):
        raise NoRuleError("a subscript by a tensor and a range")
    before = parts[: chosen[0]]
    axis = chosen[0] if all(p.kind == "slice" for p in before) else chosen[0] - 1 + rank - used
    layout = AxisLayout(identity(len(step.value.shape)))
    if order != identity(rank):
        layout, axis = tensor.layout or AxisLayout(order), slot(order, axis)
    return step.gives(f"ops.take({tensor.text}, {part.text}, axis={axis})", layout)


def _whole_but_one(parts: Sequence[Index]) -> bool:
    """Whether a row of indices chooses along one axis, and every axis beside it stays whole."""
    rows = [part for part in parts if part.kind == "tensor"]
    row = rows[0].value if len(rows) == 1 else None
    if row is None or (isinstance(row, SeenTensor) and (len(row.shape) != 1 or row.dtype == "bool")):
        return False
    rest = [part for part in parts if part.kind != "tensor"]
    return all(p.kind == "ellipsis" or (p.kind == "slice" and p.text.strip() == ":") for p in rest)


def shape_part(operand: Operand, index: Any, text: str) -> tuple[str, str]:
    """(the text of one size or a range of sizes, the place's text) of a shape that is held in Keras' order."""
    layout = operand.shape_of
    assert layout is not None
    order = layout.order
    rank = len(order)
    if isinstance(index, int):
        place = order.index(index % rank)
        place_text = str(place - rank if place == rank - 1 or index < 0 else place)
        if order == identity(rank):
            place_text = text
        return f"{operand.text}[{place_text}]", place_text
    axes = list(range(rank))[index]
    places = [order.index(axis) for axis in axes]
    if order == identity(rank):
        return f"{operand.text}[{text}]", text
    if places and places == list(range(places[0], places[0] + len(places))):
        end = "-1" if places[-1] == rank - 2 else str(places[-1] + 1) if places[-1] + 1 < rank else ""
        return f"{operand.text}[{places[0] or ''}:{end}]", ""
    parts = ", ".join(f"{operand.text}[{place}]" for place in places)
    return (f"({parts},)" if len(places) == 1 else f"({parts})"), ""
