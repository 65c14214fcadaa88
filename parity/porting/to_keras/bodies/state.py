"""What is known while a recording is read: the layouts, the calls that are read, and where modules are."""

from __future__ import annotations

import ast
from typing import Any

from parity.adapters.recording.records import FunctionCall, Recording, SeenTensor, UserFunction
from parity.porting.to_keras.bodies.body import Body, Signature, WrittenBody, parents_of
from parity.porting.to_keras.bodies.ways import Ways
from parity.porting.to_keras.layout.axes import HeldOrder, identity
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, SourcePlace, tensors
from parity.porting.to_keras.leaves.table import leaf_class


class ReadingState:
    """One attempt, with the places as they are written in it."""

    def __init__(
        self,
        recording: Recording,
        ways: Ways,
        tries: dict[SourcePlace, int],
        parents: dict[UserFunction, dict[ast.AST, ast.AST]],
    ) -> None:
        self.recording, self.ways, self.tries, self.parents = recording, ways, tries, parents
        self.layouts: dict[int, AxisLayout] = {}
        self.bodies: dict[FunctionCall, Body] = {}
        self.written: dict[tuple[UserFunction, Signature], WrittenBody] = {}
        self.children: dict[tuple[FunctionCall, ast.AST], list[FunctionCall]] = {}
        self.leaf_orders: dict[str, set[HeldOrder]] = {}
        self.problems: list[tuple[str, str, str]] = []
        self.made: dict[int, tuple[list[Operand], dict[str, Operand]]] = {}  # layers that bodies make, by id
        self.paths = {id(made.module): path for path, made in recording.modules.items()}
        for call in recording.calls:
            if call.caller is not None and call.site is not None and call.phase != "build":
                self.children.setdefault((call.caller, call.site), []).append(call)

    def body(self, call: FunctionCall) -> Body:
        """The state of a call; its function is written for the orders of axes of its arguments."""
        if call not in self.bodies:
            function = call.function
            signature = tuple(self.layout(tensor).order for tensor in tensors(list(call.arguments.values())))
            key = (function, signature)
            if key not in self.written:
                self.written[key] = WrittenBody(function, signature)
            if function not in self.parents:
                self.parents[function] = parents_of(function)
            self.written[key].calls.append(call)
            self.bodies[call] = Body(call, self.written[key], self.parents[function])
        return self.bodies[call]

    def layout(self, tensor: SeenTensor) -> AxisLayout:
        """How Keras holds a tensor; parameters and constants as torch does."""
        return self.layouts.get(tensor.key) or AxisLayout(identity(len(tensor.shape)))

    def operand(self, value: Any, text: str) -> Operand:
        """An operand with its layout, and the layouts of what is in it."""
        if isinstance(value, SeenTensor):
            return Operand(value, text, self.layout(value))
        return Operand(value, text)

    def place_of(self, module: Any) -> str:
        """The path of a module; a key of its own for one that a body made."""
        return self.paths.get(id(module), f"made {id(module)}")

    @staticmethod
    def of_user(module: Any) -> bool:
        """Whether a module's forward is the user's."""
        if leaf_class(type(module)) is not None:
            return False
        forward = getattr(type(module), "forward", None)
        return not getattr(forward, "__module__", "").startswith("torch.")
