"""The statements of a constructor that are needed in Keras, with the source's loops, conditions and comments."""

from __future__ import annotations

import ast
import builtins
import copy
import re
from collections.abc import Collection, Iterator
from typing import Any

from parity.porting.to_keras.containers import container_kind
from parity.porting.to_keras.layout.parts import bounds_of, dropped_axes, with_axes
from parity.porting.to_keras.leaves.setting import NoCounterpartError
from parity.porting.to_keras.making.expressions import Expressions
from parity.porting.to_keras.making.parts.growing import GROWING, grown, named_layer
from parity.porting.to_keras.making.parts.initial import first_values
from parity.porting.to_keras.making.scope import Scope
from parity.porting.to_keras.making.values import FunctionValues
from parity.porting.to_keras.making.weights import constant_text, weight_text
from parity.porting.to_keras.names import NOT_PORTED, attribute, in_one, not_ported
from parity.porting.to_keras.plain_objects import is_plain_object

Simple = ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr | ast.Return | ast.Raise
_MARKS = re.compile(r"#\s*(noqa|type:|pylint|fmt)")


CHANGING = {
    *GROWING,
    "pop",
    "popitem",
    "setdefault",
    "clear",
    "remove",
    "discard",
    "add",
    "sort",
    "reverse",
}
"""Methods that change the container that they are called on."""
_REFUSAL = re.compile(rf"raise ValueError\(['\"]{NOT_PORTED}")


class MakingStatements:
    """Writes the body of one function that makes modules.

    Args:
        values: the function and what it did.
        shop: knows the rest of the port.
        reads: the attributes that are read of `self` later.
        sequential: whether `self` is a sequence, to which layers are added.
    """

    def __init__(
        self, values: FunctionValues, shop: Any, reads: Collection[str] = (), sequential: bool = False
    ):
        self.values, self.shop, self.reads, self.sequential = values, shop, set(reads), sequential
        self.expressions = Expressions(values, shop)
        self.source = values.function.source
        self._texts: dict[ast.AST, str] = {}
        self.computing = True  # buffers get their values
        self._refused = False

    def lines(self) -> list[str]:
        """The lines of the body, without indentation.

        A way that no run took is written too; where that is not possible, it is refused with an error.

        Raises:
            NoCounterpartError: something that is needed cannot be written.
        """
        body = self.values.function.node.body
        try:
            return self._lines(body)
        except NoCounterpartError as error:
            reason = error
        has_buffers = any(getattr(call.module, "_buffers", None) for call in self.values.calls)
        # What a way that never ran needs may be what cannot be written; a saved buffer may start as zeros, and gets
        # its values with the weights.
        for self._refused, self.computing in ((False, False), (True, True), (True, False)):
            if self.computing or has_buffers:
                self._texts.clear()
                try:
                    return self._lines(body)
                except NoCounterpartError as error:
                    reason = error
        raise reason

    def _lines(self, body: list[ast.stmt]) -> list[str]:
        simple = list(self._simple(body))
        kept = {node for node in simple if self._essential(node)}
        while True:
            needed = self._needed(body, kept)
            more = {node for node in simple if node not in kept and self._defines(node) & needed}
            if not more:
                break
            kept |= more
        return self._block(body, kept)

    def _simple(self, body: list[ast.stmt]) -> Iterator[Any]:
        for node in body:
            if isinstance(node, Simple | ast.FunctionDef):
                yield node
            else:
                for name in ("body", "orelse", "finalbody"):
                    if not isinstance(node, ast.ClassDef):
                        yield from self._simple(getattr(node, name, []))

    def _needed(self, body: list[ast.stmt], kept: set[Any]) -> set[str]:
        """The names that the text of kept statements reads."""
        return _loaded("\n".join(self._block(body, kept)))

    def _essential(self, node: Any) -> bool:
        if isinstance(node, ast.FunctionDef):
            return False
        if isinstance(node, ast.Return):
            return node.value is not None
        if isinstance(node, ast.Raise):
            return node.exc is not None and not self._refused
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return node.value is not None and any(self._is_kept(target, node.value) for target in targets)
        call = node.value
        if not isinstance(call, ast.Call):
            return False
        if _is_super(call):
            return True
        if isinstance(call.func, ast.Name) and call.func.id == "setattr":
            return self._has_modules(call.args[2])
        return isinstance(call.func, ast.Attribute) and self._makes(call, call.func)

    def _makes(self, call: ast.Call, function: ast.Attribute) -> bool:
        """Whether a call of a method puts something into `self`."""
        if isinstance(function.value, ast.Name) and function.value.id == self.expressions.self_name:
            if function.attr in (
                "add_module",
                "append",
                "register_buffer",
                "register_parameter",
                "register_module",
            ):
                return True
            seen = self.values.seen.get(call, [])
            return bool(seen) and self.shop.makes_something(getattr(seen[0].callee, "__func__", None))
        if function.attr in GROWING:
            return isinstance(function.value, ast.Attribute) and self._of_self(function.value)
        return False

    def _of_self(self, node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == self.expressions.self_name
        )

    def _is_kept(self, target: ast.expr, value: ast.expr) -> bool:
        if isinstance(target, ast.Subscript):
            return self._is_kept(target.value, value)
        if isinstance(target, ast.Tuple):
            return any(self._is_kept(part, value) for part in target.elts)
        if not isinstance(target, ast.Attribute) or not self._of_self(target):
            return False
        modules = [call.module for call in self.values.calls if call.module is not None]
        held = any(target.attr in module._modules or target.attr in module._parameters for module in modules)
        return held or target.attr in self.reads or self._has_modules(value)

    def _has_modules(self, node: ast.AST) -> bool:
        return any(_has_modules(value) for value in self.values.of(node))

    def _block(self, body: list[ast.stmt], kept: set[Any]) -> list[str]:
        lines: list[str] = []
        for node in body:
            try:
                made = self._statement(node, kept)
            except NoCounterpartError:
                if node in self.values.ran:
                    raise
                return [*lines, self._refusal(node)]
            if made:
                lines += [*self._comments(node), *made]
        return lines

    def _refusal(self, node: ast.stmt) -> str:
        return not_ported(self.source.of(node))

    def _statement(self, node: Any, kept: set[Any]) -> list[str]:
        if node in kept:
            if node not in self._texts:
                self._texts[node] = self._written(node)
            return self._texts[node].splitlines()
        if isinstance(node, ast.If):
            return self._if(node, kept)
        if isinstance(node, ast.For | ast.While):
            body = self._block(node.body, kept)
            if not body:
                return []
            if isinstance(node, ast.While):
                return [f"while {self.expressions.text(node.test)}:", *_indented(body)]
            head = f"for {self.source.of(node.target)} in {self.expressions.text(node.iter)}:"
            return [head, *_indented(body)]
        if isinstance(node, ast.With | ast.Try):
            return self._block(node.body, kept)
        return []

    def _if(self, node: ast.If, kept: set[Any]) -> list[str]:
        body, orelse = self._block(node.body, kept), self._block(node.orelse, kept)
        if not body and not orelse:
            return []
        if all(len(way) == 1 and _REFUSAL.match(way[0]) for way in (body, orelse)):
            return [self._refusal(node)]
        ways = {bool(value) for value in self.values.of(node.test) if not hasattr(value, "shape")}
        try:
            test = in_one(self.expressions.text(node.test))
        except NoCounterpartError:
            if len(ways) != 1:
                raise
            return body if ways == {True} else orelse
        if ways == {False} and not body:
            return orelse
        if test in ("True", "False"):
            return body if test == "True" else orelse
        if not body:
            return [f"if {_negated(test)}:", *_indented(orelse)]
        lines = [f"if {test}:", *_indented(body)]
        if orelse:
            chained = (
                len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If) and orelse[0].startswith("if ")
            )
            lines += [f"el{orelse[0]}", *orelse[1:]] if chained else ["else:", *_indented(orelse)]
        return lines

    def _written(self, statement: Any) -> str:
        node: Any = statement
        if self._refused and node not in self.values.ran:
            raise NoCounterpartError("a way that did not run")
        if isinstance(statement, ast.FunctionDef):
            return "\n".join([f"def {node.name}({_bare(node.args)}):", *_indented(self._lines(node.body))])
        if isinstance(statement, ast.Raise):
            try:
                return f"raise {self.expressions.text(node.exc)}"
            except NoCounterpartError:
                if not self._is_said(node.exc):
                    raise
                return f"raise {self.source.of(node.exc)}"
        if isinstance(statement, ast.Return):
            return f"return {in_one(self.expressions.text(node.value))}"
        if isinstance(statement, ast.Expr):
            text = self._called(node.value)
            if _is_super(node.value):  # it may be several statements
                return text
            if self.expressions.tensors.gives_tensor(node.value):  # in place in torch
                return f"{self.source.of(node.value.func.value)} = {text}"
            return "" if text == "None" else text if _stands_alone(text) else in_one(text)
        if isinstance(statement, ast.AugAssign):
            operator = self.source.of(node)[len(self.source.of(node.target)) :].split("=")[0].strip()
            if operator == "+" and {container_kind(value) for value in self.values.of(node.target)} == {
                "list"
            }:
                return f"{self._target(node.target)}.extend({self.expressions.text(node.value)})"
            return f"{self._target(node.target)} {operator}= {in_one(self.expressions.text(node.value))}"
        targets: list[Any] = node.targets if isinstance(statement, ast.Assign) else [node.target]
        if (row := self._in_row(targets[0], node.value)) is not None:
            return row
        if len(targets) == 1 and self._of_self(targets[0]):
            return self._assigned(targets[0].attr, node.value)
        if isinstance(targets[0], ast.Subscript) and self.expressions.tensors.gives_tensor(targets[0].value):
            return self._part(targets[0], node.value)
        value = in_one(self.expressions.text(node.value))
        written = [self._target(target) for target in targets]
        return "" if written == [value] else " = ".join([*written, value])

    def _is_said(self, error: ast.AST) -> bool:
        """Whether an error is made of arguments and of what Python has, so that it is the same in the port."""
        known = set(self.values.function.argument_names) - {self.expressions.self_name, *self.values.renamed}
        of_self = [n for n in ast.walk(error) if isinstance(n, ast.Attribute) and n.attr == "__class__"]
        names = [node for node in ast.walk(error) if isinstance(node, ast.Name)]
        free = [name for name in names if not any(name is node.value for node in of_self)]
        return all(name.id in known or hasattr(builtins, name.id) for name in free)

    def _in_row(self, target: ast.expr, value: ast.expr) -> str | None:
        """What stands for a dictionary of layers of which a sequence is made, and for an entry of it."""
        held = target.value if isinstance(target, ast.Subscript) else target
        if not isinstance(held, ast.Name) or held.id not in self.expressions.rows:
            return None
        if not isinstance(target, ast.Subscript):
            return f"{held.id} = []"
        layer = named_layer(self.expressions.text(value), self.expressions.text(target.slice))
        return f"{held.id}.append({layer})"

    def _part(self, target: ast.Subscript, value: ast.AST) -> str:
        """An assignment to a part of a tensor, which Keras cannot change: a new tensor with that part."""
        rank = len(self.values.of(target.value)[0].shape)
        bounds = bounds_of(target, rank, self.expressions.text, self._is_number)
        if bounds is None:
            raise NoCounterpartError("an assignment to a part of a tensor that is chosen by values")
        slices = [bounds.get(axis, "slice(None)") for axis in range(rank)]
        while len(slices) > 1 and slices[-1] == "slice(None)":
            slices.pop()
        self.shop.makers.helpers.add("with_part")
        name = self.expressions.text(target.value)
        text = self.expressions.text(value)
        if self.expressions.tensors.gives_tensor(value):
            text = with_axes(text, dropped_axes(target, rank))
        return f"{name} = with_part({name}, {text}, {', '.join(slices)})"

    def _is_number(self, node: ast.AST) -> bool:
        values = self.values.of(node)
        return bool(values) and all(type(value) is int and value >= 0 for value in values)

    def _target(self, node: Any) -> str:
        if self._of_self(node):
            return f"{node.value.id}.{attribute(node.attr)}"
        if isinstance(node, ast.Subscript):
            return f"{self._target(node.value)}[{self.expressions.text(node.slice)}]"
        if isinstance(node, ast.Tuple):
            return ", ".join(map(self._target, node.elts))
        if isinstance(node, ast.Name):
            return self.values.renamed.get(node.id, node.id)
        if self._of_object(node):
            return f"{self.expressions.text(node.value)}.{node.attr}"
        raise NoCounterpartError(f"an assignment to {self.source.of(node)}")

    def _of_object(self, node: ast.AST) -> bool:
        """Whether a node is an attribute of a plain object that a local name holds."""
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            return False
        held = self.values.of(node.value)
        return bool(held) and all(map(is_plain_object, held))

    def _defines(self, node: Any) -> set[str]:
        """The local names that a statement sets, or whose objects it changes."""
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        return _defines(node) | {target.value.id for target in targets if self._of_object(target)}

    def _assigned(self, name: str, value: ast.expr) -> str:
        modules = [call.module for call in self.values.calls if call.module is not None]
        if not self.values.of(value) and any(
            name in (*module._parameters, *module._buffers) for module in modules
        ):
            if isinstance(value, ast.Constant) and value.value is None:
                return f"self.{attribute(name)} = None"
            raise NoCounterpartError(f"the size of {name} is not known, because it was never made")
        if any(name in module._parameters for module in modules):
            tensors = [module._parameters.get(name) for module in modules]
            if all(tensor is None for tensor in tensors) or not any(
                _is_tensor(v) for v in self.values.of(value)
            ):
                return f"self.{attribute(name)} = None"
            return f"self.{attribute(name)} = {self._parameter(name, value)}"
        if any(name in module._buffers for module in modules):
            return self._buffer(name, value, saved=self._is_saved(name))
        if self.sequential and self._has_modules(value):
            return self._added(self.expressions.text(value), f'"{name}"')
        return f"self.{attribute(name)} = {in_one(self.expressions.text(value))}"

    def _parameter(self, name: str, node: ast.AST) -> str:
        """A parameter, with the sizes that it has in the instances; of a condition's two ways either may make it."""
        if isinstance(node, ast.IfExp):
            try:
                test = self.expressions.text(node.test)
            except NoCounterpartError:
                (node,) = [way for way in (node.body, node.orelse) if self.values.of(way)]
            else:
                return (
                    f"{self._parameter(name, node.body)} if {test} else {self._parameter(name, node.orelse)}"
                )
        if not any(_is_tensor(value) for value in self.values.of(node)):
            return "None"
        seen = [call for call in self.values.calls if node in call.values]
        tensors = [call.module._parameters.get(name) for call in seen]
        first = first_values(node, self.values, self.expressions.text)
        return weight_text(name, tensors, Scope(self.values.around(node), self.shop.naming), True, first)

    def _buffer(self, name: str, node: ast.AST, *, saved: bool) -> str:
        """A buffer with what the constructor computes: a weight where it is saved, else a constant of the layer."""
        seen = [call for call in self.values.calls if node in call.values]
        tensors = [call.module._buffers.get(name) for call in seen]
        made = None
        if self.computing:
            try:
                made = self.expressions.text(node)
            except NoCounterpartError:
                made = None
        if not saved:
            return f"self.{attribute(name)} = {made or constant_text(tensors)}"
        weight = weight_text(name, tensors, Scope(self.values.around(node), self.shop.naming), False)
        line = f"self.{attribute(name)} = {weight}"
        zeros = isinstance(node, ast.Call) and self.source.of(node.func).endswith("zeros")
        return line if made is None or zeros else f"{line}\nself.{attribute(name)}.assign({made})"

    def _is_saved(self, name: str) -> bool:
        return not any(name in call.module._non_persistent_buffers_set for call in self.values.calls)

    def _called(self, call: ast.Call) -> str:
        if _is_super(call):
            return self.shop.super_text(self, call)
        function: Any = call.func
        if isinstance(function, ast.Name) and function.id == "setattr":
            parts = [self.expressions.text(arg) for arg in call.args]
            return self._added(parts[2], parts[1]) if self.sequential else f"setattr({', '.join(parts)})"
        on_self = isinstance(function.value, ast.Name) and function.value.id == self.expressions.self_name
        if on_self and function.attr == "add_module":
            if any(isinstance(arg, ast.Starred) for arg in call.args) and not self.sequential:
                return f"setattr(self, {self.expressions.arguments(call)})"
            if any(isinstance(arg, ast.Starred) for arg in call.args):
                raise NoCounterpartError("a layer whose name is computed")
            name, module = map(self.expressions.text, _given(call, "name", "module"))
            return self._added(module, name) if self.sequential else f"setattr(self, {name}, {module})"
        if on_self and function.attr in ("register_buffer", "register_parameter"):
            held = "_buffers" if function.attr == "register_buffer" else "_parameters"
            held_name, value = _given(call, "name", "tensor" if held == "_buffers" else "param")[:2]
            if not isinstance(held_name, ast.Constant):
                raise NoCounterpartError("a weight whose name is computed")
            weight = str(held_name.value)
            if not any(_is_tensor(one) for one in self.values.of(value)):
                return f"self.{attribute(weight)} = None"
            if held == "_parameters":
                return f"self.{attribute(weight)} = {self._parameter(weight, value)}"
            return self._buffer(weight, value, saved=self._is_saved(weight))
        if on_self and function.attr == "append" and self.sequential:
            return f"self.add({self.expressions.text(call.args[0])})"
        kinds = {container_kind(value) for value in self.values.of(function.value)}
        if function.attr in GROWING and kinds and "" not in kinds:
            return self._grown(call, kinds)
        return self.expressions.changing(call)

    def _grown(self, call: ast.Call, kinds: set[str]) -> str:
        """A container that takes further modules."""
        function: Any = call.func
        if len(kinds) > 1 or any(isinstance(argument, ast.Starred) for argument in call.args):
            raise NoCounterpartError("a container that is another one in other instances")
        parts = _given(call, "name", "module")
        given = [self.expressions.text(part) for part in parts]
        named: Any = parts[0]
        names = [named.value] if isinstance(named, ast.Constant) else self.values.of(named)
        if kinds == {"sequence"} and len(parts) == 2 and all(str(one).isdigit() for one in names):
            return grown("sequence", self.expressions.text(function.value), "append", given[1:])
        if function.attr == "update" and call.keywords:
            raise NoCounterpartError("modules that are given by name")
        return grown(kinds.pop(), self.expressions.text(function.value), function.attr, given)

    @staticmethod
    def _added(text: str, name: str) -> str:
        """A layer that is added to a sequence under a name."""
        return f"self.add({named_layer(text, name)})"

    def _comments(self, node: ast.stmt) -> list[str]:
        """The comment lines directly above a statement."""
        lines = self.source.text.splitlines()
        found: list[str] = []
        number = node.lineno - 2
        while number >= 0 and lines[number].strip().startswith("#"):
            found.insert(0, lines[number].strip())
            number -= 1
        return [line for line in found if not _MARKS.match(line)]


def _has_modules(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_modules, value))
    if isinstance(value, dict):
        return any(map(_has_modules, value.values()))
    return hasattr(value, "forward") and not isinstance(value, type)


def _stands_alone(text: str) -> bool:
    """Whether a text is whole statements."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "shape")


def _is_super(call: ast.Call) -> bool:
    function = call.func
    if not isinstance(function, ast.Attribute) or function.attr != "__init__":
        return False
    inner = function.value
    plain = isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == "super"
    return plain or (bool(call.args) and isinstance(call.args[0], ast.Name) and call.args[0].id == "self")


def _defines(node: Any) -> set[str]:
    """The local names that a statement sets or changes."""
    if isinstance(node, ast.Expr):
        call: Any = node.value
        holder = (
            call.func.value if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else None
        )
        return {holder.id} - {"self"} if isinstance(holder, ast.Name) else set()
    if isinstance(node, ast.Return | ast.Raise):
        return set()
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    found = set()
    for target in targets:
        while isinstance(target, ast.Subscript):
            target = target.value
        for part in target.elts if isinstance(target, ast.Tuple) else [target]:
            found |= {part.id} if isinstance(part, ast.Name) else set()
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
                found.add(f"{part.value.id}.{attribute(part.attr)}")
    return (found | _changed(node)) - {"self"}


def _changed(node: ast.AST) -> set[str]:
    """The local names of containers that a statement changes by a method: `a = given.pop("a")` changes `given`."""
    return {
        part.func.value.id
        for part in ast.walk(node)
        if isinstance(part, ast.Call)
        and isinstance(part.func, ast.Attribute)
        and isinstance(part.func.value, ast.Name)
        and part.func.attr in CHANGING
    }


def _bare(arguments: ast.arguments) -> str:
    """Arguments with their defaults, without annotations."""
    plain = copy.deepcopy(arguments)
    for part in ast.walk(plain):
        if isinstance(part, ast.arg):
            part.annotation = None
    return ast.unparse(plain)


def _given(call: ast.Call, *names: str) -> list[ast.expr]:
    """The arguments of a call by position or name."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    return [*call.args, *(named[name] for name in names[len(call.args) :] if name in named)]


def _loaded(text: str) -> set[str]:
    """The names that a text reads, also attributes of names: self.width."""
    nodes = list(ast.walk(ast.parse(text)))
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    attributes = [
        node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    ]
    return names | {f"{a.value.id}.{a.attr}" for a in attributes if isinstance(a.value, ast.Name)}


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _negated(test: str) -> str:
    return test[4:] if test.startswith("not ") and test[4:].isidentifier() else f"not ({test})"
