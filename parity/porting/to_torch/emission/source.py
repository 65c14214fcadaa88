"""What a class's own source says: its arguments, the text of the layers that it makes, and names in its `call`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from parity.porting.to_torch.emission.made_calls import expanded, made_call
from parity.porting.to_torch.emission.merge import MergedBody
from parity.porting.to_torch.values import kinds

LEFT_OUT = {"self", "name", "dtype", "trainable", "args", "kwargs"}


_UNKNOWN = object()


class ClassSource:
    """The source of the class of a layer; empty for graphs of layers and for groups."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.tree: ast.ClassDef | None = None
        kind = type(owner)
        if owner is None or (kind.__module__.startswith("keras.") and "applications" not in kind.__module__):
            return
        try:
            parsed = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        except (OSError, TypeError, SyntaxError, IndexError):
            return
        self.tree = parsed if isinstance(parsed, ast.ClassDef) else None

    def arguments(self) -> list[tuple[str, str | None]]:
        """The constructor's arguments with their defaults as text."""
        init = self._method("__init__")
        if init is None:
            return []
        found: list[tuple[str, str | None]] = []
        names = [*init.args.posonlyargs, *init.args.args]
        defaults = [None] * (len(names) - len(init.args.defaults)) + list(init.args.defaults)
        for argument, default in zip(names, defaults, strict=True):
            found.append((argument.arg, ast.unparse(default) if default is not None else None))
        for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
            found.append((argument.arg, ast.unparse(default) if default is not None else None))
        return [(name, default) for name, default in found if name not in LEFT_OUT]

    def values(self) -> dict[str, Any]:
        """What this instance was made with, as far as it is known."""
        if self.owner is None or self.tree is None:
            return {}
        noted = vars(self.owner).get("_parity_made_with")  # by the recorder, while the model was built
        config = getattr(getattr(self.owner, "_auto_config", None), "config", None) or {}
        config = {} if "Model" in kinds(self.owner) else config  # Keras notes a model's defaults alone
        found: dict[str, Any] = {}
        for name, _ in self.arguments():
            if noted is not None:
                found[name] = noted.get(name, _UNKNOWN)
            elif name in config:
                found[name] = config[name]
            else:
                found[name] = getattr(self.owner, name, _UNKNOWN)
        return {name: _frozen(value) for name, value in found.items() if _is_plain(value)}

    def open_arguments(self) -> bool:
        """Whether a constructor's argument has no text of its own: a function, a layer."""
        return self.tree is not None and len(self.values()) < len(self.arguments())

    def is_row(self) -> bool:
        """Whether the layer is made of layers that its constructor is given, as a Sequential is."""
        return type(self.owner).__name__ == "Sequential" or self.open_arguments()

    def expression(self, attribute: str, keyword: str, order: Sequence[str] = ()) -> str | None:
        """The text of an argument of the layer that the source puts into an attribute, over the class's arguments.

        `order` has the names of the layer's arguments, where it is of a class of the user's.
        """
        call = made_call(self.tree, attribute)
        if call is None:
            return None
        for given in call.keywords:
            if given.arg == keyword:
                return expanded(self.tree, given.value)
        position = order.index(keyword) if keyword in order else _position(call, keyword)
        if position is None or any(isinstance(value, ast.Starred) for value in call.args[: position + 1]):
            return None
        return expanded(self.tree, call.args[position]) if position < len(call.args) else None

    def docstring(self) -> list[str]:
        """The class's docstring as lines."""
        text = ast.get_docstring(self.tree, clean=True) if self.tree is not None else None
        if text is None:
            return []
        lines = text.splitlines()
        if len(lines) == 1:
            return [f'    """{lines[0]}"""', ""]
        return [f'    """{lines[0]}', *(f"    {line}".rstrip() for line in lines[1:]), '    """', ""]

    def _method(self, name: str) -> ast.FunctionDef | None:
        body = self.tree.body if self.tree is not None else []
        return next((node for node in body if isinstance(node, ast.FunctionDef) and node.name == name), None)

    # names in forward
    def target(self, merged: MergedBody) -> Callable[[str], str | list[str] | None]:
        """For a piece, the name that the source gives to its result."""
        if self.tree is None:
            return lambda name: None
        calls = CallStatements(self.owner)

        def found(name: str) -> str | list[str] | None:
            return calls.target(merged.piece(name).step)

        return found

    def nested(self, merged: MergedBody) -> Callable[[str, str], bool | None]:
        """Whether the source has one piece within the expression of another."""
        if self.tree is None:
            return lambda name, user: None
        calls = CallStatements(self.owner)

        def found(name: str, user: str) -> bool | None:
            return calls.nested(
                merged.piece(name).step, None if user == "return" else merged.piece(user).step
            )

        return found


def _is_plain(value: Any) -> bool:
    """Whether a value is of numbers and words alone."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, int | float | str | bool | None)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _position(call: ast.Call, keyword: str) -> int | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    orders = {
        "Dense": ("units",), "Embedding": ("input_dim", "output_dim"), "MultiHeadAttention": ("num_heads", "key_dim"),
        "Dropout": ("rate",), "LSTM": ("units",), "GRU": ("units",), "GroupNormalization": ("groups",),
        "DepthwiseConv2D": ("kernel_size", "strides"),
    }  # fmt: skip
    order = orders.get(name, ("filters", "kernel_size", "strides") if "Conv" in name else ())
    return order.index(keyword) if keyword in order else None


class CallStatements:
    """The statements of a `call`, and which one a step was written in."""

    def __init__(self, owner: Any) -> None:
        self.statements: list[tuple[int, int, ast.stmt]] = []
        self.file = ""
        try:
            function = inspect.unwrap(type(owner).call)
            lines, first = inspect.getsourcelines(function)
            self.file = inspect.getsourcefile(function) or ""
            tree = ast.parse(textwrap.dedent("".join(lines)))
        except (OSError, TypeError, SyntaxError):
            return
        self.shift = len(lines[0]) - len(lines[0].lstrip())
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.Return | ast.Expr | ast.AnnAssign):
                self.statements.append(
                    (node.lineno + first - 1, (node.end_lineno or node.lineno) + first - 1, node)
                )
        self.first = first

    def _of(self, step: Any) -> tuple[ast.stmt, Any] | None:
        """The innermost statement of `call` that holds a step, and the step's place there."""
        for place in reversed(step.places if step is not None else ()):
            if place.file != self.file:
                continue
            for start, end, node in self.statements:
                if start <= place.line and place.end_line <= end:
                    return node, place
        return None

    def target(self, step: Any) -> str | list[str] | None:
        """The name on the left, where the step is the whole right side."""
        found = self._of(step)
        if found is None:
            return None
        node, place = found
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and self._whole(node, place):
            return node.target.id
        if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not self._whole(node.value, place):
            return None
        if isinstance(node.value, ast.ListComp | ast.GeneratorExp | ast.DictComp | ast.SetComp):
            return None  # the name of them all
        target = node.targets[0]
        if isinstance(target, ast.Name):
            return target.id
        if isinstance(target, ast.Tuple) and all(isinstance(item, ast.Name) for item in target.elts):
            return [item.id for item in target.elts if isinstance(item, ast.Name)]
        return None

    def _whole(self, node: Any, place: Any) -> bool:
        return (node.lineno + self.first - 1, node.col_offset + self.shift) == (
            place.line,
            place.column,
        ) and (
            (node.end_lineno + self.first - 1, node.end_col_offset + self.shift)
            == (place.end_line, place.end_column)
        )

    def nested(self, step: Any, user: Any) -> bool | None:
        """Whether a step stands inside the statement of what takes it."""
        found = self._of(step)
        if found is None:
            return None
        node, _ = found
        if user is None:
            return isinstance(node, ast.Return)
        taker = self._of(user)
        return taker is not None and taker[0] is node and self.target(step) is None
