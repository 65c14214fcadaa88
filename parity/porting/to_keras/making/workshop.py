"""The port as it is being made: its classes and functions, and how texts call them."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

from parity.adapters.recording.records import FunctionCall, Recording, SeenValue, UserFunction
from parity.porting.to_keras.constants import (
    constant_text,
    is_constant,
    is_named_tuple,
    named_tuple_text,
)
from parity.porting.to_keras.leaves.setting import Argument, NoCounterpartError, bound
from parity.porting.to_keras.leaves.table import TABLE, base_leaf, leaf_class
from parity.porting.to_keras.leaves_axes import is_sequence
from parity.porting.to_keras.making.expressions import PLACES, Expressions
from parity.porting.to_keras.making.groups import PortClass
from parity.porting.to_keras.making.instances import Makers
from parity.porting.to_keras.making.scope import Naming
from parity.porting.to_keras.making.statements import MakingStatements
from parity.porting.to_keras.making.values import FunctionValues
from parity.porting.to_keras.names import argument
from parity.porting.to_keras.plain_objects import BASE, class_text, object_text, reads_of_objects

REGISTERED = '@keras.saving.register_keras_serializable(package="port")'
"""What lets a config hold a class or function by its name."""
ClassPlace = tuple[str, str]
KERAS_OWN = "**keras_own"
"""What a constructor with a `**` of its own gives to Keras, until it is known whether it reads that."""


class Workshop:
    """Knows what the port has so far, and writes what it needs in addition."""

    def __init__(self, recording: Recording, makers: Makers, reads: Mapping[type, Iterable[str]]) -> None:
        self.recording, self.makers, self.reads = recording, makers, reads
        self.naming = Naming(self.callable_name, self.object_text)
        self.objects: dict[str, str] = {}  # the classes of plain objects, by name
        self.by_class: dict[type, PortClass] = {}  # with a constructor from the source's own text
        self.open: set[type] = set()  # being written
        self.wanted: dict[type, set[str]] = {}  # attributes that constructors read of modules
        self.functions: dict[str, str] = {}
        self.methods: dict[ClassPlace, dict[str, str]] = {}
        self.factories: dict[str, Any] = {}
        self.as_values: set[str] = set()  # functions that are values, which configs hold by their names
        self.constants: dict[str, str] = {}  # of the source's modules, by name: how each is defined
        self.uses: dict[Any, tuple[int, set[str]]] = {}  # of torch's classes as values: how they are called
        self._calls: dict[Any, tuple[UserFunction, list[FunctionCall]]] = {}
        self._names: dict[UserFunction, str] = {}
        self._constructors: dict[ClassPlace, Any] = {}
        for call in recording.calls:
            if call.phase == "build":
                function = call.function
                known = self._calls.setdefault(function.function.__code__, (function, []))
                known[1].append(call)
                if function.owner is not None and getattr(function.node, "name", "") == "__init__":
                    self._constructors[function.module, function.owner.name] = function.function

    def calls_of(self, function: Any) -> tuple[UserFunction, list[FunctionCall]] | None:
        """The record of a function and its calls while the model was built."""
        return self._calls.get(getattr(function, "__code__", None))

    def constructor_calls(self, cls: type) -> tuple[UserFunction, list[FunctionCall]] | None:
        """The record of the constructor in a class' body, also where a decorator stands in its place."""
        own = vars(cls).get("__init__")
        if own is None:
            return None
        return self.calls_of(self._constructors.get((cls.__module__, cls.__name__), own))

    def callable_name(self, value: Any) -> str:
        """The name of a class or function that is a value.

        Raises:
            NoCounterpartError: the port has no such one.
        """
        if isinstance(value, type) and hasattr(value, "forward"):
            if value in self.by_class:
                return self.by_class[value].name
            cls: Any = leaf_class(value)
            if cls is not None and cls.__name__ in TABLE:
                return self._factory_name(value, cls)
            port = next((one for one in self.makers.groups if one.cls is value), None)
            if port is not None:
                return port.name
        if (user := self.user_function(value)) is not None:
            name = self.function(user)
            self.as_values.add(name)
            return name
        module = getattr(value, "__module__", "") or ""
        if is_named_tuple(value) and not self.is_library(module):
            text, statement = named_tuple_text(value, value.__name__)
            if self.constants.setdefault(value.__name__, text) == text:
                self.naming.imports.add(statement)
                return str(value.__name__)
        if (
            self.is_library(module)
            and getattr(sys.modules.get(module), getattr(value, "__name__", ""), None) is value
        ):
            name = str(getattr(value, "__name__", ""))
            self.naming.imports.add(f"from {module.lstrip('_')} import {name}")
            return name
        raise NoCounterpartError(f"{getattr(value, '__qualname__', value)} has no counterpart as a value")

    def _factory_name(self, value: Any, cls: Any) -> str:
        """The name of the function that stands for a class of torch's, or for one with a constructor of its own.

        Raises:
            NoCounterpartError: such a constructor made nothing here, so that its settings are not known.
        """
        own = value.__init__ is not cls.__init__
        if own and not self.made_by(value):
            raise NoCounterpartError(f"{value.__name__} has a constructor of its own, which did not run here")
        kind = value if own else cls
        name, count = str(kind.__name__), 2
        while self.factories.get(name, kind) is not kind:
            name, count = f"{kind.__name__}{count}", count + 1
        self.factories[name] = kind
        return name

    def made_by(self, cls: Any) -> list[Any]:
        """The modules of the model of exactly this class."""
        return [module for module in self.recording.module.modules() if type(module) is cls]

    def object_text(self, value: Any) -> str:
        """The expression that makes an object of plain values, whose class is part of the port from here on."""
        cls, read = type(value), self.reads_of_objects
        text = object_text(value, read.get(cls, ()), self.naming.text)
        if cls.__name__ not in self.objects:
            self.objects[cls.__name__], imports = class_text(cls, self.naming.text, REGISTERED)
            self.naming.imports |= imports
            self.makers.helpers.add(BASE)
        return text

    @functools.cached_property
    def reads_of_objects(self) -> dict[type, set[str]]:
        """The attributes that are read of plain objects, by class."""
        return reads_of_objects(self.recording)

    def global_text(self, name: str, value: Any) -> str:
        """What a global name of the source's module is in the port; a constant keeps its name."""
        if is_constant(value) and not isinstance(value, bool | type(None)):
            text = f"{name} = {constant_text(value)}"
            if self.constants.setdefault(name, text) == text:
                return name
        return self.value_text(value)

    def value_text(self, value: Any) -> str:
        """A value of the source's module as text: a constant, a class, a function, or a module of Python's own."""
        if isinstance(value, ModuleType):
            if not self.is_library(value.__name__):
                raise NoCounterpartError(f"the module {value.__name__} is not there in the port")
            name: str = value.__name__
            self.naming.imports.add(f"import {name}")
            return name
        return self.naming.text(value)

    @staticmethod
    def is_library(name: str) -> bool:
        """Whether a module belongs to Python."""
        return name.partition(".")[0] in sys.stdlib_module_names

    def user_function(self, value: Any) -> UserFunction | None:
        """The user's function that a value is; None for all else, and for one that never ran."""
        known = self.calls_of(value) if isinstance(value, FunctionType) else None
        return None if known is None else known[0]

    def check_callable(self, value: Any) -> None:
        """Refuse a call whose arguments the port's class or function does not take as the source's does.

        Raises:
            NoCounterpartError: it is such a call.
        """
        if isinstance(value, functools.partial):
            self.check_callable(value.func)
        elif isinstance(value, FunctionType) and "<locals>" in value.__qualname__:
            return  # it is written where it is defined
        elif isinstance(value, type) and hasattr(value, "forward"):
            if leaf_class(value) is None and value not in self.by_class and value not in self.open:
                raise NoCounterpartError(f"{value.__name__} has a constructor of another form in the port")
            if leaf_class(value) is not None:
                self.callable_name(value)
        elif not callable(value) or self.user_function(value) is not None:
            self.value_text(value)
        else:
            raise NoCounterpartError(f"{getattr(value, '__name__', value)} is no class of the model")

    def note_use(self, value: Any, seen: Sequence[SeenValue]) -> None:
        """Remember how a class of torch's that is a value is called."""
        named = {name for one in seen for name in one.named}
        if isinstance(value, functools.partial):
            named |= set(value.keywords)
            value = value.func
        cls: Any = leaf_class(value) if isinstance(value, type) and hasattr(value, "forward") else None
        if cls is not None:
            kind = cls if value.__init__ is cls.__init__ else value
            count, known = self.uses.get(kind, (0, set()))
            self.uses[kind] = (
                max([count, *(len(one.positional) for one in seen)]),
                known | (named - PLACES),
            )

    def function(self, user: UserFunction) -> str:
        """The name of the port's function for one of the user's, which is written where it is not yet."""
        if user not in self._names:
            node = user.node
            if isinstance(node, ast.Lambda) or "<locals>" in user.qualname:
                raise NoCounterpartError(f"{user.qualname} is a function inside a function")
            name, count = user.name, 1
            while name in self._names.values():  # a function of another module of the source
                count += 1
                name = f"{user.name}_{count}"
            self._names[user] = name
            try:
                values = FunctionValues(user, self._calls[user.function.__code__][1])
                lines = MakingStatements(values, self).lines()
                head = f"def {name}({self.signature(values)}):"
                self.functions[name] = "\n".join([head, *(f"    {line}" for line in lines or ["pass"])])
            except NoCounterpartError:
                del self._names[user]
                raise
        return self._names[user]

    def method(self, function: Any) -> str:
        """The name of a method of the port that the user's constructor calls."""
        known = self.calls_of(function)
        owner: Any = None if known is None else known[0].owner
        if known is None or owner is None:
            raise NoCounterpartError(
                f"{getattr(function, '__qualname__', function)} is no method of the source"
            )
        user, calls = known
        methods = self.methods.setdefault((user.module, owner.name), {})
        if user.name not in methods:
            methods[user.name] = ""
            try:
                values = FunctionValues(user, calls)
                lines = self._method_lines(values)
                static = [ast.unparse(item) for item in user.node.decorator_list]
                head = [*(f"@{text}" for text in static if text in ("staticmethod", "classmethod"))]
                head.append(f"def {user.name}({self.signature(values)}):")
                methods[user.name] = "\n".join([*head, *(f"    {line}" for line in lines or ["pass"])])
            except NoCounterpartError:
                del methods[user.name]
                raise
        return user.name

    def makes_something(self, function: Any) -> bool:
        """Whether a method leaves modules or weights in `self`."""
        known = self.calls_of(function)
        return known is not None and bool(self._method_lines(FunctionValues(*known)))

    def _method_lines(self, values: FunctionValues) -> list[str]:
        modules = [call.module for call in values.calls if call.module is not None]
        sequential = any(is_sequence(type(module)) for module in modules)
        return MakingStatements(values, self, self.reads_of({type(m) for m in modules}), sequential).lines()

    def reads_of(self, classes: Iterable[type]) -> set[str]:
        """The attributes that are read later of modules of these classes."""
        found: set[str] = set()
        for cls in classes:
            found |= set(self.reads.get(cls, ())) | self.wanted.get(cls, set())
        return found

    def signature(self, values: FunctionValues, added: Iterable[str] = ()) -> str:
        """The arguments of a function, with the source's names, order and defaults."""
        arguments, expressions = values.function.node.args, Expressions(values, self)
        plain = [*arguments.posonlyargs, *arguments.args]
        defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
        parts = [
            self._argument(a.arg, d, expressions)
            for a, d in zip(plain, defaults, strict=True)
            if a.arg not in PLACES
        ]
        if arguments.vararg:
            parts.append(f"*{arguments.vararg.arg}")
        elif arguments.kwonlyargs and any(a.arg not in PLACES for a in arguments.kwonlyargs):
            parts.append("*")
        named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        parts += [self._argument(a.arg, d, expressions) for a, d in named if a.arg not in PLACES]
        spread = any(part.startswith("**") for part in added)
        parts += [*added, *([f"**{arguments.kwarg.arg}"] if arguments.kwarg and not spread else [])]
        return ", ".join(parts)

    def _argument(self, name: str, default: ast.expr | None, expressions: Expressions) -> str:
        name = expressions.values.renamed.get(name, name)
        if default is None:
            return name
        try:
            return f"{name}={expressions.text(default)}"
        except NoCounterpartError:
            return f"{name}=None"

    def super_text(self, statements: MakingStatements, call: ast.Call) -> str:
        """The call of the constructor of the class above."""
        values, expressions = statements.values, statements.expressions
        above = {above_of(made.module, values.function) for made in values.calls}
        if len(above) != 1 or (cls := above.pop()) is None:
            raise NoCounterpartError(
                f"{values.function.qualname} continues in another class in other instances"
            )
        own = values.function.node.args.kwarg
        last = [KERAS_OWN] if own else [f"**{keras_name(values)}"]
        explicit = ast.Call(call.func, [a for a in call.args if not _is_self(a)], call.keywords)
        if not cls.__module__.startswith("torch.nn"):
            text = expressions.arguments(explicit, argument)
            last = [] if own and f"**{own.arg}" in text else last  # they hold what Keras' layers take
            return f"super().__init__({', '.join([*([text] if text else []), *last])})"
        if is_sequence(cls) and cls.__name__ == "Sequential":
            parts = [expressions.text(a) for a in explicit.args]
            named = any(not isinstance(a, ast.Starred) and self._is_dict(values, a) for a in explicit.args)
            if named:
                raise NoCounterpartError("a sequence of named layers")
            children = (
                parts[0][1:] if len(parts) == 1 and parts[0].startswith("*") else f"[{', '.join(parts)}]"
            )
            if not parts or all(is_sequence(type(call.module)) for call in values.calls):
                return f"super().__init__({', '.join([*([children] if parts else []), *last])})"
            lines = [f"super().__init__({', '.join(last)})", f"for index, layer in enumerate({children}):"]
            return "\n".join([*lines, "    setattr(self, str(index), layer)"])
        if cls.__name__ in ("ModuleDict", "ModuleList") and explicit.args:
            held = expressions.text(explicit.args[0])
            named = cls.__name__ == "ModuleDict"
            each = f"name, layer in {held}.items()" if named else f"index, layer in enumerate({held})"
            place = "name" if named else "str(index)"
            lines = [f"super().__init__({', '.join(last)})", f"for {each}:"]
            return "\n".join([*lines, f"    setattr(self, {place}, layer)"])
        leaf: Any = base_leaf(type(values.calls[0].module))  # BatchNorm2d has its constructor from a base
        if leaf is not None:
            return f"super().__init__({', '.join([*self._base_leaf(leaf, explicit, statements).arguments, *last])})"
        return f"super().__init__({', '.join(last)})"

    @staticmethod
    def _is_dict(values: FunctionValues, node: ast.AST) -> bool:
        return any(isinstance(value, dict) for value in values.of(node))

    def _base_leaf(self, cls: Any, call: ast.Call, statements: MakingStatements) -> Any:
        values, expressions = statements.values, statements.expressions

        def argument(node: ast.expr) -> Argument:
            return Argument(expressions.text(node), tuple(values.of(node)))

        spread = any(k.arg is None and not expressions.only_places(k.value) for k in call.keywords)
        if spread or any(isinstance(a, ast.Starred) for a in call.args):
            raise NoCounterpartError("settings that are given as a list")
        named = {k.arg: argument(k.value) for k in call.keywords if k.arg and k.arg not in PLACES}
        leaf = TABLE[cls.__name__](bound(cls.__name__, cls, [argument(a) for a in call.args], named))
        self.makers.helpers |= leaf.helpers
        self.base_callees[statements.values.function] = leaf.callee
        return leaf

    @functools.cached_property
    def base_callees(self) -> dict[UserFunction, str]:
        """By constructor, the layer of Keras that a class derives from."""
        return {}


def keras_name(values: FunctionValues) -> str:
    """What a constructor calls the arguments that Keras gives a layer."""
    own = values.function.node.args.kwarg
    taken = "kwargs" in values.local and (own is None or own.arg != "kwargs")
    return "layer_kwargs" if taken else "kwargs"


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def owner_class(module: Any, function: UserFunction) -> type | None:
    """The class of a module in whose body a method of it is written."""
    for cls in type(module).__mro__:
        if (
            function.owner is not None
            and cls.__name__ == function.owner.name
            and cls.__module__ == function.module
        ):
            return cls
    return None


def above_of(module: Any, function: UserFunction) -> type | None:
    """The next class with a constructor, above the one in which a constructor of a module is written."""
    order = list(type(module).__mro__)
    owner = owner_class(module, function)
    if owner is None:
        return None
    return next((cls for cls in order[order.index(owner) + 1 :] if "__init__" in vars(cls)), None)
