"""The calls in a class's source that make its layers, and their arguments over those of the constructor."""

from __future__ import annotations

import ast
from collections.abc import Iterator

LEFT_OUT = {"call", "get_config", "from_config", "compute_output_shape", "compute_mask"}


def _methods(tree: ast.ClassDef | None) -> Iterator[ast.FunctionDef]:
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.FunctionDef) and node.name not in LEFT_OUT:
            yield node


def _assigned(tree: ast.ClassDef | None) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Every target and its value, tuples taken apart."""
    for method in _methods(tree):
        for node in ast.walk(method):
            if isinstance(node, ast.AnnAssign) and node.value is not None:
                yield node.target, node.value
            if not isinstance(node, ast.Assign):
                continue
            value = node.value
            for target in node.targets:
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    yield from zip(target.elts, value.elts, strict=False)
                elif isinstance(target, ast.Tuple) and isinstance(value, ast.Name | ast.Attribute):
                    for n, item in enumerate(target.elts):
                        yield item, ast.Subscript(value, ast.Constant(n))
                else:
                    yield target, value


def made_call(tree: ast.ClassDef | None, attribute: str) -> ast.Call | None:
    """The call that makes the layer of an attribute, "norm", or of a list, "blocks.0"."""
    stem, _, place = attribute.partition(".")
    for target, value in _assigned(tree):
        if not isinstance(target, ast.Attribute) or target.attr != stem:
            continue
        found: ast.expr = value
        if isinstance(found, ast.IfExp):
            found = found.body
        if isinstance(found, ast.ListComp) and place.isdigit():
            found = found.elt
        elif isinstance(found, ast.List | ast.Tuple) and place.isdigit() and int(place) < len(found.elts):
            found = found.elts[int(place)]
        elif place:
            continue
        if isinstance(found, ast.Call):
            return found
    return _appended(tree, stem) if place.isdigit() else None


def made_count(tree: ast.ClassDef | None, stem: str) -> str | None:
    """The text of n where a list is made by `for ... in range(n)`."""
    for target, value in _assigned(tree):
        if (
            not isinstance(target, ast.Attribute)
            or target.attr != stem
            or not isinstance(value, ast.ListComp)
        ):
            continue
        loop = value.generators[0].iter
        if isinstance(loop, ast.Call) and ast.unparse(loop.func) == "range" and len(loop.args) == 1:
            return expanded(tree, loop.args[0])
    return None


def _appended(tree: ast.ClassDef | None, stem: str) -> ast.Call | None:
    """The one call whose result is appended to a list."""
    found = []
    for method in _methods(tree):
        for node in ast.walk(method):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "append"
                and isinstance(node.func.value, ast.Attribute)
                and node.func.value.attr == stem
                and isinstance(node.args[0], ast.Call)
            ):
                found.append(node.args[0])
    return found[0] if len(found) == 1 else None


def expanded(tree: ast.ClassDef | None, value: ast.expr) -> str:
    """The text of an expression, local names and attributes that are set once replaced by what they are."""
    known: dict[str, list[ast.expr]] = {}
    for target, given in _assigned(tree):
        if isinstance(target, ast.Name | ast.Attribute):
            known.setdefault(ast.unparse(target), []).append(given)
    once = {name: found[0] for name, found in known.items() if len(found) == 1}
    return ast.unparse(_Expanded(once).visit(ast.parse(ast.unparse(value), mode="eval").body))


class _Expanded(ast.NodeTransformer):
    def __init__(self, known: dict[str, ast.expr], depth: int = 0) -> None:
        self.known, self.depth = known, depth

    def _replaced(self, node: ast.expr) -> ast.expr:
        found = self.known.get(ast.unparse(node))
        if (
            found is None
            or self.depth > 6
            or isinstance(found, ast.Call | ast.ListComp | ast.List | ast.Dict)
        ):
            return node
        copy = ast.parse(ast.unparse(found), mode="eval").body
        result: ast.expr = _Expanded(self.known, self.depth + 1).visit(copy)
        return result

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._replaced(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self._replaced(node)
