"""Models named by a string: "package.module:Name", "file.py:name", with arguments "...:Name(depth=8)"."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from parity.adapters import side_of
from parity.adapters.frameworks import import_torch
from parity.adapters.numbering import numbered_alike
from parity.core.errors import UsageError
from parity.core.types import Side

Arguments = tuple[list[Any], dict[str, Any]]


def split_call(text: str) -> tuple[str, Arguments | None]:
    """("Name", arguments) of "Name(1, depth=8)"; literals alone, nothing is evaluated.

    Raises:
        UsageError: the parentheses hold anything but literals.
    """
    name, bracket, _ = text.partition("(")
    if not bracket:
        return text, None
    try:
        call = ast.parse(f"f{text[len(name) :]}", mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        assert all(keyword.arg for keyword in call.keywords)
        positional = [ast.literal_eval(value) for value in call.args]
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, AssertionError) as error:
        raise UsageError(
            f"arguments in a model's name must be literals, as in 'mUnet(depth=8)'; got {text!r}. "
            "Write a factory function for anything else."
        ) from error
    return name, (positional, named)


def read_spec(spec: str) -> tuple[str, str, Arguments | None]:
    """(location, attribute, arguments) that a string names; no module is imported and no file is run.

    Args:
        spec: "package.module:attribute" or "path/to/file.py:attribute", with literal arguments in
            parentheses if it is to be called with any.

    Raises:
        UsageError: it does not have this form, or no such file or package is here.
    """
    location, colon, attribute = spec.partition(":")
    if not colon or not attribute:
        raise UsageError(
            f"a model must be named as module:attribute; got {spec!r}. For example mynet.keras_model:build."
        )
    name, arguments = split_call(attribute)
    if location.endswith(".py"):
        if not Path(location).is_file():
            raise UsageError(f"the file of a model must exist; got {location!r}. Check the path.")
    else:
        _import_from_here()
        package = location.partition(".")[0]
        known = package in sys.modules or (package and importlib.util.find_spec(package) is not None)
        if not known:
            raise _no_module(spec, package)
    return location, name, arguments


def load_model(spec: str, side: Side | None = None) -> Any:
    """The model that a string names: an object as it is, or what a class or function returns when called.

    Layers without a name get the same automatic names in each call.

    Args:
        spec: as `read_spec` takes it.
        side: "keras" or "torch", where the model must be of that framework.

    Raises:
        UsageError: it does not name a module and an attribute, or the result is not a model.
    """
    location, name, arguments = read_spec(spec)
    if not location.endswith(".py"):
        _module(location, spec)  # what an import builds is built once, and keeps its names
    value = numbered_alike(lambda: _named(spec, location, name, arguments))
    if side_of(value) is None:
        raise UsageError(
            f"{spec!r} must be, or return, a Keras model or a torch module; got {type(value).__name__}. "
            "Name the model object, or a function that builds and returns it."
        )
    if side is not None and side_of(value) != side:
        raise UsageError(
            f"--{side} must name a {side} model; got {spec!r}, which is a {side_of(value)} model. Swap them."
        )
    return value


def maker(spec: str) -> Callable[[], Any]:
    """A function that makes the model that a string names, anew in each call; a file is run once.

    Args:
        spec: as `read_spec` takes it. An object that is a model already is given as it is.

    Raises:
        UsageError: it does not name a module and an attribute.
    """
    location, name, arguments = read_spec(spec)
    module = _module(location, spec)
    return lambda: numbered_alike(lambda: _of(module, spec, location, name, arguments))


def _named(spec: str, location: str, name: str, arguments: Arguments | None) -> Any:
    """What a string names: a file is run, and a class or function is called."""
    return _of(_module(location, spec), spec, location, name, arguments)


def _of(module: Any, spec: str, location: str, name: str, arguments: Arguments | None) -> Any:
    value = module
    for part in name.split("."):
        if not hasattr(value, part):
            raise UsageError(
                f"{location} must have the attribute {name!r}; got {spec!r}. Check the spelling."
            )
        value = getattr(value, part)
    if arguments is not None or (callable(value) and side_of(value) is None):
        positional, named = arguments or ([], {})
        try:
            value = value(*positional, **named)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:  # raised further in
                raise
            raise UsageError(
                f"{spec!r} must be called with the arguments that it takes; got {error}. "
                f"Give them as literals, as in {location}:{name}(8, bias=False)."
            ) from error
    return value


def _module(location: str, spec: str) -> ModuleType:
    import_torch()  # both frameworks may load in this process
    if location.endswith(".py"):
        path = Path(location).resolve()
        name = f"_parity_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"  # its own, whatever the stem
        found = importlib.util.spec_from_file_location(name, path)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules[name] = module
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))  # the file may import its neighbours
        found.loader.exec_module(module)
        return module
    _import_from_here()
    try:
        return importlib.import_module(location)
    except ModuleNotFoundError as error:
        raise _no_module(spec, str(error.name)) from error


def _import_from_here() -> None:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def _no_module(spec: str, name: str) -> UsageError:
    return UsageError(
        f"{spec!r} must name a module that can be imported here; got no module named {name!r}. "
        "Install its package, or run parity from the folder that holds it."
    )
