"""All constructors of a port, and what they need."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parity.adapters.recording.records import Recording, SeenTensor
from parity.porting.to_keras.leaves.library import layer_for
from parity.porting.to_keras.leaves.setting import Argument, NoCounterpartError, Settings
from parity.porting.to_keras.leaves.table import leaf_class
from parity.porting.to_keras.making.classes import from_source, in_order, user_base
from parity.porting.to_keras.making.constructor import WrittenClass, constructor_of
from parity.porting.to_keras.making.groups import PortClass, classes_of, split
from parity.porting.to_keras.making.instances import Makers
from parity.porting.to_keras.making.parts.changed import HELPER, changes
from parity.porting.to_keras.making.scope import Scope
from parity.porting.to_keras.making.settings import settings_of_call
from parity.porting.to_keras.making.workshop import REGISTERED, Workshop
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
        group_of: by the id of a torch module, its class in the port.
        notes: why a constructor is not the source's own text, a sentence for each such class.
        constants: by name, the definitions of constants and named tuples that the texts read.
        objects: the classes of plain objects, by name.
    """

    classes: list[WrittenClass]
    functions: dict[str, str]
    root: str
    helpers: frozenset[str]
    imports: frozenset[str]
    unwritten: tuple[Unwritten, ...] = ()
    group_of: Mapping[int, PortClass] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    constants: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)


def make(recording: Recording, reads: Mapping[type, Iterable[str]] | None = None) -> Making:
    """Write the constructors of a model's port.

    Args:
        recording: of the model.
        reads: by class of the source, the attributes that the bodies in the port read of `self`; without it, those
            that the source's own functions read.
    """
    known = {cls: set(names) for cls, names in (reads or _reads(recording)).items()}
    while True:
        shop = Workshop(recording, Makers(recording, classes_of(recording), _ranks(recording)), known)
        made = _made(recording, shop)
        before = {cls: set(names) for cls, names in known.items()}
        for (
            cls,
            names,
        ) in shop.wanted.items():  # what a constructor reads of another's modules must be kept there
            known[cls] = known.get(cls, set()) | names
        if known == before:
            return made


def _made(recording: Recording, shop: Workshop) -> Making:
    makers = shop.makers
    classes: list[WrittenClass] = []
    unwritten: list[Unwritten] = []
    notes: list[str] = []
    configurable: dict[type, str] = {}
    for port in _with_bases(makers.groups):
        root = any(made.path == "" for made in port.modules) or user_base(type(recording.module)) is port.cls
        shop.open.add(port.cls)
        try:
            written = [from_source(port, shop, root, configurable)]
            shop.by_class[port.cls] = port
        except NoCounterpartError as error:
            notes.append(f"{port.cls.__name__}: {error}")
            shop.open.discard(port.cls)
            written = _from_instances(port, shop, root)
        shop.open.discard(port.cls)
        classes += written
        unwritten += [_unwritten(one.group, problem) for one in written for problem in one.problems]
    try:
        expression = makers.text([recording.module], Scope({}, shop.naming))
    except NoCounterpartError as error:
        expression = "None"
        unwritten.append(Unwritten(type(recording.module).__qualname__, "", "", 0, str(error)))
    functions = {}
    for name, cls in shop.factories.items():
        try:
            functions[name] = _factory(name, cls, shop)
        except NoCounterpartError as error:
            unwritten.append(Unwritten(cls.__qualname__, "", "", 0, str(error)))
    functions |= {
        name: f"{REGISTERED}\n{text}" if name in shop.as_values else text
        for name, text in shop.functions.items()
    }
    _change(classes, recording, makers)
    for one in classes:  # a method that another class's constructor asked for later
        one.methods = shop.methods.get(one.owners[-1], {}) if one.syntactic else one.methods
    return Making(
        in_order(classes),
        functions,
        expression,
        frozenset(makers.helpers),
        frozenset(shop.naming.imports),
        tuple(unwritten),
        makers.of,
        tuple(notes),
        shop.constants,
        shop.objects,
    )


def _change(classes: list[WrittenClass], recording: Recording, makers: Makers) -> None:
    """Let the model's constructor change the layers that the source changed after they were made."""
    lines = changes(recording)
    whole = next((one for one in classes if any(made.path == "" for made in one.group.modules)), None)
    if lines and whole is not None and whole.constructor:
        made = "\n".join(f"    {line}" for line in lines)
        whole.constructor = (
            f"{whole.constructor.rstrip()}\n    # what the source changes after the layers are made\n{made}\n"
        )
        makers.helpers.add(HELPER)


def _with_bases(ports: list[PortClass]) -> list[PortClass]:
    """The classes, and those of the user's that they derive from, in front of them."""
    found: dict[type, PortClass] = {}
    by_class = {port.cls: port for port in ports}
    for port in ports:
        chain = [port.cls]
        while (above := user_base(chain[-1])) is not None:
            chain.append(above)
        for cls in reversed(chain):
            if cls not in found:
                found[cls] = by_class.get(cls) or PortClass(cls.__name__.lstrip("_"), cls, [])
    return list(found.values())


def _from_instances(port: PortClass, shop: Workshop, root: bool) -> list[WrittenClass]:
    """The class, or one for each structure, with constructors that list what the instances hold."""
    if not port.modules:
        return []
    parts = split(port)
    shop.makers.groups = [one for one in shop.makers.groups if one is not port] + parts
    found = []
    for part in parts:
        shop.makers.register(part)
        reads = shop.reads_of({part.cls})
        found.append(constructor_of(part, shop.makers, shop.naming, sorted(reads), root))
    return found


def _factory(name: str, cls: Any, shop: Workshop) -> str:
    """The function that stands for a class of torch where it is a value, or for one with a constructor of its own.

    Raises:
        NoCounterpartError: Keras has no such layer, or the constructor sets something in each instance otherwise.
    """
    base: Any = leaf_class(cls)
    count, given = shop.uses.get(cls, (0, set()))
    own, beneath = (inspect.signature(one.__init__).parameters for one in (cls, base))
    passed = {key: beneath[key] for key in sorted(given) if key not in own and key in beneath}
    found, signature, taken = {}, [], []
    for index, (key, parameter) in enumerate([*list(own.items())[1:], *passed.items()]):
        required = parameter.default is inspect.Parameter.empty
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if (required and count) or key in given or index < count:
            found[key] = Argument(key)
            signature.append(key if required else f"{key}={parameter.default!r}")
            taken.append(key)
        else:
            found[key] = Argument(repr(None if required else parameter.default), (parameter.default,))
    if not found:  # nn.Identity takes what it is given, and reads none of it
        signature = ["*_"] * bool(count) + ["**_"] * bool(given)
    if cls.__init__ is base.__init__:
        settings = Settings(cls.__name__, found)
    else:
        named = {key: found[key] for key in taken}
        settings = settings_of_call(base, cls, (), named, shop.made_by(cls), None)
    leaf = layer_for(settings)
    shop.makers.helpers |= leaf.helpers
    return f"{REGISTERED}\ndef {name}({', '.join(signature)}):\n    return {leaf.text}"


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
    """The attributes that the source's functions read of `self`, by class of the module, constructors left out."""
    found: dict[type, dict[str, None]] = {}
    for call in recording.calls:
        if call.function.name == "__init__" or call.module is None or not call.function.argument_names:
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
