"""PyTorch's weight files, looked through before torch reads them: what its own restricted reader still allows.

`torch.load(weights_only=True)` runs no foreign code. But a hundred bytes may ask it for any amount of memory
(`bytearray(10**11)`, a tensor by its sizes), or for time without end: the hash of tuples whose parts are shared, and some
codecs of text. So the pickle is followed here first, with a note of each value in place of the value.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from datasets.bounds.archive import check_archive
from datasets.bounds.damaged import DamagedFile
from datasets.bounds.survival import size_of_file

STEPS = 3_000_000
"""Steps of a pickle: one of 100,000 tensors has about 2,500,000."""
HASHED = 1000
"""Parts of a key, each counted as often as it is reached."""
LARGEST = 256 * 2**20
"""Bytes of the largest pickle; the tensors' values lie outside it."""
PICKLES = 5
"""Pickles at the start of a file of the old format: its mark, two heads, the values, the names of the storages."""
CODECS = ("latin1", "latin-1", "utf-8", "ascii")
MAKERS = ("Tensor", "Storage")
"""How the names of classes end that make room by sizes alone."""
HASHING = (".set", ".Counter", ".OrderedDict")
"""Those of which the parts, or the parts of the parts, become keys."""


@dataclass
class Value:
    """What is noted of a value.

    Attributes:
        kind: "text", "number", "name", "tuple", "list", "other".
        plain: of a text, number or name: itself.
        parts: how many values are reached through it, each as often as it is reached.
        items: of a tuple or a list.
    """

    kind: str
    plain: Any = None
    parts: int = 1
    items: list[Value] = field(default_factory=list)


class Follower:
    """Follows one pickle step by step. The stack holds notes; None is a mark."""

    def __init__(self) -> None:
        self.stack: list[Value | None] = []
        self.memo: dict[int, Value] = {}

    def step(self, name: str, argument: Any) -> None:
        """Take one step.

        Raises:
            DamagedFile: it would ask for too much.
            IndexError, KeyError: it takes what is not there.
        """
        if (special := STEPS_OF.get(name)) is not None:
            special(self, argument)
        elif "GET" in name:
            self.stack.append(self.memo[int(argument)])
        elif name == "MEMOIZE" or "PUT" in name:
            self.memo[len(self.memo) if argument is None else int(argument)] = self.top()
        elif isinstance(argument, str | bytes):
            self.stack.append(Value("text", argument))
        elif isinstance(argument, int | float):
            if name not in ("PROTO", "FRAME"):
                self.stack.append(Value("number", argument))
        else:
            self.stack.append(Value("other"))

    def top(self) -> Value:
        """The last value."""
        value = self.stack[-1]
        if value is None:
            raise DamagedFile("a mark in the place of a value")
        return value

    def pop(self) -> Value:
        """Take the last value."""
        value = self.top()
        self.stack.pop()
        return value

    def since_mark(self) -> list[Value]:
        """Take all values since the last mark, and the mark."""
        items: list[Value] = []
        while (value := self.stack.pop()) is not None:
            items.append(value)
        return items[::-1]

    def tuple_of(self, items: list[Value]) -> None:
        """Make a tuple."""
        parts = min(1 + sum(item.parts for item in items), HASHED + 1)
        self.stack.append(Value("tuple", parts=parts, items=items))

    def add(self, items: list[Value]) -> None:
        """Append to a list."""
        self.top().items.extend(items)

    def put(self, items: list[Value]) -> None:
        """Pairs go into a dictionary: their keys are hashed."""
        hashed(items[::2])

    def call(self, _: Any) -> None:
        """Call a function, or make an object of a class."""
        arguments, function = self.pop(), self.pop()
        if (
            function.kind != "name"
        ):  # torch would show it in an error, with each part as often as it is reached
            raise DamagedFile("a call of something that is no function")
        check_call(str(function.plain), arguments.items)
        self.stack.append(Value("other"))


def _named(self: Follower, argument: Any) -> None:
    self.stack.append(Value("name", str(argument).replace(" ", ".")))


def _named_on_stack(self: Follower, _: Any) -> None:
    name, module = self.pop(), self.pop()
    self.stack.append(Value("name", f"{module.plain}.{name.plain}"))


def _stop(_: Follower, __: Any) -> None: ...


def _pop(self: Follower, _: Any) -> None:
    self.stack.pop()


def _build(self: Follower, _: Any) -> None:
    self.pop()


def _persistent(self: Follower, _: Any) -> None:
    hashed(self.pop().items)
    self.stack.append(Value("other"))


def _tuples(count: int) -> Callable[[Follower, Any], None]:
    def made(self: Follower, _: Any) -> None:
        items = [self.pop() for _ in range(count)]
        self.tuple_of(items[::-1])

    return made


def _pair(self: Follower, _: Any) -> None:
    value, key = self.pop(), self.pop()
    self.put([key, value])


STEPS_OF: dict[str, Callable[[Follower, Any], None]] = {
    "PROTO": _stop, "FRAME": _stop, "STOP": _stop, "MARK": lambda self, _: self.stack.append(None),
    "GLOBAL": _named, "STACK_GLOBAL": _named_on_stack, "REDUCE": Follower.call, "NEWOBJ": Follower.call,
    "BUILD": _build, "BINPERSID": _persistent, "APPEND": lambda self, _: self.add([self.pop()]),
    "APPENDS": lambda self, _: self.add(self.since_mark()), "SETITEM": _pair,
    "SETITEMS": lambda self, _: self.put(self.since_mark()), "ADDITEMS": lambda self, _: hashed(self.since_mark()),
    "TUPLE": lambda self, _: self.tuple_of(self.since_mark()), "TUPLE1": _tuples(1), "TUPLE2": _tuples(2),
    "TUPLE3": _tuples(3), "EMPTY_TUPLE": _tuples(0), "EMPTY_LIST": lambda self, _: self.stack.append(Value("list")),
    "POP": _pop, "DUP": lambda self, _: self.stack.append(self.top()),
}  # fmt: skip


def hashed(keys: list[Value]) -> None:
    """Refuse keys that take long to hash.

    Raises:
        DamagedFile: there is one.
    """
    if any(key.parts > HASHED for key in keys):
        raise DamagedFile(f"a key of more than {HASHED} parts")


def check_call(name: str, arguments: list[Value]) -> None:
    """Refuse a call that makes room for what is declared alone, or that may take without end.

    Args:
        name: of the function, with its module.
        arguments: notes of what it gets.

    Raises:
        DamagedFile: it does.
    """
    if name.endswith(MAKERS) and not name.startswith("torch._utils."):
        raise DamagedFile(f"a call of {name[:80]}, which makes room by sizes alone")
    if name.endswith("bytearray") and any(each.kind == "number" for each in arguments):
        raise DamagedFile("a bytearray by its length alone")
    if name.endswith(".encode") and any(
        each.kind == "text" and each.plain not in CODECS for each in arguments[1:2]
    ):
        raise DamagedFile("bytes in an unusual code")
    for each in arguments if name.endswith(HASHING) else []:
        hashed([*each.items, *(inner for item in each.items for inner in item.items)])


def check_pickle(content: bytes, pickles: int = 1) -> None:
    """Follow pickles that come one after another.

    Raises:
        DamagedFile: one asks for too much, or is no pickle.
    """
    stream, steps = BytesIO(content), 0
    try:
        for _ in range(pickles):
            follower = Follower()
            for opcode, argument, _place in pickletools.genops(stream):
                follower.step(opcode.name, argument)
                steps += 1
                if steps > STEPS:
                    raise DamagedFile(f"a pickle of more than {STEPS} steps")
    except DamagedFile:
        raise
    except Exception as error:  # a broken pickle fails in any way
        raise DamagedFile(f"no whole pickle: {type(error).__name__}: {error}") from error


def check_torch(path: Path) -> None:
    """See that a file of PyTorch's, .pt, .pth or .ckpt, is whole, and that torch can read it within its own size.

    Args:
        path: of a zip archive, or of the plain pickles that torch wrote before version 1.6.

    Raises:
        DamagedFile: it is not, or asks for more.
        OSError: it cannot be read.
    """
    size_of_file(path)
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            check_pickle(file.read(LARGEST), PICKLES)
        return
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            if part.filename.endswith(".pkl"):
                if part.file_size > LARGEST:
                    raise DamagedFile(f"a pickle of {part.file_size} bytes")
                check_pickle(archive.read(part))
