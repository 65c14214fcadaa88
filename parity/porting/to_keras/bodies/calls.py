"""Calls in a body: of modules, of the user's functions, of torch's operations, of Python's own."""

from __future__ import annotations

import ast
import typing
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from parity.adapters.recording.records import SeenTensor, SeenValue
from parity.porting.to_keras.bodies.body import Body
from parity.porting.to_keras.bodies.state import ReadingState
from parity.porting.to_keras.layout.axes import HeldOrder, identity
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, SourcePlace, atom, tensors
from parity.porting.to_keras.leaves.table import leaf_class
from parity.porting.to_keras.leaves_axes import is_sequence, leaf_order, torch_name
from parity.porting.to_keras.names import within_torch
from parity.porting.to_keras.operations.indexing import shape_part
from parity.porting.to_keras.operations.step import STORAGE, BodyStep, NoRuleError, assigned_within
from parity.porting.to_keras.operations.table import RULES

COMPILERS = {
    "is_scripting",
    "is_tracing",
    "is_compiling",
    "is_exporting",
    "is_dynamo_compiling",
    "is_in_onnx_export",
}
"""Questions about torch's compilers, which do not ask in Keras."""
NORMS = {"batch_norm": "BatchNorm", "layer_norm": "LayerNorm", "group_norm": "GroupNorm"}
"""Functions that a class derived from a norm calls with its own weights: in Keras the class' own call."""
FUNCTIONS = {
    "ReLU": "relu",
    "ReLU6": "relu6",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Flatten": "flatten",
    "Unflatten": "unflatten",
    "MaxPool1d": "max_pool1d",
    "MaxPool2d": "max_pool2d",
    "AvgPool2d": "avg_pool2d",
    "AdaptiveAvgPool2d": "adaptive_avg_pool2d",
    "AdaptiveMaxPool2d": "adaptive_max_pool2d",
    "AdaptiveAvgPool1d": "adaptive_avg_pool1d",
    "Upsample": "interpolate",
    "PixelShuffle": "pixel_shuffle",
    "CosineSimilarity": "cosine_similarity",
}
"""Layers without weights, and the functions that take the same settings behind their input."""
FUNCTION = "_function_{}_"
"""What stands for a user's function in a text until all names are known."""


def step_of(
    state: ReadingState,
    body: Body,
    seen: SeenValue,
    name: str,
    operands: list[Operand],
    named: dict[str, Operand],
) -> BodyStep:
    """A step of a body, for a rule."""
    node: Any = seen.node
    place = SourcePlace(body.call.function.source.file, node.lineno, node.end_col_offset)
    step = BodyStep(name, operands, named, seen.value, place, state.tries.get(place, 0))
    around: Any = node
    while around in body.parents and not isinstance(around, ast.stmt):
        around = body.parents[around]
    if isinstance(around, ast.Assign) and isinstance(around.targets[0], ast.Name):
        name = around.targets[0].id
        if _reads(around.value, name) == _reads(node, name) and not evaluated_anew(body, node):
            step.target = name
    step.taken = {
        name
        for part, found in body.written.before.items()
        if part is not node and statement_of(body, part) is around
        for name, _ in found
    }
    return step


def statement_of(body: Body, node: ast.AST) -> ast.AST:
    """The statement that a node is part of."""
    while node in body.parents and not isinstance(node, ast.stmt):
        node = body.parents[node]
    return node


def evaluated_anew(body: Body, node: ast.AST) -> bool:
    """Whether a node may run more than once in its statement, or not at all: nothing goes in front of that for it."""
    while not isinstance(node, ast.stmt) and node in body.parents:
        around: Any = body.parents[node]
        if isinstance(
            around, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda | ast.While
        ):
            return True
        if isinstance(around, ast.IfExp) and node is not around.test:
            return True
        if isinstance(around, ast.BoolOp) and node is not around.values[0]:
            return True
        node = around
    return False


def _reads(node: ast.AST, name: str) -> int:
    return sum(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))


class Calls:
    """Reads calls."""

    def __init__(self, state: ReadingState) -> None:
        self.state = state

    def read(self, body: Body, seen: SeenValue, nodes: Any) -> Operand:
        """What a call is in Keras."""
        node: Any = seen.node
        callee = seen.callee
        if _name(callee) in COMPILERS and not node.args:
            return Operand(seen.value, repr(seen.value))
        if id(callee) in self.state.made:
            return self._of_made(body, seen, nodes)
        if hasattr(callee, "forward") and not isinstance(callee, type):
            return self._module(body, seen, nodes)
        if isinstance(callee, type) and leaf_class(callee) is callee and callee.__name__ in FUNCTIONS:
            return self._made_here(body, seen)
        if (called := self._forward_of_another(body, callee)) is not None:
            return self._module(body, replace(seen, callee=called), nodes)
        inner = self.state.children.get((body.call, node), [])
        if inner and not _of_torch(callee):
            return self._of_user(body, seen, nodes)
        name = _name(callee)
        receiver = self._receiver(body, node, callee)
        if name == "forward" and _of_torch(callee) and body.call.module is not None and node.args:
            return self._own_forward(body, seen)
        if (torch_name(body.call.module) or "").startswith(NORMS.get(name, "?")) and node.args:
            return self._own_norm(body, seen, name)
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
        return nodes.with_items(
            seen.value, self.ruled(body, step_of(self.state, body, seen, name, operands, named), node)
        )

    @staticmethod
    def _forward_of_another(body: Body, callee: Any) -> Any | None:
        """The layer whose `forward` is called by name; None for the own one's and for all else."""
        module = getattr(callee, "__self__", None)
        named = getattr(callee, "__name__", "") == "forward" and hasattr(module, "forward")
        return module if named and module is not body.call.module else None

    def _own_norm(self, body: Body, seen: SeenValue, name: str) -> Operand:
        """The call of the Keras layer that the class derives from."""
        node: Any = seen.node
        tensor = body.operand(node.args[0])
        step = step_of(self.state, body, seen, name, [tensor], {})
        wanted, after = leaf_order(body.call.module, tensor.order, len(seen.value.shape))
        text = step.into(tensor, wanted)
        kind = torch_name(body.call.module) or ""
        mode = ", training=training" if "BatchNorm" in kind or "Dropout" in kind else ""
        step.gives("", AxisLayout(after, step.debts(tensor)))
        self.settle(body, step, node)
        return self.state.operand(seen.value, f"super().call({text}{mode})")

    def _own_forward(self, body: Body, seen: SeenValue) -> Operand:
        """`super().forward(x)` of a class that derives from one of torch's."""
        node: Any = seen.node
        if torch_name(body.call.module) in ("Sequential", "ModuleList", "ModuleDict"):
            return self.state.operand(seen.value, f"self.in_sequence({body.operand(node.args[0]).text})")
        return self._own_norm(body, seen, "forward")

    def ruled(self, body: Body, step: BodyStep, node: ast.AST) -> Operand:
        """What the table says of an operation."""
        name = step.name
        rule = RULES.get(name) or (
            RULES.get(name[:-1]) if name.endswith("_") and not name.endswith("__") else None
        )
        if rule is None:
            raise NoRuleError(f"torch's {name} has no rule")
        operand = rule(step)
        if step.before and evaluated_anew(body, node):
            operand = assigned_within(operand, step.before)
            step.before.clear()
        self.settle(body, step, node)
        return operand

    def settle(self, body: Body, step: BodyStep, node: ast.AST) -> None:
        """Keep what a step says of the layouts of its results."""
        for tensor, layout in step.given:
            if tensor.held is None or tensor.key not in self.state.layouts:
                self.state.layouts[tensor.key] = layout
        body.written.helpers |= step.helpers
        if step.before:
            body.written.before[node] = step.before

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
                    raise NoRuleError("arguments from an iterator")
            else:
                operands.append(operand)
        named = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise NoRuleError("arguments from a dict")
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
            return Operand(seen.value, text, shape_of=receiver.layout or AxisLayout(receiver.order))
        whole = Operand(receiver.value.shape, text, shape_of=receiver.layout or AxisLayout(receiver.order))
        part, _ = shape_part(whole, operands[1].value, operands[1].text)
        return Operand(seen.value, part)

    def _module(self, body: Body, seen: SeenValue, nodes: Any) -> Operand:
        """A layer or block: its call stays; its tensors come in the order that it needs."""
        node: Any = seen.node
        module = seen.callee
        path = self.state.place_of(module)
        name = torch_name(module)
        edits: dict[ast.AST, str] = {}
        forwarded = isinstance(node.func, ast.Attribute) and body.operand(node.func).value is not module
        if forwarded:
            self._forwarded(body, seen, path)
        if name is not None and not self.state.of_user(module) and name not in ("Sequential", "Flatten"):
            wanted = self.state.leaf_orders.get(path, set())
            if node.args and not isinstance(node.args[0], ast.Starred):
                operand = body.operand(node.args[0])
                if operand.is_tensor and wanted and operand.order not in wanted and len(operand.order) > 2:
                    step = step_of(self.state, body, seen, name, [operand], {})
                    edits[node.args[0]] = step.into(operand, next(iter(wanted)))
            edits |= self._further(body, seen, name, wanted)
        for argument, text in edits.items():
            operand = body.operand(argument)
            body.keep(argument, Operand(operand.value, text, operand.layout))
            body.written.texts[argument] = body.operands[argument]
            body.written.clashes.pop(argument, None)
        if forwarded:
            layer = body.operand(node.func.value)  # Keras builds a layer where it is called itself
            body.operands[node.func] = body.written.texts[node.func] = layer
            body.written.clashes.pop(node.func, None)
        text = body.edited(node)
        if self.state.of_user(module):
            text = self._by_name(body, seen, text)
        return nodes.with_items(seen.value, self.state.operand(seen.value, text))

    def _further(
        self, body: Body, seen: SeenValue, name: str, wanted: Collection[HeldOrder]
    ) -> dict[ast.AST, str]:
        """The further tensors of a layer of torch's (keys, memories, masks) whose order is not the one that it needs.

        They come in the order of the first tensor where they have as many axes, else in torch's own.
        """
        node: Any = seen.node
        edits: dict[ast.AST, str] = {}
        if not wanted:
            return edits
        first = next(iter(wanted))
        for argument in (*node.args[1:], *(keyword.value for keyword in node.keywords)):
            operand = None if isinstance(argument, ast.Starred) else body.operand(argument)
            if operand is not None and operand.is_tensor:
                rank = len(operand.order)
                order = first if rank == len(first) else identity(rank)
                if operand.order != order:
                    step = step_of(self.state, body, seen, name, [operand], {})
                    edits[argument] = step.into(operand, order)
        return edits

    def _forwarded(self, body: Body, seen: SeenValue, path: str) -> None:
        """Layouts around a layer of torch's whose `forward` is called, which is no call that was recorded of it."""
        node: Any = seen.node
        if self.state.of_user(seen.callee) or is_sequence(type(seen.callee)) or not node.args:
            return
        tensor = body.operand(node.args[0])
        if tensor.is_tensor and isinstance(seen.value, SeenTensor):
            wanted, after = leaf_order(seen.callee, tensor.order, len(seen.value.shape))
            self.state.leaf_orders.setdefault(path, set()).add(wanted)
            debts = tensor.layout.debts if tensor.layout is not None and wanted == tensor.order else ()
            self.state.layouts[seen.value.key] = AxisLayout(after, debts)

    def _made_here(self, body: Body, seen: SeenValue) -> Operand:
        """A layer without weights that a body makes where it needs it: its call is that of a function."""
        node: Any = seen.node
        operands, named = self._given(body, node)
        self.state.made[id(seen.value)] = operands, named
        return Operand(seen.value, body.edited(node))

    def _of_made(self, body: Body, seen: SeenValue, nodes: Any) -> Operand:
        """The call of a layer that the body made."""
        operands, named = self.state.made[id(seen.callee)]
        kind = type(seen.callee).__name__
        if kind == "Flatten" and not operands and "start_dim" not in named:
            named = {**named, "start_dim": Operand(1, "1")}
        node: Any = seen.node
        given, more = self._given(body, node)
        step = step_of(self.state, body, seen, FUNCTIONS[kind], [*given, *operands], {**more, **named})
        return nodes.with_items(seen.value, self.ruled(body, step, node))

    def _by_name(self, body: Body, seen: SeenValue, text: str) -> str:
        """A call of a layer in which only tensors are positional, as Keras wants it."""
        node: Any = seen.node
        inner = self.state.children.get((body.call, node), [])
        called = next((c for c in inner if c.module is seen.callee and c.function.name == "forward"), None)
        plain = [k for k, arg in enumerate(node.args) if not _tensorial(body.operand(arg).value)]
        starred = any(isinstance(arg, ast.Starred) for arg in node.args)
        if called is None or not plain or starred or called.function.node.args.vararg is not None:
            return text
        names = called.function.argument_names[1:]
        parts = [
            body.operand(arg).text if k < plain[0] else f"{names[k]}={body.operand(arg).text}"
            for k, arg in enumerate(node.args)
        ]
        parts += [body.edited(keyword) for keyword in node.keywords]
        return f"{body.edited_of(node.func)}({', '.join(parts)})"

    def _of_user(self, body: Body, seen: SeenValue, nodes: Any) -> Operand:
        """A function of the user's: it is part of the port, in the layout that it was called in."""
        node: Any = seen.node
        inner = self.state.children[(body.call, node)]
        called = next((c for c in inner if c.function.name == _name(seen.callee)), inner[0])
        if called.module is None and isinstance(node.func, ast.Name | ast.Attribute):
            written = self.state.body(called).written
            number = list(self.state.written.values()).index(written)
            operand = body.operand(node.func)
            body.operands[node.func] = Operand(operand.value, FUNCTION.format(number))
            body.written.texts[node.func] = body.operands[node.func]
            body.written.clashes.pop(node.func, None)
        return nodes.with_items(seen.value, self.state.operand(seen.value, body.edited(node)))

    def _of_python(self, body: Body, seen: SeenValue, nodes: Any) -> Operand:
        node: Any = seen.node
        name = _name(seen.callee)
        if name == "cast" and seen.callee is typing.cast:
            return body.operand(node.args[1])
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


def _tensorial(value: Any) -> bool:
    """Whether Keras takes a value as a positional argument of a layer."""
    if isinstance(value, list | tuple):
        return bool(value) and all(_tensorial(item) for item in value)
    if isinstance(value, dict):
        return all(_tensorial(item) for item in value.values())
    return value is None or isinstance(value, SeenTensor)


def _of_torch(callee: Any) -> bool:
    owner = getattr(callee, "__self__", None)
    places = (getattr(callee, "__module__", None), getattr(owner, "__name__", None), type(owner).__module__)
    return any(within_torch(place) for place in places if isinstance(place, str))
