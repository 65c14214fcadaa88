"""One class's constructor, from what its instances hold."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from parity.porting.to_keras.leaves.setting import NoCounterpartError
from parity.porting.to_keras.making.groups import CONSTANTS, PortClass
from parity.porting.to_keras.making.instances import Makers
from parity.porting.to_keras.making.scope import Naming, Scope, equal
from parity.porting.to_keras.making.settings import leaf_of_class
from parity.porting.to_keras.making.weights import constant_text, weight_text
from parity.porting.to_keras.names import TAKEN, attribute


@dataclass(eq=False)
class WrittenClass:
    """The parts of a class of the port that make its instances.

    Attributes:
        group: the class of the source and its instances.
        bases: of the class in the port, as text.
        constructor: `def __init__...`, without indentation; empty where it needs none.
        methods: further methods that the constructor calls, by name, in the same form.
        problems: what could not be written, a sentence each.
        owners: (module, class) of the source's classes whose methods are the port's class's own.
        constants: assignments in the class's body: expansion = 4.
        syntactic: whether the constructor is the source's own text.
    """

    group: PortClass
    bases: str
    constructor: str
    methods: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    owners: tuple[tuple[str, str], ...] = ()
    syntactic: bool = False
    constants: tuple[str, ...] = ()


def constructor_of(
    group: PortClass, makers: Makers, named: Naming, reads: Sequence[str], root: bool
) -> WrittenClass:
    """Write the constructor of a class from its instances.

    Args:
        group: the class.
        makers: knows all classes of the port; those that this one needs are written already.
        named: how classes and functions are called.
        reads: the attributes that kept code reads of `self`.
        root: whether it is the model itself.
    """
    modules = [made.module for made in group.modules]
    scope = Scope(group.values, named, lambda hint, values: _add(group, hint, values))
    problems: list[str] = []
    bases, start = _bases(group, makers, scope, root, problems)
    lines = [start]
    if not group.sequential:
        lines += _children(group, makers, scope, modules, problems)
        lines += _weights(modules, scope, problems) if group.leaf is None else []
    lines += _attributes(group, modules, scope, reads, problems)
    body = "\n".join(f"    {line}" for text in lines for line in text.splitlines())
    special = any(not is_constant(value) for values in group.values.values() for value in values)
    if special or (bases != "keras.layers.Layer" and (group.values or group.added)):
        helper = "PlainConfig" if bases == "keras.Model" and not special else "Configurable"
        makers.helpers.add(helper)
        bases = f"{helper}, {bases}"
    return WrittenClass(
        group, bases, f"def __init__({_signature(group, body, named)}):\n{body}", {}, problems
    )


def class_constants(cls: type) -> tuple[str, ...]:
    """The plain values that the bodies of a class and of those of the user's above it hold."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("torch.nn") or base is object:
            continue
        found |= {
            name: value
            for name, value in vars(base).items()
            if not name.startswith("_") and isinstance(value, CONSTANTS) and name not in TAKEN
        }
    return tuple(f"{name} = {value!r}" for name, value in found.items())


def _owners(cls: type) -> tuple[tuple[str, str], ...]:
    """The class and those of the user's that it derives from, the most general one first."""
    user = [base for base in cls.__mro__ if not base.__module__.startswith("torch.nn") and base is not object]
    return tuple((base.__module__, base.__name__) for base in reversed(user))


def _add(group: PortClass, hint: str, values: Sequence[Any]) -> str:
    name, count = hint, 2
    while name in group.values or name in group.added:
        if name in group.added and all(map(equal, group.added[name], values)):
            return name
        name, count = f"{hint}{count}", count + 1
    if len(values) != len(group.modules):
        raise NoCounterpartError(f"{hint} has the values {list(values)[:4]}, which no argument has")
    group.added[name] = tuple(values)
    return name


def _bases(
    group: PortClass, makers: Makers, scope: Scope, root: bool, problems: list[str]
) -> tuple[str, str]:
    """The base class, and the statement that constructs it."""
    modules = [made.module for made in group.modules]
    if group.sequential:
        try:
            children = makers._children(modules, scope)
        except NoCounterpartError as error:
            problems.append(str(error))
            children = "[]"
        return "keras.Sequential", f"super().__init__({children}, **kwargs)"
    if group.leaf is not None:
        try:
            leaf = _base_leaf(group, scope)
        except NoCounterpartError as error:
            problems.append(str(error))
        else:
            makers.helpers |= leaf.helpers
            return leaf.callee, f"super().__init__({', '.join([*leaf.arguments, '**kwargs'])})"
    return "keras.Model" if root else "keras.layers.Layer", "super().__init__(**kwargs)"


def _base_leaf(group: PortClass, scope: Scope) -> Any:
    """What stands for the layer of torch that a class derives from."""
    return leaf_of_class(group.leaf, [made.module for made in group.modules], scope, base=True)


def _children(
    group: PortClass, makers: Makers, scope: Scope, modules: Sequence[Any], problems: list[str]
) -> list[str]:
    """One statement for each child."""
    lines = []
    seen: dict[tuple[int, ...], str] = {}
    for name in dict.fromkeys(name for module in modules for name in module._modules):
        parts = [module._modules.get(name) for module in modules]
        key = tuple(id(part) for part in parts)
        if key in seen and any(part is not None for part in parts):
            lines.append(f"self.{attribute(name)} = self.{seen[key]}")
            continue
        seen[key] = attribute(name)
        try:
            text = makers.text(parts, scope)
        except NoCounterpartError as error:
            problems.append(f"{name}: {error}")
            text = "None"
        lines.append(
            f"self.{attribute(name)} = {text}" if name.isidentifier() else f'setattr(self, "{name}", {text})'
        )
    return lines


def _weights(modules: Sequence[Any], scope: Scope, problems: list[str]) -> list[str]:
    """One statement for each parameter and buffer of its own."""
    lines = []
    for held, trainable in (("_parameters", True), ("_buffers", False)):
        for name in dict.fromkeys(name for module in modules for name in getattr(module, held)):
            tensors = [getattr(module, held).get(name) for module in modules]
            if all(tensor is None for tensor in tensors):
                lines.append(f"self.{attribute(name)} = None")
                continue
            unsaved = not trainable and any(name in module._non_persistent_buffers_set for module in modules)
            try:
                made = constant_text(tensors) if unsaved else weight_text(name, tensors, scope, trainable)
                lines.append(f"self.{attribute(name)} = {made}")
            except NoCounterpartError as error:
                problems.append(f"{name}: {error}")
    return lines


def _attributes(
    group: PortClass, modules: Sequence[Any], scope: Scope, reads: Sequence[str], problems: list[str]
) -> list[str]:
    """One statement for each plain attribute that is read later."""
    lines = []
    for name in reads:
        if not all(name in vars(module) for module in modules):
            continue
        values = [vars(module)[name] for module in modules]
        try:
            lines.append(f"self.{attribute(name)} = {scope.text(values, name)}")
        except NoCounterpartError as error:
            problems.append(f"{name}: {error}")
    return lines


def _signature(group: PortClass, body: str, named: Naming) -> str:
    """The arguments: the source's names, order and defaults; those that nothing here can say are left out."""
    used = {
        node.id
        for node in ast.walk(ast.parse(body.replace("\n    ", "\n").lstrip()))
        if isinstance(node, ast.Name)
    }
    parts, kept = ["self"], []
    for name in group.arguments:
        try:
            for value in group.values.get(name, ()):
                named.text(value)
        except NoCounterpartError:
            if name in used:
                raise
            continue
        default = f"={_default(group.defaults[name], named)}" if name in group.defaults else ""
        kept.append(name)
        parts.append(f"{name}{default}")
    for name in [name for name in group.values if name not in kept]:
        del group.values[name]
    first = next((index for index, part in enumerate(parts) if "=" in part), len(parts))
    parts[first:first] = list(group.added)
    late = next((k for k, part in enumerate(parts) if k and "=" not in part and "=" in parts[k - 1]), None)
    if late is not None:  # it came by its name in torch's **kwargs, and has no default
        parts.insert(late, "*")
    return ", ".join([*parts, "**kwargs"])


def _default(value: Any, named: Naming) -> str:
    """The default of an argument; None for one that the port has no counterpart for."""
    try:
        return named.text(value)
    except NoCounterpartError:
        return "None"


def is_constant(value: Any) -> bool:
    """Whether Keras keeps a value in a config by itself."""
    if isinstance(value, tuple | list):
        return all(map(is_constant, value))
    if isinstance(value, dict):
        return all(map(is_constant, value.values()))
    return isinstance(value, CONSTANTS)
