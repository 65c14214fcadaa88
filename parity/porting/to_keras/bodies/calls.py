"""Calls in a body: of modules, of the user's functions, of torch's operations, of Python's own."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from parity.adapters.recording.records import SeenTensor, SeenValue
from parity.porting.to_keras.bodies.body import Body
from parity.porting.to_keras.layout.axes import identity
from parity.porting.to_keras.layout.operands import Layout, Operand, Place, atom, numbers, tensors
from parity.porting.to_keras.leaves_axes import torch_name
from parity.porting.to_keras.operations.step import NoRule, Step
from parity.porting.to_keras.operations.table import RULES

if TYPE_CHECKING:
    from parity.porting.to_keras.bodies.nodes import Nodes
    from parity.porting.to_keras.bodies.reading import _Reading

STORAGE = {"device", "inplace", "memory_format", "out", "requires_grad", "non_blocking", "pin_memory", "layout", "copy"}
"""Arguments that say where torch keeps a tensor, not what it is."""
FUNCTION = "_function_{}_"
"""What stands for a user's function in a text until all names are known."""


def step_of(
    reading: _Reading,
    body: Body,
    seen: SeenValue,
    name: str,
    operands: list[Operand],
    named: dict[str, Operand],
) -> Step:
    """A step of a body, for a rule."""
    node: Any = seen.node
    place = Place(body.call.function.source.file, node.lineno, node.end_col_offset)
    return Step(name, operands, named, seen.value, place, reading.tries.get(place, 0))


class Calls:
    """Reads calls."""

    def __init__(self, reading: _Reading) -> None:
        self.reading = reading

    def read(self, body: Body, seen: SeenValue, nodes: Nodes) -> Operand:
        """What a call is in Keras."""
        node: Any = seen.node
        callee = seen.callee
        if hasattr(callee, "forward") and not isinstance(callee, type):
            return self._module(body, seen, nodes)
        inner = self.reading.children.get((body.call, node), [])
        if inner and not _of_torch(callee):
            return self._of_user(body, seen, nodes)
        name = _name(callee)
        receiver = self._receiver(body, node, callee)
        if receiver is None and not _of_torch(callee):
            return self._of_python(body, seen, nodes)
        operands, named = self._given(body, node)
        if receiver is not None:
            operands = [receiver, *operands]
            if name == "size":
                return self._size(body, seen, receiver, operands)
            if name in ("dim", "ndimension"):
                return Operand(seen.value, f"len({atom(receiver.text)}.shape)")
        if not isinstance(seen.value, SeenTensor) and not any(True for _ in tensors(seen.value)):
            return nodes.plain(body, seen)
        return nodes.with_items(seen.value, self.ruled(body, step_of(self.reading, body, seen, name, operands, named)))

    def ruled(self, body: Body, step: Step) -> Operand:
        """What the table says of an operation."""
        name = step.name
        rule = RULES.get(name) or (RULES.get(name[:-1]) if name.endswith("_") and not name.endswith("__") else None)
        if rule is None:
            raise NoRule(f"torch's {name} has no rule")
        operand = rule(step)
        self.settle(body, step)
        return operand

    def settle(self, body: Body, step: Step) -> None:
        """Keep what a step says of the layouts of its results."""
        for tensor, layout in step.given:
            if tensor.held is None or tensor.key not in self.reading.layouts:
                self.reading.layouts[tensor.key] = layout
        body.written.helpers |= step.helpers

    def _given(self, body: Body, node: ast.Call) -> tuple[list[Operand], dict[str, Operand]]:
        operands: list[Operand] = []
        for argument in node.args:
            operand = body.operand(argument)
            if isinstance(argument, ast.Starred):
                inner = body.operand(argument.value)
                if inner.items is not None:
                    operands.extend(inner.items)
                elif isinstance(inner.value, list | tuple):
                    operands.extend(Operand(v, f"{atom(inner.text)}[{k}]") for k, v in enumerate(inner.value))
                else:
                    raise NoRule("arguments from an iterator")
            else:
                operands.append(operand)
        named = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise NoRule("arguments from a dict")
            if keyword.arg not in STORAGE:
                named[keyword.arg] = body.operand(keyword.value)
        return operands, named

    def _receiver(self, body: Body, node: ast.Call, callee: Any) -> Operand | None:
        """The tensor whose method is called."""
        if not isinstance(node.func, ast.Attribute):
            return None
        base = body.operands.get(node.func.value)
        return base if base is not None and base.is_tensor else None

    def _size(self, body: Body, seen: SeenValue, receiver: Operand, operands: list[Operand]) -> Operand:
        text = f"ops.shape({receiver.text})"
        if len(operands) == 1:
            return Operand(seen.value, text, shape_of=receiver.layout or Layout(receiver.order))
        from parity.porting.to_keras.operations.indexing import shape_part

        whole = Operand(receiver.value.shape, text, shape_of=receiver.layout or Layout(receiver.order))
        part, _ = shape_part(whole, operands[1].value, operands[1].text)
        return Operand(seen.value, part)

    def _module(self, body: Body, seen: SeenValue, nodes: Nodes) -> Operand:
        """A layer or block: its call stays; its first tensor comes in the order that it needs."""
        node: Any = seen.node
        module = seen.callee
        path = self.reading.paths.get(id(module), "")
        name = torch_name(module)
        edits: dict[ast.AST, str] = {}
        if name is not None and not self.reading._of_user(module) and name not in ("Sequential", "Flatten"):
            wanted = self.reading.leaf_orders.get(path, set())
            if node.args and not isinstance(node.args[0], ast.Starred):
                operand = body.operand(node.args[0])
                if operand.is_tensor and wanted and operand.order not in wanted and len(operand.order) > 2:
                    step = step_of(self.reading, body, seen, name, [operand], {})
                    edits[node.args[0]] = step.into(operand, next(iter(wanted)))
        for argument, text in edits.items():
            operand = body.operand(argument)
            body.keep(argument, Operand(operand.value, text, operand.layout))
            body.written.texts[argument] = body.operands[argument]
            body.written.clashes.pop(argument, None)
        return nodes.with_items(seen.value, self.reading.operand(seen.value, body.edited(node)))

    def _of_user(self, body: Body, seen: SeenValue, nodes: Nodes) -> Operand:
        """A function of the user's: it is part of the port, in the layout that it was called in."""
        node: Any = seen.node
        inner = self.reading.children[(body.call, node)]
        called = next((c for c in inner if c.function.name == _name(seen.callee)), inner[0])
        if called.module is None and isinstance(node.func, ast.Name | ast.Attribute):
            written = self.reading.body(called).written
            number = list(self.reading.written.values()).index(written)
            operand = body.operand(node.func)
            body.keep(node.func, Operand(operand.value, FUNCTION.format(number)))
        return nodes.with_items(seen.value, self.reading.operand(seen.value, body.edited(node)))

    def _of_python(self, body: Body, seen: SeenValue, nodes: Nodes) -> Operand:
        node: Any = seen.node
        name = _name(seen.callee)
        if name == "len" and node.args and body.operand(node.args[0]).is_tensor:
            whole = body.operand(node.args[0])
            return Operand(seen.value, f"ops.shape({whole.text})[0]")
        if name in ("list", "tuple", "Size") and node.args:
            first = body.operand(node.args[0])
            if first.shape_of is not None:
                return Operand(seen.value, nodes.plain(body, seen).text, shape_of=first.shape_of)
        return nodes.plain(body, seen)


def _name(callee: Any) -> str:
    return getattr(callee, "__name__", type(callee).__name__)


def _of_torch(callee: Any) -> bool:
    module = getattr(callee, "__module__", None) or ""
    owner = getattr(callee, "__self__", None)
    place = getattr(owner, "__name__", "") if owner is not None else ""
    kind = type(owner).__module__ if owner is not None else ""
    return module.startswith("torch") and not module.startswith(("torchvision", "torchaudio")) or place.startswith(
        "torch"
    ) or kind.startswith("torch.") or kind == "torch"


__all__ = ["FUNCTION", "Calls", "identity", "numbers", "step_of"]
