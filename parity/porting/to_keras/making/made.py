"""All constructors of a port, and what they need."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parity.adapters.recording.records import Recording, SeenTensor
from parity.porting.to_keras.leaves.setting import Argument, NoCounterpartError, Settings
from parity.porting.to_keras.leaves.table import TABLE, leaf_class
from parity.porting.to_keras.making.constructor import WrittenClass, constructor_of
from parity.porting.to_keras.making.groups import PortClass, groups_of
from parity.porting.to_keras.making.instances import Makers
from parity.porting.to_keras.making.scope import Naming, Scope
from parity.porting.written import Unwritten


@dataclass(eq=False)
class Making:
    """What a port needs to make its model.

    Attributes:
        classes: one for each class of the port, in an order in which each comes behind those that it needs.
        functions: functions of the module, by name: what the classes call, and what stands for torch's classes.
        root: the expression that makes the model.
        helpers: the names of the helper layers that the texts need.
        imports: statements.
        unwritten: what could not be written.
    """

    classes: list[WrittenClass]
    functions: dict[str, str]
    root: str
    helpers: frozenset[str]
    imports: frozenset[str]
    unwritten: tuple[Unwritten, ...] = ()
    group_of: Mapping[int, PortClass] = field(default_factory=dict)  # by the id of a torch module


def make(recording: Recording, reads: Mapping[type, Iterable[str]] | None = None) -> Making:
    """Write the constructors of a model's port.

    Args:
        recording: of the model.
        reads: by class of the source, the attributes that the bodies in the port read of `self`; without it, those
            that the source's own functions read.
    """
    groups = groups_of(recording)
    factories: dict[str, Any] = {}
    named = Naming(lambda value: _called(value, groups, factories))
    makers = Makers(recording, groups, _ranks(recording))
    known = {cls: list(names) for cls, names in (reads or _reads(recording)).items()}
    classes, unwritten = [], []
    for group in groups:
        is_root = group.modules[0].path == ""
        written = constructor_of(group, makers, named, known.get(group.cls, []), is_root)
        classes.append(written)
        unwritten += [_unwritten(group, problem) for problem in written.problems]
    scope = Scope({}, named)
    try:
        root = makers.text([recording.module], scope)
    except NoCounterpartError as error:
        root = "None"
        unwritten.append(Unwritten(type(recording.module).__qualname__, "", "", 0, str(error)))
    functions = {name: _factory(name, cls, recording, makers) for name, cls in factories.items()}
    return Making(
        classes,
        functions,
        root,
        frozenset(makers.helpers),
        frozenset(named.imports),
        tuple(unwritten),
        makers.of,
    )


def _called(value: Any, groups: list[PortClass], factories: dict[str, Any]) -> str:
    """The name of a class or function that is a value."""
    group = next((group for group in groups if group.cls is value), None)
    if group is not None:
        return group.name
    if isinstance(value, type) and leaf_class(value) is not None:
        cls: Any = leaf_class(value)
        if cls.__name__ in TABLE:
            factories[cls.__name__] = cls
            return str(cls.__name__)
    raise NoCounterpartError(f"{getattr(value, '__qualname__', value)} has no counterpart as a value")


def _factory(name: str, cls: Any, recording: Recording, makers: Makers) -> str:
    """The function that stands for a class of torch where it is a value."""
    parameters = inspect.signature(cls.__init__).parameters
    instances = [made for made in recording.modules.values() if leaf_class(type(made.module)) is cls]
    given = {key for made in instances for key in made.named} - {"device", "dtype"}
    count = max((len(made.positional) for made in instances), default=0)
    found, signature = {}, []
    for index, (key, parameter) in enumerate(list(parameters.items())[1:]):
        required = parameter.default is inspect.Parameter.empty
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if required or key in given or index < count:
            found[key] = Argument(key)
            signature.append(key if required else f"{key}={parameter.default!r}")
        else:
            found[key] = Argument(repr(parameter.default), (parameter.default,))
    leaf = TABLE[name](Settings(name, found))
    makers.helpers |= leaf.helpers
    decorator = '@keras.saving.register_keras_serializable(package="port")'
    return f"{decorator}\ndef {name}({', '.join(signature)}):\n    return {leaf.text}"


def _unwritten(group: PortClass, problem: str) -> Unwritten:
    try:
        file, (_, line) = inspect.getsourcefile(group.cls) or "", inspect.getsourcelines(group.cls)
    except (OSError, TypeError):
        file, line = "", 0
    return Unwritten(group.cls.__qualname__, group.modules[0].path, file, line, problem)


def _ranks(recording: Recording) -> dict[int, int]:
    """How many axes the first input of each module has; modules that take several ranks are left out."""
    found: dict[int, set[int]] = {}
    for seen in recording.seen:
        if seen.call.phase == "build" or not hasattr(seen.callee, "forward"):
            continue
        first = next(iter((*seen.positional, *seen.named.values())), None)
        if isinstance(first, SeenTensor):
            found.setdefault(id(seen.callee), set()).add(len(first.shape))
    return {key: ranks.pop() for key, ranks in found.items() if len(ranks) == 1}


def _reads(recording: Recording) -> dict[type, list[str]]:
    """The attributes that the source's functions read of `self` in the passes, by class of the module."""
    found: dict[type, dict[str, None]] = {}
    for call in recording.calls:
        if call.phase == "build" or call.module is None or not call.function.argument_names:
            continue
        first = call.function.argument_names[0]
        names = found.setdefault(type(call.module), {})
        for node in call.values:
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == first
            ):
                names[node.attr] = None
    return {cls: list(names) for cls, names in found.items()}
