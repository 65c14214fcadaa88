"""Where a layer of a model is made, read from the sources: the assignment in a class, or the call in a function."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import FrameType, FunctionType, ModuleType
from typing import Any

from parity.adapters.sites.running import belongs_to_user
from parity.adapters.sites.written import Written, assigned, name_of, part, written
from parity.core.trace import CodePlace

PACKAGES = "-packages"
"""In the path of every installed package."""
MOST_FILES = 200
"""Source files that are looked through for the calls that make a model's layers."""


def made_at(objects: Mapping[str, Any], path: str) -> CodePlace | None:
    """Where the layer at a path is made; else where its class is written; None where no source of the user's says it.

    Args:
        objects: every layer of the model by path, the model itself at "".
        path: of the layer.
    """
    layer = objects.get(path)
    if layer is None:
        return None
    steps = path.split(".") if path else []
    for i in reversed(range(len(steps))):
        owner = objects.get(".".join(steps[:i]))
        value = None if owner is None else _in_class(type(owner), steps[i])
        if value is not None:
            file, found = value
            return _site(file, part(found, steps[i + 1 :]))
    return _in_functions(objects, layer) or _class_of(layer)


def _in_class(cls: type, name: str) -> tuple[str, ast.expr] | None:
    """(file, what is assigned) of an attribute that a class of the user's makes."""
    for base in cls.__mro__:
        source = _source_of(base)
        found = source.classes.get(base.__name__) if source is not None else None
        value = None if found is None else assigned(found, name)
        if source is not None and value is not None:
            return source.file, value
    return None


def _source_of(cls: type) -> Written | None:
    try:
        file = inspect.getsourcefile(cls)
    except TypeError:
        file = None
    if file is None:  # a module that was run from its file without an entry in sys.modules
        codes = [item.__code__ for item in vars(cls).values() if isinstance(item, FunctionType)]
        file = codes[0].co_filename if codes else None
    return written(file) if file is not None and belongs_to_user(file) else None


def function_at(function: Any) -> CodePlace | None:
    """Where a function of the user's is written, or what an object of a class of the user's computes."""
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    if code is None:
        return None if function is None else _class_of(function)
    return CodePlace(code.co_filename, code.co_firstlineno) if belongs_to_user(code.co_filename) else None


def _class_of(layer: Any) -> CodePlace | None:
    """Where the class of a layer says what it computes."""
    for base in type(layer).__mro__:
        source = _source_of(base)
        found = source.classes.get(base.__name__) if source is not None else None
        if source is not None and found is not None:
            steps = [
                n for n in found.body if isinstance(n, ast.FunctionDef) and n.name in {"call", "forward"}
            ]
            return CodePlace(source.file, (steps[0] if steps else found).lineno)
    return None


# --- models that functions make ---------------------------------------------------------------------


def _in_functions(objects: Mapping[str, Any], layer: Any) -> CodePlace | None:
    """The call that makes a layer, among the calls of its class in the sources near the model."""
    near, loaded = _files(objects)
    sources = [source for source in map(written, near) if source is not None]
    sources += [source for source in map(written, loaded) if source is not None and _makes(source, objects)]
    name = type(layer).__name__
    for source in sources:
        value = _in_sequence(source, objects, layer)
        if value is not None:
            return _site(source.file, value)
    for source in sources:
        calls = [call for call in source.calls.get(name, []) if _fits(call, layer)]
        calls.sort(key=lambda call: (call.lineno, call.col_offset))
        if len(calls) == 1:
            return _site(source.file, calls[0])
        if calls:
            alike = [item for item in objects.values() if type(item) is type(layer) and _fits(calls[0], item)
                     and all(_fits(call, item) for call in calls)]  # fmt: skip
            at = next((i for i, item in enumerate(alike) if item is layer), None)
            if at is not None and len(alike) == len(calls):
                return _site(source.file, calls[at])
            lines = sorted({call.lineno for call in calls})
            return CodePlace(source.file, lines[0], more=tuple(lines[1:4]))
    return None


def _in_sequence(source: Written, objects: Mapping[str, Any], layer: Any) -> ast.expr | None:
    """The element of a written-out list of layers, where the model at the root is made of this very list."""
    children = _children(objects.get(""))
    at = next((i for i, child in enumerate(children) if child is layer), None)
    if at is None:
        return None
    wanted = [type(child).__name__ for child in children]
    for items in source.sequences:
        known = [item for item in items if name_of(item) not in {"Input", "InputLayer"}]
        if len(known) == len(wanted) and all(
            name_of(item) == name and _fits(item, child)
            for item, name, child in zip(known, wanted, children, strict=True)
        ):
            return known[at]
    return None


def _children(root: Any) -> list[Any]:
    """The layers of a sequence, in order."""
    if hasattr(root, "children"):
        return list(root.children())
    layers = getattr(root, "layers", None)
    return list(layers) if isinstance(layers, list) else []


def _fits(call: ast.expr, layer: Any) -> bool:
    """Whether nothing that a call writes out contradicts the layer."""
    if not isinstance(call, ast.Call):
        return False
    try:
        names = [name for name in inspect.signature(type(layer).__init__).parameters if name != "self"]
    except (TypeError, ValueError):
        names = []
    given = dict(zip(names, call.args, strict=False)) | {
        str(keyword.arg): keyword.value for keyword in call.keywords if keyword.arg
    }
    return all(_agrees(value, layer, name) for name, value in given.items())


def _agrees(value: ast.expr, layer: Any, name: str) -> bool:
    try:
        literal = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError):
        return True
    held = getattr(layer, name, layer)
    if held is layer or callable(held):
        return held is layer or not isinstance(literal, str) or getattr(held, "__name__", literal) == literal
    if isinstance(held, list | tuple) and isinstance(literal, int):
        return all(item == literal for item in held)
    if isinstance(held, bool | int | float | str) and isinstance(literal, bool | int | float | str):
        return bool(held == literal)
    if isinstance(held, list | tuple) and isinstance(literal, list | tuple):
        return list(held) == list(literal)
    return True


def _makes(source: Written, objects: Mapping[str, Any]) -> bool:
    """Whether a source has a call for every layer of a model whose class is none of the user's."""
    layers = [
        layer
        for path, layer in objects.items()
        if path and type(layer).__name__ != "InputLayer" and _source_of(type(layer)) is None
    ]
    return all(
        any(_fits(call, item) for call in source.calls.get(type(item).__name__, [])) for item in layers
    )


def _files(objects: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Source files of the user's that may make the model: of its classes and of whoever asks; and of loaded modules."""
    found: dict[str, None] = {}
    for item in objects.values():
        for base in type(item).__mro__:
            source = _source_of(base)
            if source is not None:
                found.setdefault(source.file)
    found |= dict.fromkeys(_of_callers())
    loaded: dict[str, None] = {}
    for module in reversed(list(sys.modules.values())):  # a model's own was loaded last
        file: Any = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py") and belongs_to_user(file) and PACKAGES not in file:
            loaded.setdefault(file)
    return list(found), [file for file in loaded if file not in found][:MOST_FILES]


def _of_callers() -> Iterator[str]:
    """Files of the functions that ask for the comparison, and of the modules, classes and functions that they name."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if belongs_to_user(name) and PACKAGES not in name:
            yield name
            for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
                file = _file_of(value)
                if file is not None and belongs_to_user(file) and PACKAGES not in file:
                    yield file
        frame = frame.f_back


def _file_of(value: Any) -> str | None:
    if isinstance(value, partial):
        value = value.func
    if isinstance(value, FunctionType):
        return value.__code__.co_filename
    return getattr(value, "__file__", None) if isinstance(value, ModuleType) else None


def _site(file: str, value: ast.expr) -> CodePlace:
    source = written(file)
    lines: Sequence[str] = source.text.splitlines() if source is not None else ()
    text = " ".join((ast.get_source_segment("\n".join(lines), value) or "").split())
    return CodePlace(file, value.lineno, text if len(text) <= 120 else f"{text[:116]} ...")
