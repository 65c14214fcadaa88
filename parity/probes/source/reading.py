"""Reads one function: where a size, a dtype or a mode becomes a step, without a branch that could be watched.

Each expression gets flags: it is a size, or a comparison of one, and so on. Flags follow names, attributes, arguments
and results. What becomes a part of the result (a factor, an argument, an index) is a use. Sizes that shape, slice, pad
or resize a tensor are none.
"""

from __future__ import annotations

import ast

from parity.probes.source.words import (
    CLIPPING,
    COMPARED,
    COMPARING,
    DTYPE,
    IGNORED,
    KINDS,
    LIMITING,
    MODE,
    NONE,
    NUMBER,
    PASSING,
    PASSIVE,
    READING,
    SIZE,
    STEPPED,
    TABLES,
    TENSOR,
    TRAINING,
    VALUE,
    Flags,
    Shared,
    Use,
    asked_of,
    parameters,
    whole_numbers,
)


class Reading:
    """One function, read from top to bottom.

    Args:
        function: its tree.
        shared: what is known of other functions; what this one does goes into it.
    """

    def __init__(self, function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, shared: Shared) -> None:
        self.function, self.shared = function, shared
        self.name = getattr(function, "name", "<lambda>")
        self.uses: dict[tuple[str, int], Use] = {}
        self._quiet = 0
        whole = whole_numbers(function)
        bound = int(
            next(iter(parameters(function)), "") in {"self", "cls"}
        )  # it is handed over by the call itself
        self.names = {
            name: shared.arguments.get((self.name, place), NONE) | (NONE if name in whole else {TENSOR})
            | shared.arguments.get((self.name, name), NONE) | ({TRAINING} if name == TRAINING else NONE)
            for place, name in enumerate(parameters(function), -bound)
        }  # fmt: skip

    def read(self) -> list[Use]:
        """Every use, in the order of the lines."""
        if isinstance(self.function, ast.Lambda):
            self._gives(self.function.body)
        else:
            for statement in self.function.body:
                self._statement(statement)
        return sorted(self.uses.values(), key=lambda use: use.line)

    # --- statements -----------------------------------------------------------------------------------

    def _statement(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            self._assigned(node)
        elif isinstance(node, ast.Return):
            self._gives(node.value)
        elif isinstance(node, ast.For | ast.AsyncFor):
            self.flags(node.iter)
            self._all([*node.body, *node.orelse])
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return  # read on its own where it ran
        elif isinstance(node, ast.expr):
            self.flags(node)
        else:
            for name, part in ast.iter_fields(node):
                if name in {"test", "msg", "guard", "exc", "subject"} and isinstance(part, ast.expr):
                    self._watched(part)
                elif isinstance(part, list):
                    self._all(part)
                elif isinstance(part, ast.AST):
                    self._statement(part)

    def _all(self, nodes: list[ast.AST] | list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.AST):
                self._statement(node)

    def _assigned(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr) -> None:
        if node.value is None:
            return
        found = self.flags(node.value)
        if isinstance(node, ast.AugAssign):
            found = self._computed(node, [self.flags(node.target), found])
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            for place in ast.walk(target):
                if isinstance(place, ast.Name):
                    self.names[place.id] = found
                elif isinstance(place, ast.Attribute) and isinstance(place.ctx, ast.Store):
                    known = self.shared.attributes.get(place.attr, NONE)
                    self.shared.attributes[place.attr] = known | (found - {TENSOR})

    def _gives(self, value: ast.expr | None) -> None:
        if value is not None:
            found = self.flags(value)
            self.shared.results[self.name] = self.shared.results.get(self.name, NONE) | found

    def _watched(self, test: ast.expr) -> Flags:
        """A condition: the branches say which way it went."""
        self._quiet += 1
        try:
            return self.flags(test)
        finally:
            self._quiet -= 1

    # --- expressions ----------------------------------------------------------------------------------

    def flags(self, node: ast.AST | None) -> Flags:
        """What an expression is."""
        read = getattr(self, f"_{type(node).__name__.lower()}", None)
        if read is not None:
            return read(node)  # type: ignore[no-any-return]
        found = [self.flags(part) for part in ast.iter_child_nodes(node)] if node is not None else []
        return frozenset().union(*found)

    def _name(self, node: ast.Name) -> Flags:
        return self.names.get(node.id, frozenset({TRAINING}) if node.id == TRAINING else NONE)

    def _attribute(self, node: ast.Attribute) -> Flags:
        inner = self.flags(node.value)
        if node.attr == "ndim":
            return NONE
        own = asked_of(node.attr) - ({SIZE} if node.attr != "shape" else NONE)  # `x.size` alone is a method
        passed = inner & {TENSOR} if node.attr in {"T", "mT", "data", "real", "values"} else NONE
        return own or self.shared.attributes.get(node.attr, NONE) | passed | (inner & {MODE, DTYPE, PASSIVE})

    def _constant(self, node: ast.Constant) -> Flags:
        return frozenset({NUMBER})

    def _lambda(self, node: ast.Lambda) -> Flags:
        return NONE

    def _ifexp(self, node: ast.IfExp) -> Flags:
        self._watched(node.test)
        return self.flags(node.body) | self.flags(node.orelse)

    def _comprehension(self, node: ast.comprehension) -> Flags:
        for test in node.ifs:
            self._watched(test)
        return self.flags(node.iter) - {SIZE}

    def _compare(self, node: ast.Compare) -> Flags:
        parts = [self.flags(node.left), *map(self.flags, node.comparators)]
        kinds = frozenset().union(*parts) & {*KINDS}
        nothing = any(isinstance(one, ast.Constant) and one.value is None for one in node.comparators)
        return kinds | {COMPARED} if kinds and not nothing else NONE

    def _unaryop(self, node: ast.UnaryOp) -> Flags:
        found = self.flags(node.operand)
        return found | {COMPARED} if isinstance(node.op, ast.Not) and found & {*KINDS} else found

    def _binop(self, node: ast.BinOp) -> Flags:
        return self._computed(node, [self.flags(node.left), self.flags(node.right)])

    def _computed(self, node: ast.BinOp | ast.AugAssign, sides: list[Flags]) -> Flags:
        """Arithmetic: a factor or a summand that is a step is a use."""
        found = frozenset().union(*sides) - {NUMBER}
        for own, against in (sides, sides[::-1]):
            stepped = COMPARED in own or (STEPPED in own and TENSOR in against and SIZE not in against)
            active = NONE if PASSIVE in own and COMPARED not in own else own & {MODE, TRAINING}
            said = active or (stepped and own & {*KINDS})
            if said:
                self._use(node, min(own & {*KINDS}, key=KINDS.index))
        if isinstance(node.op, ast.Pow) and STEPPED in sides[0]:
            return found - {STEPPED}  # the scale of an attention, whose heads share the channels
        if SIZE in found and isinstance(node.op, ast.FloorDiv | ast.Mod | ast.RShift | ast.BitAnd):
            return found | {STEPPED}
        if isinstance(node.op, ast.Mult) and all(SIZE in side and TENSOR not in side for side in sides):
            parts = [getattr(node, "left", None), getattr(node, "right", None)]
            if all(isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub) for part in parts):
                return found | {STEPPED}
        return found

    def _subscript(self, node: ast.Subscript) -> Flags:
        value, index = self.flags(node.value), self.flags(node.slice)
        if SIZE in value:
            return value  # one of the sizes
        if isinstance(node.slice, ast.Slice | ast.Tuple):
            return value & {TENSOR}
        if index & {*KINDS}:
            self._use(node, min(index & {*KINDS}, key=KINDS.index))
            return index | {COMPARED}
        return value

    def _slice(self, node: ast.Slice) -> Flags:
        for part in (node.lower, node.upper, node.step):
            found = self.flags(part)
            if part is not None and COMPARED in found:
                self._use(part, min(found & {*KINDS}, key=KINDS.index))
        return NONE

    def _call(self, node: ast.Call) -> Flags:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        receiver = self.flags(node.func.value) if isinstance(node.func, ast.Attribute) else NONE
        given = [(place, self.flags(part)) for place, part in enumerate(node.args)]
        named = [(part.arg or "", self.flags(part.value)) for part in node.keywords]
        every = frozenset().union(receiver, *(found for _, found in [*given, *named]))
        asked = asked_of(name)
        if asked:
            return asked
        if name in READING or (name in {"int", "float", "bool"} and isinstance(node.func, ast.Name)):
            read = frozenset({VALUE}) if TENSOR in every and not every & {*KINDS} else NONE
            return (every - {NUMBER, TENSOR}) | read
        if name in PASSING:
            method = isinstance(node.func, ast.Attribute)  # x.abs() is a tensor, abs(2) is none
            return every - {NUMBER} if VALUE in every or method else every - {NUMBER, TENSOR}
        if name in COMPARING and every & {*KINDS}:
            return (every & {*KINDS}) | {COMPARED}
        if self._limits(name, [found for _, found in given]):
            self._use(node, SIZE if SIZE in every else VALUE)
            return every | {STEPPED}
        if name in LIMITING and VALUE in every:
            return every - {NUMBER}
        if name in TABLES and SIZE not in receiver:
            for kind in [kind for kind in KINDS for _, found in given if kind in found]:
                self._use(node, kind)
                return frozenset({kind, COMPARED})
        self._handed(node, name, [*given, *named])
        kept = receiver if receiver & {*KINDS} and TENSOR not in receiver else NONE
        return self.shared.results.get(name, NONE) | (every & {TENSOR}) | kept

    def _limits(self, name: str, given: list[Flags]) -> bool:
        """Whether a call limits a size by something that is none."""
        sizes = [SIZE in found or VALUE in found for found in given]
        if name in LIMITING:
            return any(sizes) and not all(sizes)
        numbers = [found <= {NUMBER} and bool(found) for found in given]
        return name in CLIPPING and sum(sizes) == 1 and sum(numbers) == len(given) - 1 > 0

    def _handed(self, node: ast.Call, name: str, given: list[tuple[int | str, Flags]]) -> None:
        """Arguments of a function: its own code may use them, and a comparison among them is a use."""
        for place, found in given:
            flags = found & {*KINDS, COMPARED, STEPPED}
            if flags & {*KINDS}:
                known = self.shared.arguments.get((name, place), NONE)
                self.shared.arguments[name, place] = known | flags
            if COMPARED in found and not any(word in name.lower() for word in IGNORED):
                self._use(node, min(found & {*KINDS}, key=KINDS.index))

    def _use(self, node: ast.AST, kind: str) -> None:
        if not self._quiet:
            text = " ".join(ast.unparse(node).split())
            self.uses.setdefault((kind, node.lineno), Use(kind, node.lineno, text))  # type: ignore[attr-defined]
