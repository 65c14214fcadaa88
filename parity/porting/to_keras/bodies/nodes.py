"""Reads one value after another: for each kind of node, what it is in Keras."""

from __future__ import annotations

import ast
from typing import Any

from parity.adapters.recording.records import SeenTensor, SeenValue
from parity.porting.to_keras.asked import asked_class
from parity.porting.to_keras.bodies.body import Body
from parity.porting.to_keras.bodies.calls import Calls, step_of
from parity.porting.to_keras.bodies.loops import walked_axes
from parity.porting.to_keras.bodies.state import ReadingState
from parity.porting.to_keras.containers import child_by_name, container_kind
from parity.porting.to_keras.layout.casts import promoted
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, atom, tensors
from parity.porting.to_keras.leaves_axes import is_sequence, sets_itself, setting_text, torch_name, weight_of
from parity.porting.to_keras.names import attribute, method
from parity.porting.to_keras.operations.broadcast import together
from parity.porting.to_keras.operations.indexing import Index, shape_part, subscript
from parity.porting.to_keras.operations.step import NoRuleError

OPERATORS = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
    ast.MatMult: "matmul",
    ast.FloorDiv: "floor_divide",
    ast.Mod: "remainder",
    ast.BitAnd: "logical_and",
    ast.BitOr: "logical_or",
}


class Nodes:
    """What each node of a body is in Keras, read in the order of the run."""

    def __init__(self, state: ReadingState) -> None:
        self.state = state
        self.calls = Calls(state)

    def read(self, body: Body, seen: SeenValue) -> None:
        """Read one value."""
        node = seen.node
        if isinstance(node, ast.GeneratorExp):
            return  # nothing in it has run yet: its text is that of its parts later
        reader = getattr(self, f"_{type(node).__name__}", None)
        try:
            operand = reader(body, seen) if reader is not None else self.plain(body, seen)
        except NoRuleError as problem:
            body.written.stubs.setdefault(node, str(problem))
            operand = self.state.operand(seen.value, body.edited(node))
        body.keep(node, operand)
        self._bound(body, node, operand)

    def plain(self, body: Body, seen: SeenValue) -> Operand:
        """The source's own text, with what is in it rewritten."""
        operand = self.state.operand(seen.value, body.edited(seen.node))
        return self.with_items(seen.value, operand)

    def with_items(self, value: Any, operand: Operand) -> Operand:
        """The same, with the operands inside a list or tuple."""
        if isinstance(value, list | tuple) and operand.items is None and any(True for _ in tensors(value)):
            items = tuple(
                self.state.operand(item, f"{atom(operand.text)}[{k}]") for k, item in enumerate(value)
            )
            return Operand(value, operand.text, items=items)
        return operand

    def _bound(self, body: Body, node: ast.AST, operand: Operand) -> None:
        """Local names that now hold a whole shape, or no longer do."""
        parent = body.parents.get(node)
        if isinstance(parent, ast.Assign) and parent.value is node:
            for target in parent.targets:
                if isinstance(target, ast.Name):
                    body.shapes[target.id] = operand.shape_of

    def _Name(self, body: Body, seen: SeenValue) -> Operand:
        node: Any = seen.node
        operand = self.plain(body, seen)
        text = operand.text
        if text == "self":
            return operand
        if (asked := asked_class(self.state.recording, seen.value)) is not None:
            return Operand(seen.value, asked)
        if isinstance(seen.value, tuple) and body.shapes.get(node.id) is not None:
            return Operand(seen.value, text, shape_of=body.shapes[node.id])
        return self._container(body, node, Operand(operand.value, text, operand.layout, items=operand.items))

    def _container(self, body: Body, node: ast.AST, operand: Operand) -> Operand:
        """keras.Sequential has its layers as an attribute where torch's is one with them."""
        if not is_sequence(type(operand.value)):
            return operand
        parent: Any = body.parents.get(node)
        walked = isinstance(parent, ast.For | ast.comprehension) and parent.iter is node
        taken = isinstance(parent, ast.Subscript) and parent.value is node
        name = parent.func.id if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) else ""
        given = (
            name in {"enumerate", "zip", "reversed", "list", "len", "tuple", "iter"}
            and parent.func is not node
        )
        if walked or taken or given:
            return Operand(operand.value, f"{operand.text}.layers")
        return operand

    def _Attribute(self, body: Body, seen: SeenValue) -> Operand:
        node: Any = seen.node
        base = body.operand(node.value)
        value = seen.value
        if base.is_tensor:
            return self._of_tensor(body, seen, base)
        if node.attr in ("values", "indices") and base.items is not None and len(base.items) == 2:
            return base.items[node.attr == "indices"]
        if node.attr == "training" and hasattr(base.value, "forward"):
            return Operand(value, "training")
        if type(value).__name__ == "dtype" and type(value).__module__ == "torch":
            name = str(value).removeprefix("torch.")
            return Operand(value, "keras.config.floatx()" if "float" in name else f'"{name}"')
        if (asked := asked_class(self.state.recording, value)) is not None:
            return Operand(value, asked)
        if container_kind(base.value) == "dict" and node.attr in base.value._modules:
            child = self.state.operand(value, child_by_name("dict", base.text, node.attr))
            return self._container(body, node, child)
        if is_sequence(type(base.value)) and node.attr in base.value._modules:
            return self.state.operand(value, f'{base.text}.get_layer("{node.attr}")')
        if torch_name(base.value) is not None and base.value is not body.call.module:
            setting = setting_text(base.value, node.attr)
            if setting is not None:
                named = setting.partition(".")[0].isidentifier()
                return Operand(value, f"{base.text}.{setting}" if named else setting)
        if torch_name(base.value) is not None and not sets_itself(type(base.value), node.attr):
            setting = setting_text(base.value, node.attr)
            if setting is not None and setting.isidentifier():
                return Operand(value, f"{base.text}.{setting}")
        text = body.edited(node)
        is_self = hasattr(base.value, "forward") or base.text == "super()"
        if is_self:
            called = callable(value) and not hasattr(value, "forward") and hasattr(value, "__self__")
            name = method(node.attr) if called else attribute(node.attr)
            text = f"{base.text}.{name}"
            weight = weight_of(base.value, node.attr) if isinstance(value, SeenTensor) else None
            if weight is not None:
                self.state.layouts[value.key] = AxisLayout(weight[1])
                text = f"{base.text}.{weight[0]}"
        operand = self.with_items(value, self.state.operand(value, text))
        return self._container(body, node, operand)

    def _of_tensor(self, body: Body, seen: SeenValue, base: Operand) -> Operand:
        node: Any = seen.node
        if node.attr == "shape":
            return Operand(seen.value, f"ops.shape({base.text})", shape_of=base.layout)
        if node.attr == "ndim":
            return Operand(seen.value, f"len({atom(base.text)}.shape)")
        if node.attr in ("data", "real"):
            return (
                self.state.operand(seen.value, base.text) if node.attr == "data" else self.plain(body, seen)
            )
        if node.attr == "dtype":
            return Operand(seen.value, f"{atom(base.text)}.dtype")
        if node.attr in ("T", "mT"):
            return self._ruled(body, seen, node.attr, [base])
        return self.plain(body, seen)

    def _ruled(self, body: Body, seen: SeenValue, name: str, operands: list[Operand]) -> Operand:
        step = step_of(self.state, body, seen, name, operands, {})
        return self.calls.ruled(body, step, seen.node)

    def _BinOp(self, body: Body, seen: SeenValue) -> Operand:
        node: Any = seen.node
        operands = [body.operand(node.left), body.operand(node.right)]
        name = OPERATORS.get(type(node.op))
        if not any(operand.is_tensor for operand in operands) or name is None:
            return self.plain(body, seen)
        if name in ("logical_and", "logical_or", "matmul"):
            if name != "matmul":
                return self._same_text(body, seen, operands)
            return self._ruled(body, seen, name, operands)
        return self._same_text(body, seen, operands, name)

    def _same_text(self, body: Body, seen: SeenValue, operands: list[Operand], name: str = "") -> Operand:
        """The source's operator; the operands' axes are brought into one order first."""
        step = step_of(self.state, body, seen, name or type(seen.node).__name__, operands, {})
        texts, layout = together(step, operands)
        both = [Operand(operand.value, text) for operand, text in zip(operands, texts, strict=True)]
        texts = promoted(both, seen.value)
        if texts == [operand.text for operand in operands]:
            step.gives("", layout)
            self.calls.settle(body, step, seen.node)
            return self.state.operand(seen.value, body.edited(seen.node))
        for operand, text in zip(operands, texts, strict=True):
            if operand.text != text:
                self._retext(body, seen.node, operand, text)
        step.gives("", layout)
        self.calls.settle(body, step, seen.node)
        return self.state.operand(seen.value, body.edited(seen.node))

    def _retext(self, body: Body, node: ast.AST, operand: Operand, text: str) -> None:
        for child in ast.iter_child_nodes(node):
            if body.operands.get(child) is operand:
                body.keep(child, Operand(operand.value, text, operand.layout))
                body.written.texts[child] = body.operands[child]
                body.written.clashes.pop(child, None)

    def _Compare(self, body: Body, seen: SeenValue) -> Operand:
        node: Any = seen.node
        operands = [body.operand(part) for part in (node.left, *node.comparators)]
        if isinstance(seen.value, SeenTensor):
            return self._same_text(body, seen, operands)
        return self.plain(body, seen)

    def _UnaryOp(self, body: Body, seen: SeenValue) -> Operand:
        node: Any = seen.node
        operand = body.operand(node.operand)
        if not operand.is_tensor:
            return self.plain(body, seen)
        if isinstance(node.op, ast.Invert | ast.Not):
            return self._ruled(body, seen, "logical_not", [operand])
        self.state.layouts[seen.value.key] = operand.layout or AxisLayout(operand.order)
        return self.plain(body, seen)

    def _AugAssign(self, body: Body, seen: SeenValue) -> Operand:
        node: Any = seen.node
        target, value = body.operands.get(node.target), body.operand(node.value)
        if target is None or not target.is_tensor:
            if value.is_tensor and isinstance(seen.value, SeenTensor):  # a number that a tensor is added to
                self.state.layouts[seen.value.key] = value.layout or AxisLayout(value.order)
            return self.plain(body, seen)
        step = step_of(self.state, body, seen, "add", [target, value], {})
        if isinstance(node.op, ast.MatMult):
            raise NoRuleError("@=")
        main = target if len(target.value.shape) == len(seen.value.shape) else value
        texts, layout = together(step, [main, value] if main is target else [target, main])
        if texts[0] != target.text:
            raise NoRuleError("an operation in place between two orders of axes")
        if texts[1] != value.text and node.value in body.operands:
            body.operands[node.value] = body.written.texts[node.value] = Operand(
                value.value, texts[1], value.layout
            )
        if seen.value.key not in self.state.layouts:
            step.gives("", layout)
            self.calls.settle(body, step, seen.node)
        return self.plain(body, seen)

    def _Tuple(self, body: Body, seen: SeenValue) -> Operand:
        node: Any = seen.node
        operand = self.plain(body, seen)
        if any(isinstance(part, ast.Starred) for part in node.elts):
            return self.with_items(seen.value, operand)
        return Operand(seen.value, operand.text, items=tuple(body.operand(part) for part in node.elts))

    _List = _Tuple

    def _IfExp(self, body: Body, seen: SeenValue) -> Operand:
        node: Any = seen.node
        always = self.state.ways.always(node.test, body.call.function)
        if always is None:
            return self.plain(body, seen)
        chosen = body.operand(node.body if always else node.orelse)
        return Operand(seen.value, chosen.text, chosen.layout, chosen.shape_of, chosen.items)

    def _BoolOp(self, body: Body, seen: SeenValue) -> Operand:
        node: Any = seen.node
        ways, neutral = self.state.ways, isinstance(node.op, ast.And)
        kept = [part for part in node.values if ways.always(part, body.call.function) is not neutral]
        always = ways.always(node, body.call.function)
        if always is not None and "torch" in body.source(node):
            return Operand(seen.value, str(always))
        if not kept or len(kept) == len(node.values) or ways.always(node, body.call.function) is not None:
            return self.plain(body, seen)
        word = " and " if neutral else " or "
        return self.state.operand(seen.value, word.join(body.operand(part).text for part in kept))

    def _Call(self, body: Body, seen: SeenValue) -> Operand:
        return self.calls.read(body, seen, self)

    def _Subscript(self, body: Body, seen: SeenValue) -> Operand:
        node: Any = seen.node
        base = body.operand(node.value)
        if base.shape_of is not None:
            index = self._number(body, node.slice)
            if isinstance(index, int) and walked_axes(body, node, base, index):
                return Operand(seen.value, f"{base.text}[{body.source(node.slice)}]")
            if index is None:
                raise NoRuleError("a part of a shape that is not written with numbers")
            text, _ = shape_part(base, index, body.edited_of(node.slice))
            return Operand(seen.value, text)
        if not base.is_tensor:
            whole = isinstance(node.value, ast.Call) and base.items is not None
            return self._item(body, seen, base, body.operand(node.slice).value if whole else None)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        step = step_of(self.state, body, seen, "__getitem__", [base], {})
        result = subscript(step, [self._index(body, part) for part in parts])
        self.calls.settle(body, step, seen.node)
        return result

    def _item(self, body: Body, seen: SeenValue, base: Operand, index: Any) -> Operand:
        """One of several results: its own text, where the operation gives each of them one."""
        if isinstance(index, int) and base.items is not None and "[" not in base.items[index].text[-3:]:
            return base.items[index]
        return self.plain(body, seen)

    def _index(self, body: Body, part: Any) -> Index:
        if isinstance(part, ast.Slice):
            return Index("slice", body.edited_of(part))
        operand = body.operand(part)
        if operand.value is None:
            return Index("none", "None")
        if operand.value is Ellipsis:
            return Index("ellipsis", "...")
        if isinstance(operand.value, int) and not isinstance(operand.value, bool):
            return Index("number", operand.text, operand.value)
        if operand.is_tensor:
            return Index("tensor", operand.text, operand.value)
        if isinstance(operand.value, slice):
            return Index("slice", operand.text)
        value = operand.value
        if isinstance(value, list | tuple) and value and all(type(item) is int for item in value):
            return Index("tensor", operand.text, value)
        raise NoRuleError("a subscript of a tensor by a list")

    @staticmethod
    def _number(body: Body, node: Any) -> Any:
        """The number or slice of numbers that a subscript is."""
        if isinstance(node, ast.Slice):
            parts = [
                None if p is None else body.operand(p).value for p in (node.lower, node.upper, node.step)
            ]
            return slice(*parts)
        value = body.operand(node).value
        return value if isinstance(value, int) else None
