"""Classes of the port whose constructors come from the source's own text."""

from __future__ import annotations

import ast
import builtins
from typing import Any

from parity.porting.to_keras.leaves.setting import NoCounterpartError
from parity.porting.to_keras.leaves_axes import is_row, is_sequence
from parity.porting.to_keras.making.constructor import WrittenClass, class_constants, is_constant
from parity.porting.to_keras.making.expressions import PLACES
from parity.porting.to_keras.making.groups import PortClass
from parity.porting.to_keras.making.statements import MakingStatements
from parity.porting.to_keras.making.values import FunctionValues
from parity.porting.to_keras.making.workshop import KERAS_OWN, Workshop, keras_name

PLAIN = "keras.layers.Layer"
"""The base that keeps plain arguments in its config by itself; models and layers with a config of their own do not."""
MODEL = "keras.Model"


def from_source(port: PortClass, shop: Workshop, root: bool, configurable: dict[type, str]) -> WrittenClass:
    """Write a class with the statements of the source's constructor.

    Args:
        port: the class, with all instances of it; none for a class that others derive from.
        shop: knows the rest of the port.
        root: whether it is the model itself.
        configurable: the helper by which classes already give their arguments as a config; the class is added where
            it needs one.

    Raises:
        NoCounterpartError: something that is needed cannot be written.
    """
    cls = port.cls
    above = user_base(cls)
    if above is not None and above not in shop.by_class:
        raise NoCounterpartError(f"{cls.__name__} derives from {above.__name__}, which is not written")
    known = shop.constructor_calls(cls)
    text = ""
    if known is None:
        if above is None and (port.leaf is not None or is_sequence(cls)):
            raise NoCounterpartError(f"{cls.__name__} has the constructor of a layer of torch's")
        text = _of_rows(port) if above is None and is_row(cls) else ""
    else:
        values = FunctionValues(*known)
        reads = shop.reads_of({type(call.module) for call in values.calls})
        statements = MakingStatements(values, shop, reads, is_sequence(cls))
        lines, added = with_own_arguments(statements.lines(), values, is_sequence(cls))
        head = f"def __init__({shop.signature(values, added)}):"
        text = "\n".join([head, *(f"    {line}" for line in lines or ["pass"])])
    owner = (cls.__module__, cls.__name__)
    unknown = _unknown([text, *shop.methods.get(owner, {}).values()], shop) if text else set()
    if unknown:
        raise NoCounterpartError(
            f"the constructor reads {', '.join(sorted(unknown))}, which the port does not have"
        )
    bases = _bases(port, shop, above, root)
    owner = (cls.__module__, cls.__name__)
    inherited = {configurable[base] for base in cls.__mro__ if base in configurable}
    calls = known[1] if known is not None else []
    rows = known is None and bool(text)
    arguments = rows or any(set(call.arguments) - {"self"} for call in calls)
    spread = rows or (
        known is not None and (known[0].node.args.kwarg or known[0].node.args.vararg) is not None
    )
    packed = spread or any(map(_special, calls))
    helper = "Configurable" if packed or (bases not in (PLAIN, MODEL) and not inherited) else "PlainConfig"
    needed = bases != PLAIN or packed
    if arguments and needed and "Configurable" not in inherited and helper not in inherited:
        configurable[cls] = helper
        shop.makers.helpers.add(helper)
        bases = f"{helper}, {bases}"
    methods = shop.methods.get(owner, {})
    return WrittenClass(port, bases, text, methods, [], (owner,), True, class_constants(cls))


def _of_rows(port: PortClass) -> str:
    """The constructor of a class that has torch's constructor of a sequence, and a forward of its own.

    Raises:
        NoCounterpartError: its layers have names.
    """
    for made in port.modules:
        if list(made.module._modules) != [str(index) for index in range(len(made.module._modules))]:
            raise NoCounterpartError(f"{port.cls.__name__} is a sequence of named layers")
    lines = ["super().__init__(**kwargs)", "for index, layer in enumerate(layers):"]
    return "\n    ".join(
        ["def __init__(self, *layers, **kwargs):", *lines, "    setattr(self, str(index), layer)"]
    )


def with_own_arguments(
    lines: list[str], values: FunctionValues, sequential: bool
) -> tuple[list[str], list[str]]:
    """(the lines of a constructor, the arguments that it has besides the source's).

    Keras gives a layer its name, type and whether it trains. A `**` of the source's own that the constructor reads
    must not hold these.
    """
    own = values.function.node.args.kwarg
    text = "\n".join(lines)
    if own is None or KERAS_OWN not in text:
        return lines, [f"**{keras_name(values)}"] if own is None else []
    read = any(isinstance(node, ast.Name) and node.id == own.arg for node in ast.walk(ast.parse(text)))
    if not read and all(call.arguments.get(own.arg, {}).keys() <= PLACES for call in values.calls):
        spread = f"**{keras_name(values)}"
        return text.replace(KERAS_OWN, spread).splitlines(), [spread]
    names = {"name": "None", "trainable": "True"} | ({} if sequential else {"dtype": "None"})
    given = ", ".join(f"{name}={name}" for name in names)
    star = [] if values.function.node.args.vararg or values.function.node.args.kwonlyargs else ["*"]
    return text.replace(KERAS_OWN, given).splitlines(), [*star, *(f"{n}={d}" for n, d in names.items())]


def in_order(classes: list[WrittenClass]) -> list[WrittenClass]:
    """The classes, each behind those that its bases, its constants and the defaults of its arguments name."""
    by_name = {written.group.name: written for written in classes}
    found: dict[str, WrittenClass] = {}

    def take(written: WrittenClass, around: tuple[str, ...] = ()) -> None:
        name = written.group.name
        if name in found or name in around:
            return
        texts = [written.constructor, *written.methods.values()]
        tree = [ast.parse(text).body[0] for text in texts if text]
        defaults = [d for f in tree if isinstance(f, ast.FunctionDef) for d in _defaults(f.args)]
        named = [ast.parse(f"({written.bases},)", mode="eval"), *map(ast.parse, written.constants), *defaults]
        for node in (part for one in named for part in ast.walk(one)):
            if isinstance(node, ast.Name) and node.id in by_name:
                take(by_name[node.id], (*around, name))
        found[name] = written

    for written in classes:
        take(written)
    return list(found.values())


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [default for default in (*arguments.defaults, *arguments.kw_defaults) if default is not None]


def _unknown(texts: list[str], shop: Workshop) -> set[str]:
    """The global names that texts read and nothing in the port gives."""
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    given = {
        "keras",
        "ops",
        "tf_impl",
        *dir(builtins),
        *shop.functions,
        *shop.factories,
        *shop.constants,
        *shop.objects,
        *shop.makers.helpers,
    }
    given |= {one.name for one in (*shop.by_class.values(), *shop.makers.groups)}
    given |= {line.split()[-1].partition(".")[0] for line in shop.naming.imports}
    return read - bound - given


def _special(call: Any) -> bool:
    """Whether a constructor was given what Keras does not keep in a config by itself."""
    return any(
        not is_constant(value)
        for name, value in call.arguments.items()
        if name not in ("self", "device", "dtype")
    )


def _bases(port: PortClass, shop: Workshop, above: type | None, root: bool) -> str:
    if above is not None:
        return shop.by_class[above].name
    if is_sequence(port.cls):
        return "keras.Sequential"
    known = shop.constructor_calls(port.cls)
    if known is not None and known[0] in shop.base_callees:
        return shop.base_callees[known[0]]
    return "keras.Model" if root else "keras.layers.Layer"


def user_base(cls: type) -> type | None:
    """The class of the user's that a class derives from; None where it derives from torch's."""
    for base in cls.__mro__[1:]:
        if base.__module__.startswith("torch.nn"):
            return None
        if hasattr(base, "forward"):
            return base
    return None
