"""The words that a reading of source goes by: what names say, flags of expressions, and what functions share."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

SIZE, DTYPE, MODE, TRAINING, VALUE = "size", "dtype", "mode", "training", "value"
COMPARED, STEPPED, NUMBER, TENSOR, PASSIVE = "compared", "stepped", "number", "tensor", "passive"
KINDS = (SIZE, DTYPE, MODE, TRAINING, VALUE)

Flags = frozenset[str]
NONE: Flags = frozenset()

SIZES = {"shape", "get_shape", "numel", "nelement", "size"}
DTYPES = {"dtype", "standardize_dtype", "is_floating_point", "itemsize", "element_size", "finfo"}
MODES = {
    "is_grad_enabled", "is_inference_mode_enabled", "is_inference", "is_autocast_enabled", "executing_eagerly",
    "is_scripting", "is_tracing", "is_compiling", "is_exporting", "inside_function", "getenv", "environ", "requires_grad",
    "is_cuda", "is_contiguous", "is_leaf", "data_ptr", "urandom", "token_bytes", "uuid4",
    "_getframe", "currentframe", "current_thread", "get_ident", "get_num_threads", "is_available", "device_count",
    "time", "perf_counter", "monotonic", "getpid", "gethostname",
}  # fmt: skip
"""Functions and attributes that say how, where or when a model is run."""
PASSIVES = {"device", "default_rng", "SystemRandom", "requires_grad"}
"""The same, where a comparison alone makes a use: tensors are made on a device, and drawn with a seed."""
PASSING = {
    "int",
    "float",
    "bool",
    "str",
    "abs",
    "sum",
    "tuple",
    "list",
    "any",
    "all",
    "round",
    "sorted",
    "complex",
}
"""Functions whose result says the same as their arguments."""
READING = {"item", "tolist", "numpy", "asarray", "convert_to_numpy", "__float__", "__int__", "__bool__"}
"""Functions that give what a tensor holds to Python, where no trace sees what becomes of it."""
COMPARING = {
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "__eq__",
    "__ne__",
    "__lt__",
    "__le__",
    "__gt__",
    "__ge__",
    "isclose",
}
LIMITING = {"min", "max", "bisect", "bisect_left", "bisect_right"}
CLIPPING = {"minimum", "maximum", "clip", "clamp"}
"""The same for tensors, whose limits the traces show; of a size and numbers they are looked at here."""
TABLES = {"getattr", "get", "pop", "setdefault", "index", "count", "__getitem__"}
IGNORED = (
    "assert",
    "check",
    "print",
    "warn",
    "debug",
    "info",
    "log",
    "isinstance",
    "range",
    "len",
    "format",
    "append",
)
"""Parts of the names of functions that make nothing of their arguments that reaches a result."""


@dataclass(frozen=True)
class Use:
    """One place where something becomes a step without a branch.

    Attributes:
        kind: what becomes it: SIZE, DTYPE, MODE, TRAINING or VALUE.
        line: of the source.
        text: as it is written, in one line.
    """

    kind: str
    line: int
    text: str


@dataclass
class Shared:
    """What the functions of one model know of each other, by name.

    Attributes:
        arguments: flags of the arguments that a function was called with, by its place or name.
        results: flags of what a function gives.
        attributes: flags of what was set on an object.
    """

    arguments: dict[tuple[str, int | str], Flags] = field(default_factory=dict)
    results: dict[str, Flags] = field(default_factory=dict)
    attributes: dict[str, Flags] = field(default_factory=dict)

    def copy(self) -> Shared:
        """What is known now."""
        return Shared(dict(self.arguments), dict(self.results), dict(self.attributes))


def asked_of(name: str) -> Flags:
    """What a function or an attribute of this name says."""
    for names, kind in ((SIZES, SIZE), (DTYPES, DTYPE), (MODES, MODE), ({TRAINING}, TRAINING)):
        if name in names or (kind == MODE and name in PASSIVES):
            return frozenset({kind, PASSIVE} if name in PASSIVES else {kind})
    return NONE


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[str]:
    """Names of the parameters, those by position first."""
    given = function.args
    return [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


@lru_cache(maxsize=1024)
def whole_numbers(function: ast.AST) -> frozenset[str]:
    """Names that are no tensors: the object itself, divisors with a rest, and bounds of a range."""
    return frozenset({"self", "cls", *_divisors_and_bounds(function)})


def _divisors_and_bounds(function: ast.AST) -> Iterator[str]:
    for node in ast.walk(function):
        parts: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv | ast.Mod):
            parts = [node.right]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "range":
            parts = node.args
        bases = [part.value if isinstance(part, ast.Subscript) else part for part in parts]
        yield from (part.id for part in bases if isinstance(part, ast.Name))
