"""Expressions of the user's constructors in Keras: the source's own text, with what torch makes replaced."""

from __future__ import annotations

import argparse
import ast
import builtins
import functools
import inspect
import itertools
import types
from collections.abc import Callable, Iterator
from typing import Any

from parity.adapters.recording.records import SeenTensor
from parity.porting.to_keras.containers import child_by_name, container_kind
from parity.porting.to_keras.leaves.library import layer_for
from parity.porting.to_keras.leaves.setting import Argument, NoCounterpartError
from parity.porting.to_keras.leaves.table import TABLE, leaf_class
from parity.porting.to_keras.leaves_axes import is_sequence
from parity.porting.to_keras.making.groups import LISTS, NAMED, SEQUENCES, is_container
from parity.porting.to_keras.making.parts.computed import ComputedTensors
from parity.porting.to_keras.making.parts.named_rows import named_rows, row_of
from parity.porting.to_keras.making.scope import Scope
from parity.porting.to_keras.making.settings import settings_of_call
from parity.porting.to_keras.making.values import FunctionValues
from parity.porting.to_keras.names import argument, attribute, within_torch
from parity.porting.to_keras.plain_objects import attributes_of, is_plain_object

PLACES = frozenset({"device", "dtype"})
"""Arguments that say where and how torch keeps weights: Keras' layers have no such ones."""
LONGEST = 400
"""Letters of a constant that may stand for an expression."""
_MISSING = object()
PLAIN = (bool, int, float, str, type(None), functools.partial)


class Expressions:
    """Writes the expressions of one function."""

    def __init__(self, values: FunctionValues, shop: Any) -> None:
        self.values, self.shop = values, shop
        self.source = values.function.source
        names = values.function.argument_names
        module = any(call.module is not None for call in values.calls)
        self.tensors = ComputedTensors(values, self.text, shop.makers.helpers)
        self.rows = named_rows(values.function.node)
        self.self_name = names[0] if module and names and values.function.owner is not None else None

    def text(self, node: ast.AST) -> str:
        """The text of an expression; by the values that it had, where its parts cannot be written.

        Raises:
            NoCounterpartError: neither is possible.
        """
        try:
            return self._text(node)
        except NoCounterpartError as error:
            try:
                return self.by_value(node)
            except NoCounterpartError:  # what came first says more
                raise error from None

    def changing(self, node: ast.Call) -> str:
        """The text of a call that is there for what it changes, which its value does not say."""
        return self._call(node)

    def _text(self, node: ast.AST) -> str:
        made = self.tensors.written(node)
        if made is not None:
            return made
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.IfExp | ast.BoolOp):
            return self._choice(node)
        if isinstance(node, ast.Dict):
            return self._dictionary(node)
        if isinstance(node, ast.Starred):
            return f"*{self._several(node.value)}"
        return self.spliced(node)

    def _several(self, node: ast.expr) -> str:
        """What is spread over a list: of a sequence its layers."""
        text = _bracketed(self.text(node), ast.Starred(node))
        sequences = [is_sequence(type(value)) for value in self.values.of(node)]
        return f"{text}.layers" if sequences and all(sequences) else text

    def spliced(self, node: ast.AST) -> str:
        """The source of a node with its parts rewritten."""
        start, end = self.source.span(node)
        pieces, at = [], start
        for child in sorted(_parts(node), key=self.source.span):
            text = self.text(child)
            first, last = self.source.span(child)
            if text != self.source.of(child):
                pieces += [self.source.text[at:first], _bracketed(text, node)]
                at = last
        return "".join([*pieces, self.source.text[at:end]])

    def by_value(self, node: ast.AST) -> str:
        """The text of what an expression was in all calls.

        Raises:
            NoCounterpartError: it never ran, or its values cannot be written.
        """
        values = self.values.of(node)
        if not values or any(_holds_tensors(value) for value in values):
            raise NoCounterpartError(f"{self.source.of(node)} is not known before the model runs")
        names = self.values.around(node)
        read = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        try:  # what the expression names says more than what has the same value by chance
            return self._valued(node, values, {name: names[name] for name in names if name in read})
        except NoCounterpartError:
            return self._valued(node, values, names)

    def _given(self, node: ast.AST) -> dict[str, str]:
        """The names that a call of one of torch's classes gives for its arguments, by the names of these."""
        if not isinstance(node, ast.Call):
            return {}
        try:
            parameters = list(inspect.signature(self.values.static(node.func)).parameters)
        except (NoCounterpartError, TypeError, ValueError):
            return {}
        positional = itertools.takewhile(lambda one: not isinstance(one, ast.Starred), node.args)
        pairs = [*zip(parameters, positional, strict=False), *((one.arg, one.value) for one in node.keywords)]
        return {name: value.id for name, value in pairs if name and isinstance(value, ast.Name)}

    def _valued(self, node: ast.AST, values: list[Any], names: dict[str, list[Any]]) -> str:
        scope = Scope(names, self.shop.naming, given=self._given(node))
        if any(_is_module(value) for value in values):
            return self.shop.makers.text(values, scope)
        if any(isinstance(v, list) and v and all(map(_is_module, v)) for v in values):
            lists = [
                types.SimpleNamespace(_modules={str(i): m for i, m in enumerate(value)}) for value in values
            ]
            return self.shop.makers._children(lists, scope)
        hint = (
            node.attr
            if isinstance(node, ast.Attribute)
            else node.id
            if isinstance(node, ast.Name)
            else "value"
        )
        text = scope.text(values, hint)
        if len(text) > LONGEST:
            raise NoCounterpartError(f"{self.source.of(node)} is a long constant")
        return text

    def _name(self, node: ast.Name) -> str:
        if node.id in PLACES and node.id in self.values.function.argument_names:
            return "None"
        if node.id in self.values.local or node.id in ("True", "False", "None"):
            return self.values.renamed.get(node.id, node.id)
        value = self.values.static(node)
        if vars(builtins).get(node.id, _MISSING) is value:
            return node.id
        if self.values.function.function.__globals__.get(node.id, _MISSING) is value:
            return str(self.shop.global_text(node.id, value))
        return self.shop.value_text(value)

    def _attribute(self, node: ast.Attribute) -> str:
        holder = node.value
        if isinstance(holder, ast.Name) and holder.id == self.self_name:
            return f"{holder.id}.{attribute(node.attr)}"
        try:
            value = self.values.static(node)
        except NoCounterpartError:
            pass
        else:
            root = self.values.static(holder)
            if isinstance(root, types.ModuleType) and self.shop.is_library(root.__name__):
                self.shop.naming.imports.add(f"import {root.__name__}")
                return f"{root.__name__}.{node.attr}"
            return self.shop.value_text(value)
        values = self._held(holder)
        kinds = {container_kind(value) for value in values}
        if kinds in ({"dict"}, {"sequence"}) and all(node.attr in value._modules for value in values):
            return child_by_name(kinds.pop(), self.text(holder), node.attr)
        if values and all(isinstance(value, types.SimpleNamespace | argparse.Namespace) for value in values):
            return f"{self.text(holder)}.{node.attr}"
        if any(hasattr(value, "forward") and not isinstance(value, type) for value in values):
            if all(type(value) in self.shop.by_class and node.attr in vars(value) for value in values):
                for value in values:
                    self.shop.wanted.setdefault(type(value), set()).add(node.attr)
                return f"{self.text(holder)}.{attribute(node.attr)}"
            raise NoCounterpartError(
                f"{self.source.of(node)}: Keras' layers do not know it before they are built"
            )
        if values and all(is_plain_object(v) and node.attr in attributes_of(v, (node.attr,)) for v in values):
            return f"{self.text(holder)}.{node.attr}"
        if values and all(isinstance(value, (type, list, dict, str, tuple, set, *PLAIN)) for value in values):
            return f"{self.text(holder)}.{node.attr}"
        raise NoCounterpartError(
            f"{self.source.of(node)} is an attribute of something that the port does not have"
        )

    def _held(self, node: ast.expr) -> list[Any]:
        """The values of an expression; of a name that was not read here, what it was elsewhere in the function."""
        values = self.values.of(node)
        if values or not isinstance(node, ast.Name) or node.id not in self.values.local:
            return values
        return self.values.named(node.id)

    def _dictionary(self, node: ast.Dict) -> str:
        """A dictionary without what says where torch keeps weights."""
        kept = [
            (key, value)
            for key, value in zip(node.keys, node.values, strict=True)
            if not (self.only_places(value) if key is None else _is_place(key))
        ]
        if len(kept) == len(node.keys):
            return self.spliced(node)
        texts = [
            f"**{_bracketed(self.text(value), ast.Starred(value, ast.Load()))}"
            if key is None
            else f"{self.text(key)}: {self.text(value)}"
            for key, value in kept
        ]
        return f"{{{', '.join(texts)}}}"

    def _choice(self, node: ast.IfExp | ast.BoolOp) -> str:
        """Both ways of a condition; the one that was always taken, where the other cannot be written."""
        try:
            return self.spliced(node)
        except NoCounterpartError:
            if not isinstance(node, ast.IfExp) or not self.values.of(node):
                raise
        ways = [part for part in (node.body, node.orelse) if self.values.of(part)]
        try:
            test = _bracketed(self.text(node.test), node)
        except NoCounterpartError:
            if len(ways) != 1:
                raise
            return self.text(ways[0])
        if test in ("True", "False"):
            return self.text(node.body if test == "True" else node.orelse)
        body, orelse = self._way(node.body), self._way(node.orelse)
        return f"{_bracketed(body, node)} if {test} else {_bracketed(orelse, node)}"

    def _way(self, node: ast.expr) -> str:
        """One way of a condition; an error where it never ran and cannot be written."""
        try:
            return self.text(node)
        except NoCounterpartError:
            if self.values.of(node):
                raise
            self.shop.makers.helpers.add("not_ported")
            return f"not_ported({' '.join(self.source.of(node).split())!r})"

    def _call(self, node: ast.Call) -> str:
        values = self.values.seen.get(node, [])
        callees = {_identity(seen.callee): seen.callee for seen in values}
        if not callees:
            try:
                callees = {0: self.values.static(node.func)}
            except NoCounterpartError:
                callees = {}
        callee: Any = next(iter(callees.values())) if len(callees) == 1 else None
        given_by_name = isinstance(node.func, ast.Name) and node.func.id in self.values.local
        classes = [c for c in callees.values() if isinstance(c, type)]
        if given_by_name:
            for one in callees.values():
                self.shop.check_callable(one)
                self.shop.note_use(one, values)
            return f"{node.func.id}({self.arguments(node)})"  # type: ignore[attr-defined]
        if callee is None and isinstance(node.func, ast.Attribute) and not values:
            return self._unrun_method(node, node.func)
        if callee is None:
            raise NoCounterpartError(f"{self.source.of(node.func)} is another thing in other calls")
        if classes and hasattr(callee, "forward"):
            return self._module(node, callee)
        return self._function(node, callee)

    def _unrun_method(self, node: ast.Call, function: ast.Attribute) -> str:
        """A call of a method in a way that no run took, of `self` or of a list, dictionary or text."""
        holder = function.value
        if isinstance(holder, ast.Name) and holder.id == self.self_name:
            classes = {type(call.module) for call in self.values.calls}
            found = {getattr(cls, function.attr, None) for cls in classes}
            if len(found) == 1:
                return f"{holder.id}.{self.shop.method(found.pop())}({self.arguments(node)})"
        held = self._held(holder)
        if held and all(isinstance(value, list | dict | str | tuple | set) for value in held):
            return f"{self.text(holder)}.{function.attr}({self.arguments(node)})"
        raise NoCounterpartError(f"{self.source.of(function)} did not run")

    def _module(self, node: ast.Call, cls: Any) -> str:
        if is_container(cls, SEQUENCES):
            return self._sequence(node)
        if is_container(cls, LISTS):
            if not node.args:
                return "[]"
            text = self.text(node.args[0])
            if isinstance(node.args[0], ast.GeneratorExp) and _is_generator(text):
                return f"[{text[1:-1]}]"
            return text if isinstance(node.args[0], ast.List | ast.ListComp) else f"list({text})"
        if is_container(cls, NAMED):
            return f"dict({self.text(node.args[0])})" if node.args else "{}"
        if leaf_class(cls) is not None:
            return self._leaf(node, leaf_class(cls), cls)
        self.shop.check_callable(cls)
        return f"{self.shop.naming.of_class(cls)}({self.arguments(node, argument)})"

    def _sequence(self, node: ast.Call) -> str:
        values = self.values.of(node)
        empty = bool(values) and any(not len(value._modules) for value in values)
        if values and all(not len(value._modules) for value in values):
            return "keras.layers.Identity()"
        if not node.args:  # it grows later
            return "keras.Sequential()" if values else "keras.layers.Identity()"
        if row_of(node) in self.rows:
            made = f"keras.Sequential({self.text(node.args[0])})"
            return f"{made} if {self.text(node.args[0])} else keras.layers.Identity()" if empty else made
        numbered = bool(values) and all(key.isdigit() for value in values for key in value._modules)
        if len(node.args) == 1 and not isinstance(node.args[0], ast.Starred) and not numbered:
            raise NoCounterpartError("a sequence of named layers")
        if len(node.args) == 1 and isinstance(node.args[0], ast.Starred):
            inner = self._several(node.args[0].value)
            made = (
                f"keras.Sequential({inner})"
                if not isinstance(node.args[0].value, ast.GeneratorExp)
                else (f"keras.Sequential([*{inner}])")
            )
            return f"{made} if {inner} else keras.layers.Identity()" if empty else made
        return f"keras.Sequential([{', '.join(map(self.text, node.args))}])"

    def _leaf(self, node: ast.Call, cls: Any, callee: Any) -> str:
        seen = self.values.seen.get(node, [])
        kind = cls.__name__
        if kind not in TABLE:
            raise NoCounterpartError(f"torch.nn.{kind} has no counterpart in Keras")
        texts = [text for arg in node.args for text in self._each(arg)]
        positional = [
            Argument(text, tuple(one.positional[index] for one in seen)) for index, text in enumerate(texts)
        ]
        named = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                if self.only_places(keyword.value):
                    continue
                raise NoCounterpartError("settings that are given as a dictionary")
            if keyword.arg in PLACES or keyword.arg == "inplace":
                continue
            values = tuple(one.named[keyword.arg] for one in seen)
            named[keyword.arg] = Argument(self.text(keyword.value), values)
        ranks = {self.shop.makers.ranks.get(id(one.value)) for one in seen}
        rank = ranks.pop() if len(ranks) == 1 else None
        modules = [one.value for one in seen]
        leaf = layer_for(settings_of_call(cls, callee, positional, named, modules, rank))
        self.shop.makers.helpers |= leaf.helpers
        return leaf.text

    def _each(self, node: ast.expr) -> list[str]:
        """The texts of one argument, or of the items of one that is spread."""
        if not isinstance(node, ast.Starred):
            return [self.text(node)]
        values = self.values.of(node.value)
        kinds = {(type(value), len(value)) for value in values if isinstance(value, tuple | list)}
        if len(kinds) != 1 or len(values) == 0 or not isinstance(node.value, ast.Name | ast.Attribute):
            raise NoCounterpartError("settings that are given as a list")
        ((kind, count),) = kinds
        text = self.text(node.value)
        fields = getattr(kind, "_fields", None)
        return [f"{text}.{name}" for name in fields] if fields else [f"{text}[{i}]" for i in range(count)]

    def _function(self, node: ast.Call, callee: Any) -> str:
        arguments: Callable[[], str] = lambda: self.arguments(node)  # noqa: E731
        holder = node.func.value if isinstance(node.func, ast.Attribute) else None
        if callee in (isinstance, issubclass) and self._of_torch(node.args[1]):
            raise NoCounterpartError(f"{self.source.of(node)} asks for a class of torch's")
        if callee in (len, enumerate, list, tuple, reversed, iter) and len(node.args) == 1:
            held = self.values.of(node.args[0])  # keras.Sequential has its layers as an attribute
            if held and all(is_sequence(type(value)) for value in held):
                return f"{self.text(node.func)}({self.text(node.args[0])}.layers)"
        if callee in _KINDS and self._asks_for_kind(
            node
        ):  # some of torch's classes are functions in the port
            raise NoCounterpartError(
                f"{self.source.of(node)} asks whether something is a class or a function"
            )
        if isinstance(holder, ast.Name) and holder.id == self.self_name:
            name = self.shop.method(getattr(callee, "__func__", callee))
            return f"{holder.id}.{name}({arguments()})"
        if (user := self.shop.user_function(callee)) is not None:
            return f"{self.shop.function(user)}({arguments()})"
        receiver = getattr(callee, "__self__", None)
        if isinstance(node.func, ast.Attribute) and isinstance(receiver, list | dict | str | tuple | set):
            return f"{self.text(node.func.value)}.{node.func.attr}({arguments()})"
        if _adds(node.func) and is_container(type(receiver), LISTS):  # the port has a list there
            return f"{self.text(node.func.value)}.{node.func.attr}({arguments()})"  # type: ignore[attr-defined]
        if within_torch(getattr(callee, "__module__", None)) or isinstance(receiver, SeenTensor):
            raise NoCounterpartError(f"{self.source.of(node.func)} is torch's")
        return f"{self.text(node.func)}({arguments()})"

    def _asks_for_kind(self, node: ast.Call) -> bool:
        """Whether a call asks a class or function of the model whether it is a class, or a function."""
        kinds = [
            kind for value in map(self.values.of, node.args[1:2]) for one in value for kind in _several(one)
        ]
        asked = len(node.args) == 1 or any(kind in (type, types.FunctionType) for kind in kinds)
        return asked and any(callable(value) for value in self._held(node.args[0]))

    def _of_torch(self, node: ast.AST) -> bool:
        """Whether an expression names a class of modules, alone or among others."""
        return any(hasattr(value, "forward") or _holds_classes(value) for value in self.values.of(node))

    def arguments(self, node: ast.Call, named: Callable[[str], str] = str) -> str:
        """The arguments of a call, without those that say where torch keeps weights.

        Args:
            node: the call.
            named: gives the name in the port of an argument that is given by name.
        """
        parts = [self.text(arg) for arg in node.args]
        for keyword in node.keywords:
            if keyword.arg is None:
                if not self.only_places(keyword.value):
                    parts.append(f"**{self.text(keyword.value)}")
            elif keyword.arg not in PLACES:
                parts.append(f"{named(keyword.arg)}={self.text(keyword.value)}")
        return ", ".join(part[1:-1] if _is_generator(part) and len(parts) == 1 else part for part in parts)

    def only_places(self, node: ast.AST | None, known: frozenset[str] = frozenset()) -> bool:
        """Whether a dictionary that is spread over arguments says only where torch keeps weights, or nothing."""
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            return all(self.only_places(v, known) if k is None else _is_place(k) for k, v in pairs)
        if isinstance(node, ast.Call):
            plain = isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args
            return plain and all(
                self.only_places(k.value, known) if k.arg is None else k.arg in PLACES for k in node.keywords
            )
        if not isinstance(node, ast.Name) or self._changed(node.id):
            return False
        own = self.values.function.node.args.kwarg
        if own is not None and node.id == own.arg:
            return all(call.arguments.get(own.arg, {}).keys() <= PLACES for call in self.values.calls)
        made = [
            part.value
            for part in ast.walk(self.values.function.node)
            if isinstance(part, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == node.id for t in part.targets)
        ]
        given = node.id in self.values.function.argument_names or node.id in known
        return bool(made) and not given and all(self.only_places(one, known | {node.id}) for one in made)

    def _changed(self, name: str) -> bool:
        """Whether the function puts something into what a name holds."""
        for part in ast.walk(self.values.function.node):
            stored = isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store)
            updated = isinstance(part, ast.Attribute) and part.attr in ("update", "setdefault")
            holder = part.value if stored or updated else None  # type: ignore[attr-defined]
            if isinstance(holder, ast.Name) and holder.id == name:
                return True
        return False


_KINDS = (isinstance, inspect.isclass, inspect.isfunction)


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _adds(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr in ("append", "extend", "insert")


def _is_place(key: ast.expr) -> bool:
    return isinstance(key, ast.Constant) and key.value in PLACES


def _identity(callee: Any) -> Any:
    """What is the same for one method of several objects."""
    receiver = getattr(callee, "__self__", None)
    if receiver is None or isinstance(receiver, type):
        return id(callee)
    function = getattr(callee, "__func__", None)
    return (type(receiver), callee.__name__) if function is None else id(function)


def _is_generator(text: str) -> bool:
    try:
        return isinstance(ast.parse(text, mode="eval").body, ast.GeneratorExp) and text.startswith("(")
    except SyntaxError:
        return False


def _parts(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions directly in a node, also those in its keywords, comprehensions and slices."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            if isinstance(getattr(child, "ctx", None), ast.Store):
                continue
            if isinstance(child, ast.Slice):
                yield from _parts(child)
            else:
                yield child
        elif isinstance(child, ast.keyword | ast.comprehension):
            yield from _parts(child)


def _bracketed(text: str, parent: ast.AST) -> str:
    """The text, in brackets where the operators around it would take it apart."""
    if isinstance(
        parent,
        ast.BinOp | ast.UnaryOp | ast.Compare | ast.BoolOp | ast.Attribute | ast.Subscript | ast.Starred,
    ):
        inner = ast.parse(f"({text}\n)", mode="eval").body
        if isinstance(inner, ast.BinOp | ast.BoolOp | ast.Compare | ast.IfExp | ast.UnaryOp | ast.Lambda):
            return f"({text})"
    if isinstance(parent, ast.IfExp):  # a condition in a condition
        inner = ast.parse(f"({text}\n)", mode="eval").body
        return f"({text})" if isinstance(inner, ast.IfExp | ast.Lambda) else text
    return text


def _is_module(value: Any) -> bool:
    return hasattr(value, "forward") and not isinstance(value, type)


def _holds_classes(value: Any) -> bool:
    return isinstance(value, tuple) and any(hasattr(item, "forward") for item in value)


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_tensors, value))
    return isinstance(value, SeenTensor)
