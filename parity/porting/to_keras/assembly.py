"""Puts a port's file together: imports, helpers, functions, classes, and `build()`."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from parity.adapters.recording.records import Recording
from parity.porting.to_keras.bodies.texts import BodyTexts
from parity.porting.to_keras.building import (
    build_function,
    building_by_run,
    building_of_inputs,
    building_of_unrun,
)
from parity.porting.to_keras.constants import (
    constant_text,
    is_constant,
    is_named_tuple,
    named_tuple_text,
)
from parity.porting.to_keras.containers import container_methods
from parity.porting.to_keras.leaves.carried import carried, helper_names
from parity.porting.to_keras.making.constructor import WrittenClass
from parity.porting.to_keras.making.made import Making
from parity.porting.to_keras.names import within_torch
from parity.porting.written import Unwritten, WrittenPort

INDENT = "    "
_COUNTED = re.compile(r"\blen\(self\.\w+\)")
ALWAYS = (
    "import keras",
    "from keras import ops",
    "from keras import layers",
    "import math",
    "import tf_impl.layers",
)
HELPERS = "# What Keras has no layer for, or computes otherwise."
NETWORK = "# The network."
"""Headings within the file."""
PYTHON = {"math", "functools", "itertools", "collections", "operator", "typing", "copy"}
"""Modules of Python's own that a port may import names from."""


def assembled(recording: Recording, bodies: BodyTexts, making: Making, name: str) -> WrittenPort:
    """The whole port of a model.

    Args:
        recording: of the model.
        bodies: its functions and methods.
        making: its constructors.
        name: what the file calls the model.
    """
    functions = {**making.functions, **bodies.functions}
    counted = any(_COUNTED.search(written.constructor) for written in making.classes)
    classes = [_class_text(written, bodies, recording, counted) for written in making.classes]
    helpers = {*making.helpers, *bodies.helpers}
    unknown = helpers - helper_names()
    missing = [Unwritten(helper, "", "", 0, "the helper for it is missing") for helper in sorted(unknown)]
    helper_text, helper_imports = carried(helpers - unknown)
    known = {*functions, *making.objects, *(w.group.name for w in making.classes)}
    constants, imports, problems = _globals(bodies, known, making.constants)
    unwritten = (*making.unwritten, *bodies.unwritten, *missing, *problems)
    heads = [written.constructor.partition("\n")[0] for written in making.classes]
    in_front = {name for name in making.objects if any(f"={name}(" in head for head in heads)}  # a default
    body = _blocks(
        f"{HELPERS}\n\n\n{helper_text}\n\n\n{NETWORK}" if helper_text else "",
        *(text for text in constants if text.startswith("class ")),
        "\n".join(text for text in constants if not text.startswith("class ")),
        *functions.values(),
        *(text for name, text in making.objects.items() if name in in_front),
        *classes,
        *(text for name, text in making.objects.items() if name not in in_front),
        build_function(recording, bodies.inputs, making.root, called=not unwritten),
    )
    lines = _imports({*making.imports, *helper_imports, *imports, *ALWAYS}, body)
    heading = f'"""{name}, ported from PyTorch. Images are N, H, W, C."""\n\n{lines}'
    pairs = {w.group.cls.__name__: w.group.name for w in reversed(making.classes)}
    own = [
        node.name for node in ast.parse(helper_text).body if isinstance(node, ast.ClassDef | ast.FunctionDef)
    ]
    carried_names = (*own, *making.functions, *making.objects)
    return WrittenPort(
        _blocks(heading, body), pairs, unwritten, notes=tuple(recording.notes), helpers=carried_names
    )


def _blocks(*texts: str) -> str:
    return "\n\n\n".join(text.strip("\n") for text in texts if text.strip()) + "\n"


def _imports(statements: Iterable[str], body: str) -> str:
    """The imports that the text needs: Python's own, then all others, each in the order of the alphabet."""
    read = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)}
    plain: set[str] = set()
    names: dict[str, set[str]] = {}
    for line in statements:
        statement: Any = ast.parse(line).body[0]
        for alias in statement.names:
            if (alias.asname or alias.name).partition(".")[0] not in read:
                continue
            spelt = alias.name if alias.asname is None else f"{alias.name} as {alias.asname}"
            if isinstance(statement, ast.Import):
                plain.add(f"import {spelt}")
            else:
                names.setdefault(statement.module or "", set()).add(spelt)
    lines = [*plain, *(f"from {module} import {', '.join(sorted(parts))}" for module, parts in names.items())]
    further = [line for line in lines if re.match(r"(from|import) (keras|numpy|tf_impl)\b", line)]
    parts = [sorted(set(lines) - set(further), key=_import_key), sorted(further, key=_import_key)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _import_key(line: str) -> tuple[bool, str]:
    return line.startswith("from"), line.lower()


def _globals(
    bodies: BodyTexts, known: set[str], given: Mapping[str, str]
) -> tuple[list[str], set[str], list[Unwritten]]:
    """(constants, imports, what cannot be said) of the global names that the bodies read.

    Args:
        bodies: the functions and methods.
        known: the names of the port's functions and classes.
        given: the constants that constructors read, by name.
    """
    constants, imports, problems = dict(given), set(), []
    for name, value in sorted(bodies.needed.items()):
        module = getattr(value, "__module__", "") or ""
        if name in known:
            continue
        if inspect.ismodule(value) and not within_torch(value.__name__):
            package, _, last = value.__name__.rpartition(".")
            renamed = "" if value.__name__ == name else f" as {name}"
            imports.add(
                f"from {package} import {name}"
                if last == name and package
                else f"import {value.__name__}{renamed}"
            )
        elif is_constant(value) or is_named_tuple(value):
            text, statement = (
                (f"{name} = {constant_text(value)}", "")
                if is_constant(value)
                else named_tuple_text(value, name)
            )
            imports |= {statement} - {""}
            if constants.setdefault(name, text) != text:
                reason = f"two modules of the source have a {name}, of another value each"
                problems.append(Unwritten(name, "", "", 0, reason))
        elif module.partition(".")[0] in PYTHON:
            imports.add(f"from {module} import {name}")
        else:
            said = getattr(value, "__name__", None) or type(value).__name__
            problems.append(Unwritten(said, "", "", 0, f"the text still reads {name}, which Keras has not"))
    return list(constants.values()), imports, problems


def _class_text(written: WrittenClass, bodies: BodyTexts, recording: Recording, counted: bool) -> str:
    """One class: its constructor, then its methods as the source orders them.

    Args:
        written: the class.
        bodies: all functions and methods.
        recording: of the model.
        counted: whether a constructor asks how many layers a container has.
    """
    group = written.group
    constants = "\n".join(written.constants)
    parts = [constants, written.constructor, *written.methods.values()]
    if group.modules:  # else it is one that others derive from, which have its methods themselves
        methods = {
            name: text for name, text in _methods_of(group.cls, bodies).items() if "state_dict" not in name
        }
        methods = _with_call(methods, [made.module for made in group.modules])
        names = [list(made.module._modules) for made in group.modules]
        contained = container_methods(
            group.cls, names, [*methods.values(), *(["len(self)"] if counted else [])]
        )
        building = building_of_unrun(group.modules, methods) or building_by_run(group.modules, recording)
        if any(made.path == "" for made in group.modules):
            building = [*building, *building_of_inputs(recording, bodies.inputs)]
        parts += [*building, *contained, *methods.values()]
    text = (
        f'@keras.saving.register_keras_serializable(package="port")\nclass {group.name}({written.bases}):\n'
    )
    inner = "\n\n".join([_docstring(group.cls), *(part.strip("\n") for part in parts if part.strip())])
    return text + textwrap.indent(inner, INDENT)


def _methods_of(cls: type, bodies: BodyTexts) -> dict[str, str]:
    """The methods of a class and its bases; one that `super()` reaches has the base's name behind its own."""
    methods: dict[str, str] = {}
    owners: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for name, text in bodies.methods.get((base.__module__, base.__qualname__.split(".")[-1]), {}).items():
            called = f"super().{name}("
            if name in methods and called in text:
                inner = f"{name}_of_{owners[name].lstrip('_')}"
                methods[inner] = methods[name].replace(f"def {name}(", f"def {inner}(", 1)
                text = text.replace(called, f"self.{inner}(")
            methods[name], owners[name] = text, base.__name__
    return methods


def _with_call(methods: dict[str, str], modules: Sequence[Any]) -> dict[str, str]:
    """The methods of a class; the one that its constructor put in the place of `forward` is `call`."""
    chosen = {getattr(vars(module).get("forward"), "__name__", "") for module in modules}
    name = chosen.pop() if len(chosen) == 1 else ""
    if "call" in methods or name not in methods:
        return methods
    text = methods[name].replace(f"def {name}(", "def call(", 1)
    return {"call" if key == name else key: text if key == name else value for key, value in methods.items()}


def _docstring(cls: type) -> str:
    place = cls.__module__
    if place.startswith("_parity_"):  # a file that was named on the command line
        place = Path(inspect.getsourcefile(cls) or place).name.removesuffix(".py")
    doc = inspect.cleandoc(vars(cls).get("__doc__") or f"{cls.__name__.lstrip('_')} of {place}.")
    doc = doc.replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{doc}"""' if "\n" not in doc else f'"""{doc}\n"""'
