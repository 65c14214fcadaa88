"""Rewrites the syntax tree of a function so that it reports each value; what it computes stays the same."""

from __future__ import annotations

import ast
import copy
from types import CodeType
from typing import Any

ENTER = "__parity_enter__"
"""The global through which instrumented code begins a call."""
FRAME = "_parity_frame"
"""The local variable that holds the call's record."""
_UNTOUCHED = {"super", "locals", "vars", "dir", "eval", "exec"}
"""Builtins that look at the frame that calls them: they are called as before."""


def instrumented(node: Any, number: int, original: CodeType) -> tuple[CodeType, list[ast.AST]]:
    """The code object that reports, and the nodes whose positions in the list it reports by.

    Args:
        node: a function's definition or a lambda, which stays as it is.
        number: reported at the start of each call.
        original: the function's own code object; the new one has the same free variables.

    Raises:
        ValueError: the code that comes out does not fit the function.
    """
    nodes = list(ast.walk(node))
    twin = copy.deepcopy(node)
    places = {twin_node: k for k, twin_node in enumerate(ast.walk(twin))}
    probes = _Probes(places)
    if isinstance(twin, ast.Lambda):
        body: list[ast.stmt] = [ast.Return(probes.result(probes.visit(twin.body)))]
        function = ast.FunctionDef("<lambda>", twin.args, body, [])
    else:
        function = twin
        function.decorator_list = []
        function.returns = None
        function.body = probes.block(twin.body)
    _plain_arguments(function.args)
    names = [name.arg for name in _arguments(function.args)]
    pairs = ast.Dict([ast.Constant(name) for name in names], [ast.Name(name, ast.Load()) for name in names])
    enter = ast.Assign(
        [ast.Name(FRAME, ast.Store())],
        ast.Call(ast.Name(ENTER, ast.Load()), [ast.Constant(number), pairs], []),
    )
    function.body.insert(0, enter)
    code = _compiled(function, original, node)
    if code.co_freevars != original.co_freevars:
        raise ValueError(f"free variables {code.co_freevars} where {original.co_freevars} must be")
    return code, nodes


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return found + [arg for arg in (arguments.vararg, arguments.kwarg) if arg is not None]


def argument_names(arguments: ast.arguments) -> tuple[str, ...]:
    """The names of a function's arguments in order, `*args` and `**kwargs` last."""
    return tuple(arg.arg for arg in _arguments(arguments))


def _plain_arguments(arguments: ast.arguments) -> None:
    """Defaults and annotations belong to the function object, which stays: the code object holds neither."""
    for arg in _arguments(arguments):
        arg.annotation = None
    empty = ast.Constant(None)
    arguments.defaults = [empty for _ in arguments.defaults]
    arguments.kw_defaults = [None if default is None else empty for default in arguments.kw_defaults]


def _compiled(function: Any, original: CodeType, node: Any) -> CodeType:
    """The code of the function, compiled inside what makes its free variables and its class's private names."""
    inner: list[ast.stmt] = [function]
    parts = original.co_qualname.split(".")
    if len(parts) > 1 and parts[-2] != "<locals>":
        inner = [ast.ClassDef(name=parts[-2], bases=[], keywords=[], body=inner, decorator_list=[])]
    if original.co_freevars:
        free = [ast.arg(name) for name in original.co_freevars]
        nothing = ast.arguments(posonlyargs=[], args=free, kwonlyargs=[], kw_defaults=[], defaults=[])
        if isinstance(inner[0], ast.ClassDef):  # the class's own name is no variable of this function
            inner.insert(0, ast.Global([inner[0].name]))
        inner = [ast.FunctionDef("parity_around", nothing, inner, [])]
    tree = ast.Module(inner, [])
    for made in ast.walk(tree):
        if not hasattr(made, "lineno") and isinstance(made, ast.stmt | ast.expr | ast.arg | ast.keyword):
            ast.copy_location(made, node)
    ast.fix_missing_locations(tree)
    code = compile(tree, original.co_filename, "exec", dont_inherit=True, flags=original.co_flags & 0x1000000)
    for name in ("parity_around", *parts[-2:-1], function.name):
        code = next((c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name), code)
    return code.replace(co_name=original.co_name, co_qualname=original.co_qualname)


class _Probes(ast.NodeTransformer):
    """Puts `frame.seen(k, value)` around expressions, `frame.call(k, f, ...)` for calls, and marks statements."""

    def __init__(self, places: dict[ast.AST, int]) -> None:
        self.places = places
        self.depth = 0  # of functions inside the function

    def method(self, name: str, *arguments: ast.expr) -> ast.Call:
        return ast.Call(ast.Attribute(ast.Name(FRAME, ast.Load()), name, ast.Load()), list(arguments), [])

    def result(self, value: ast.expr) -> ast.expr:
        return value if self.depth else self.method("result", value)

    def seen(self, node: ast.AST, value: ast.expr) -> ast.expr:
        return self.method("seen", ast.Constant(self.places[node]), value)

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for statement in statements:
            if not isinstance(statement, ast.Global | ast.Nonlocal):
                found.append(ast.Expr(self.method("ran", ast.Constant(self.places[statement]))))
            made = self.visit(statement)
            found.extend(made if isinstance(made, list) else [made])
        return found

    def generic_visit(self, node: ast.AST) -> Any:
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, self.block(value))
            elif name in ("annotation", "returns", "pattern", "type_comment", "type_params"):
                continue
            elif isinstance(value, list):
                setattr(
                    node, name, [self.visit(item) if isinstance(item, ast.AST) else item for item in value]
                )
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node

    def visit(self, node: ast.AST) -> Any:
        special = getattr(self, f"visit_{type(node).__name__}", None)
        if special is not None:
            return special(node)
        made = self.generic_visit(node)
        if not isinstance(node, ast.expr) or isinstance(node, ast.Constant | ast.Slice | ast.Starred):
            return made
        if not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
            return made
        if isinstance(node, ast.Tuple) and any(isinstance(item, ast.Slice) for item in node.elts):
            return made
        return self.seen(node, made)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Any:
        return self.seen(node, node)  # the parts of a text are of no interest

    def visit_Call(self, node: ast.Call) -> Any:
        plain = isinstance(node.func, ast.Name) and node.func.id in _UNTOUCHED
        if plain:
            self.generic_visit_arguments(node)
            return self.seen(node, node)
        function = self.visit(node.func)
        self.generic_visit_arguments(node)
        call = self.method("call", ast.Constant(self.places[node]), function, *node.args)
        call.keywords = node.keywords
        return call

    def generic_visit_arguments(self, node: ast.Call) -> None:
        node.args = [self.visit(arg) for arg in node.args]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)

    def visit_Return(self, node: ast.Return) -> Any:
        if node.value is not None:
            node.value = self.result(self.visit(node.value))
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        simple = isinstance(node.target, ast.Name | ast.Attribute)
        target = copy.deepcopy(node.target)
        if isinstance(target, ast.Name | ast.Attribute):
            target.ctx = ast.Load()
        before: list[ast.stmt] = [ast.Expr(self.seen(node.target, target))] if simple else []
        after: list[ast.stmt] = [ast.Expr(self.seen(node, copy.deepcopy(target)))] if simple else []
        target_again = node.target
        node.value = self.visit(node.value)
        if not simple:
            node.target = self.visit(target_again)
        return [*before, node, *after]

    def visit_For(self, node: ast.For) -> Any:
        target = copy.deepcopy(node.target)
        for part in ast.walk(target):
            if hasattr(part, "ctx"):
                part.ctx = ast.Load()
        starred = any(isinstance(part, ast.Starred) for part in ast.walk(target))
        first = [] if starred else [ast.Expr(self.seen(node.target, target))]
        node.iter = self.visit(node.iter)
        node.body = [*first, *self.block(node.body)]
        node.orelse = self.block(node.orelse)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.decorator_list = [self.visit(item) for item in node.decorator_list]
        node.args.defaults = [self.visit(item) for item in node.args.defaults]
        self.depth += 1
        node.body = self.block(node.body)
        self.depth -= 1
        return node

    def visit_Lambda(self, node: ast.Lambda) -> Any:
        node.args.defaults = [self.visit(item) for item in node.args.defaults]
        self.depth += 1
        node.body = self.visit(node.body)
        self.depth -= 1
        return self.seen(node, node)

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node
