"""The classes of the port: modules of one class of the source and of one structure, children before parents."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from parity.adapters.recording.records import FunctionCall, MadeModule, Recording
from parity.porting.to_keras.leaves.table import base_leaf, leaf_class
from parity.porting.to_keras.leaves_axes import is_sequence
from parity.porting.to_keras.making.settings import setting_of
from parity.porting.to_keras.names import argument

SEQUENCES, LISTS, NAMED = ("Sequential",), ("ModuleList",), ("ModuleDict",)
CONSTANTS = (type(None), bool, int, float, str)


@dataclass(eq=False)
class PortClass:
    """One class of the port.

    Attributes:
        name: in the port.
        cls: the class of the source.
        modules: its instances, in the order of their paths in the model.
        arguments: the names of the constructor's arguments, without `self`, `*args` and `**kwargs`.
        values: the value of each argument in each instance.
        defaults: of the arguments that have one.
        added: arguments that the port needs and the source does not have, with the value in each instance.
        constructor: the call of the user's constructor in each instance; None where torch's own made it.
    """

    name: str
    cls: type
    modules: list[MadeModule]
    arguments: list[str] = field(default_factory=list)
    values: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    added: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    constructor: list[FunctionCall] = field(default_factory=list)

    @property
    def sequential(self) -> bool:
        """Whether it is a sequence of layers that runs as torch's own does."""
        return is_sequence(self.cls)

    @property
    def leaf(self) -> type | None:
        """The layer of torch that it derives from, with a forward of its own."""
        return base_leaf(self.cls)


def is_container(cls: type, names: tuple[str, ...]) -> bool:
    """Whether a class is torch's own container of one of these names."""
    return cls.__name__ in names and _is_torch(cls)


def _is_torch(cls: type) -> bool:
    return cls.__module__.startswith("torch.nn")


def is_plain(cls: type) -> bool:
    """Whether a class is torch's own, or computes what a class of torch's computes."""
    return leaf_class(cls) is not None or _is_torch(cls)


def classes_of(recording: Recording) -> list[PortClass]:
    """One class for each class of the source that has instances: what is needed by others comes first."""
    found: dict[type, list[MadeModule]] = {}
    for path in sorted(recording.modules, key=_number):
        made = recording.modules[path]
        if not is_plain(type(made.module)):
            found.setdefault(type(made.module), []).append(made)
    return _children_first(_named(list(found.items())))


def split(port: PortClass) -> list[PortClass]:
    """One class for each structure that the instances of a class have."""
    signatures: dict[int, Any] = {}
    found: dict[Any, list[MadeModule]] = {}
    for made in port.modules:
        found.setdefault(_structure(made.module, signatures), []).append(made)
    parts = _named([(port.cls, modules) for modules in found.values()])
    for part in parts:
        part.name = port.name + part.name.removeprefix(port.cls.__name__.lstrip("_"))
    return parts


def _named(found: list[tuple[type, list[MadeModule]]]) -> list[PortClass]:
    names: dict[str, int] = {}
    ports = []
    for cls, modules in found:
        name = cls.__name__.lstrip("_")
        names[name] = names.get(name, 0) + 1
        ports.append(PortClass(name if names[name] == 1 else f"{name}{names[name]}", cls, modules))
        _bind(ports[-1])
    return ports


def _number(path: str) -> list[Any]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in path.split(".")]


def _structure(module: Any, known: dict[int, Any]) -> Any:
    """What must be the same in two modules for one constructor to make both without conditions."""
    if id(module) not in known:
        cls = type(module)
        children = module._modules.items()
        parts: Any = tuple(
            (name, None if child is None else _structure(child, known)) for name, child in children
        )
        if is_container(cls, (*SEQUENCES, *LISTS)):  # how long they are may be an argument
            parts = (
                tuple(dict.fromkeys(kind for _, kind in parts))
                if all(n.isdigit() for n, _ in parts)
                else parts
            )
        own = tuple((name, value is None) for name, value in module._parameters.items())
        leaf: Any = leaf_class(cls)
        known[id(module)] = hash((cls if leaf is None else leaf, parts, own if leaf is None else ()))
    return known[id(module)]


def _bind(group: PortClass) -> None:
    """Fill in the arguments of the constructor and their values."""
    starts = [made.constructors[0] if made.constructors else None for made in group.modules]
    signature = inspect.signature(group.cls.__init__)  # type: ignore[misc]
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = [p for p in list(signature.parameters.values())[1:] if p.kind not in kinds]
    names = {argument(p.name): p.name for p in parameters if p.name not in ("device", "dtype")}
    group.arguments = list(names)
    group.defaults = {
        argument(p.name): p.default for p in parameters if p.default is not inspect.Parameter.empty
    }
    if any(start is None for start in starts):
        if group.leaf is None:
            group.arguments = []
        modules = [made.module for made in group.modules]
        for name in group.arguments:
            group.values[name] = tuple(
                setting_of(module, names[name], group.defaults.get(name)) for module in modules
            )
        return
    group.constructor = [start for start in starts if start is not None]
    for name in group.arguments:
        group.values[name] = tuple(start.arguments.get(names[name]) for start in group.constructor)
    spread = next(
        (p.name for p in signature.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD), ""
    )
    further = [start.arguments.get(spread, {}) for start in group.constructor]
    for name in further[0] if all(one.keys() == further[0].keys() for one in further) else ():
        if name not in ("device", "dtype", *group.arguments):
            group.arguments.append(name)
            group.values[name] = tuple(one[name] for one in further)


def _children_first(groups: list[PortClass]) -> list[PortClass]:
    """The classes in an order in which each comes behind those whose instances it holds."""
    of = {id(made.module): group for group in groups for made in group.modules}
    found: dict[PortClass, None] = {}
    open_: set[PortClass] = set()

    def take(group: PortClass) -> None:
        if group in found or group in open_:
            return
        open_.add(group)
        for made in group.modules:
            for part in made.module.modules():
                if part is not made.module and id(part) in of:
                    take(of[id(part)])
        found[group] = None

    for group in groups:
        take(group)
    return list(found)
