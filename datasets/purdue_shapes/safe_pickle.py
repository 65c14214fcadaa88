"""Reads pickles of plain data: containers, numbers, strings and NumPy arrays; nothing in them is ever run.

Three walls, each enough against a pickle that names a function to call. Only the opcodes of plain data are
known. A name is looked up in a short table, never imported. And that table holds stand-ins of our own, so
that not even NumPy's functions run because a file says so.
"""

from __future__ import annotations

import gzip
import pickle
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from datasets.purdue_shapes.plain_types import (
    ALLOWED,
    CALLABLE,
    Array,
    ByteRun,
    Dtype,
    PickleError,
    TooLargeError,
)

CHUNK = 1 << 20  # bytes to decompress at a time
RUN = 64  # integers in a row from which the fast path pays
# Protocol 0 writes a list's integers as I7\naI8\na; a leading zero, as in I00 and I01, makes a boolean.
TEXT_RUN = re.compile(rb"(?:(?:0|[1-9]\d*)\naI)*(?:0|[1-9]\d*)\na")
OBJECT = 100  # bytes that an opcode's object takes, about: a bomb may be many small objects
# Bytes for an opcode that makes next to nothing: 2 GiB of such opcodes would take minutes, one by one.
SMALL = 64
MOST_ARGUMENTS = 10
COPIES = 5  # times that a long string is in memory at most, while it is made of what was read


class Source:
    """Buffers a decompressed stream, keeps within a maximum of bytes, and finds runs of small integers."""

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file, self._left, self._max_bytes = file, max_bytes, max_bytes
        self._buffer, self._at = b"", 0

    def spend(self, count: int) -> None:
        """Count bytes that memory has to hold."""
        self._left -= count
        if self._left < 0:
            raise TooLargeError(self._max_bytes)

    def room(self, count: int) -> None:
        """See that so many bytes, which are needed for a moment, would fit."""
        if count > self._left:
            raise TooLargeError(self._max_bytes)

    def _fill(self, count: int) -> int:
        """Have the next `count` bytes in the buffer, or all that are left; return how many it holds."""
        have = len(self._buffer) - self._at
        if have < count:
            pieces = [self._buffer[self._at :]]
            while have < count and (piece := self._file.read(CHUNK)):
                self.spend(len(piece))
                pieces.append(piece)
                have += len(piece)
            self._buffer, self._at = b"".join(pieces), 0
        return have

    def read(self, count: int) -> bytes:
        """Return the next `count` bytes; many of them only if all copies of them fit."""
        if count > CHUNK:
            self.room(COPIES * count)
        if self._at + count > len(self._buffer) and self._fill(count) < count:
            raise PickleError("the pickle must end with a STOP; it ends too early")
        start, self._at = self._at, self._at + count
        return self._buffer[start : self._at]

    def readline(self) -> bytes:
        """Return the bytes up to and with the next line feed."""
        searched = 0
        while (end := self._buffer.find(b"\n", self._at + searched)) < 0:
            searched = len(self._buffer) - self._at
            self.room(COPIES * searched)
            if self._fill(2 * searched + CHUNK) == searched:
                raise PickleError("the pickle must end with a STOP; it ends too early")
        return self.read(end + 1 - self._at)

    def run(self) -> tuple[ByteRun, bytes] | None:
        """Take a long run of one-byte integers and the opcode that collects them, if one comes next."""
        if self._at + 2 * RUN > len(self._buffer):
            self._fill(2 * RUN)
        if self._buffer[self._at : self._at + 2 * RUN : 2] != pickle.BININT1 * RUN:
            return None
        length, window = RUN, 16 * RUN
        while True:
            self._fill(2 * (length + window))
            start = self._at + 2 * length
            opcodes = self._buffer[start : start + 2 * window : 2]
            others = opcodes.lstrip(pickle.BININT1)
            length += len(opcodes) - len(others)
            if others or len(opcodes) < window:
                break
            window *= 2
        end = self._at + 2 * length
        collector = self._buffer[end : end + 1]
        if collector not in (pickle.APPENDS, pickle.TUPLE):
            return None
        values, self._at = ByteRun(self._buffer[self._at + 1 : end : 2]), end + 1
        return values, collector

    def text_run(self) -> list[int]:
        """Take the integers, each in a line of its own and each appended to the same list, that come next."""
        self._fill(CHUNK // 32)
        match = TEXT_RUN.match(self._buffer, self._at)
        if match is None:
            return []
        self._at = match.end()
        return [int(digits) for digits in match[0][:-2].split(b"\naI")]

    def rest(self) -> int:
        """Read to the end, so that gzip verifies its checksum, and return how many bytes were left over."""
        over = 0
        while have := self._fill(1):
            over, self._at = over + have, len(self._buffer)
        return over


class DataUnpickler(pickle._Unpickler):
    """The standard library's unpickler, cut down to data."""

    def __init__(self, source: Source) -> None:
        # Python 2 wrote an array's bytes as a string, which latin1 keeps as it is.
        super().__init__(source, encoding="latin1")
        self._source = source
        self.read, self.readline = source.read, source.readline
        self.stack: list[Any] = []
        self.metastack: list[list[Any]] = []
        self.append = self.stack.append

    def load(self) -> Any:
        """Return what the stream holds."""
        read, dispatch = self.read, HANDLERS
        while (opcode := read(1)) != pickle.STOP:
            dispatch[opcode[0]](self)
        return self.stack.pop()

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of an allowed name."""
        try:
            return ALLOWED[module, name]
        except KeyError:
            asked = f"{module[:60]}.{name[:60]}"
            raise PickleError(
                f"the pickle must hold plain data; it asks for {asked!r}, which was not run"
            ) from None

    def load_reduce(self) -> None:
        """Call a stand-in, and nothing else."""
        arguments, function = self.stack.pop(), self.stack[-1]
        if not any(function is allowed for allowed in CALLABLE):  # `in` would hash what the file holds
            raise PickleError("the pickle must hold plain data; it calls something else, which was not run")
        if type(arguments) is not tuple or len(arguments) > MOST_ARGUMENTS:
            raise PickleError("a call must have a few arguments; the pickle gives something else")
        self._spend_texts(arguments)
        self.stack[-1] = function(*arguments)

    def load_build(self) -> None:
        """Give a stand-in its state."""
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, Array | Dtype):
            raise PickleError(
                "only arrays and dtypes may be given a state; the pickle gives one to something else"
            )
        if type(state) is tuple:
            self._spend_texts(state)
        target.__setstate__(state)

    def _spend_texts(self, values: tuple[Any, ...]) -> None:
        """Count the bytes that are made of texts: one text may be used many times."""
        self._source.spend(sum(len(value) for value in values if isinstance(value, str)))

    def load_mark(self) -> None:
        """Begin a list, dict or tuple; a long run of small integers goes in at once."""
        taken = self._source.run()
        if taken is None:
            super().load_mark()  # type: ignore[misc]
        elif taken[1] == pickle.TUPLE:
            self.append((taken[0],))
        else:
            self._list().append(taken[0])

    def load_int(self) -> None:
        """Read a decimal integer; of those that protocol 0 appends to a list one by one, many at once."""
        values = self._source.text_run()
        if not values:
            super().load_int()  # type: ignore[misc]
        elif len(values) < RUN or max(values) > 255:
            self._list().extend(values)
        else:
            self._list().append(ByteRun(values))

    def load_append(self) -> None:
        """Append to a list."""
        value = self.stack.pop()
        self._list().append(value)

    def load_appends(self) -> None:
        """Append all since the mark to a list."""
        items: list[Any] = self.pop_mark()  # type: ignore[attr-defined]
        self._list().extend(items)

    def _list(self) -> list[Any]:
        target = self.stack[-1]
        if type(target) is not list:
            raise PickleError("only a list may be appended to; the pickle appends to something else")
        return target

    def load_dict(self) -> None:
        """Make a dict of all since the mark."""
        items: list[Any] = self.pop_mark()  # type: ignore[attr-defined]
        self.append({})
        self._set(items)

    def load_setitem(self) -> None:
        """Put one pair into a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        """Put all pairs since the mark into a dict."""
        items: list[Any] = self.pop_mark()  # type: ignore[attr-defined]
        self._set(items)

    def _set(self, items: list[Any]) -> None:
        keys, values, target = items[::2], items[1::2], self.stack[-1]
        # Hashing a tuple of tuples that share their parts can take without end.
        if type(target) is not dict or not all(type(key) in (int, str) for key in keys):
            raise PickleError("dicts must have integers or strings as keys; got something else")
        target.update(zip(keys, values, strict=True))

    def load_frame(self) -> None:
        """Skip a frame's length: the source has a buffer of its own, and what is in the frame comes next."""
        self.read(8)

    def load_bytearray8(self) -> None:
        """Read bytes, without first making room for as many as the file claims."""
        self.append(self.read(struct.unpack("<Q", self.read(8))[0]))


class Handlers(dict[int, Callable[[Any], None]]):
    """What to do for each opcode; those that data does not need are refused."""

    def __missing__(self, opcode: int) -> Callable[[Any], None]:
        raise PickleError(f"the pickle must hold plain data; got opcode {bytes([opcode])!r}")


# fmt: off
CHEAP = ["BININT1", "INT", "APPEND", "APPENDS", "POP", "PROTO", "FRAME", "NONE", "NEWTRUE", "NEWFALSE"]
CHARGED = [
    "MARK", "BININT", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "LIST", "EMPTY_LIST", "DICT", "EMPTY_DICT", "SETITEM",
    "SETITEMS", "TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "POP_MARK", "DUP", "GET",
    "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GLOBAL", "STACK_GLOBAL", "REDUCE",
    "BUILD",
]
# fmt: on


def _handler(name: str) -> Callable[[Any], None]:
    """Return what runs for an opcode: our method of that name, or the standard library's."""
    opcode: int = getattr(pickle, name)[0]
    inherited = pickle._Unpickler.dispatch[opcode]  # type: ignore[attr-defined]
    handler: Callable[[Any], None] = vars(DataUnpickler).get(f"load_{name.lower()}", inherited)
    cost = SMALL if name in CHEAP else OBJECT

    def charged(self: DataUnpickler) -> None:
        self._source.spend(cost)
        handler(self)

    return charged


HANDLERS = Handlers({getattr(pickle, name)[0]: _handler(name) for name in CHEAP + CHARGED})


def read_plain(file: BinaryIO, max_bytes: int) -> Any:
    """Unpickle a gzip file of plain data: lists, tuples, dicts, numbers, strings, `Array` and `ByteRun`.

    Args:
        file: the compressed file, opened in binary.
        max_bytes: bytes that the unpacked data may take, small objects counted at 100 each, and every step of
            reading at 64 at least. A string may take a fifth of what is left of them.
    Raises:
        PickleError: no gzip, no pickle, cut short, too large, or anything but plain data.
    """
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            source = Source(stream, max_bytes)  # type: ignore[arg-type]
            data = DataUnpickler(source).load()
            over = source.rest()
    except PickleError:
        raise
    except gzip.BadGzipFile as error:
        raise PickleError(f"the file must be an intact gzip file; reading it failed: {error}") from error
    except (EOFError, zlib.error) as error:
        raise PickleError(f"the gzip file must be whole; it is cut short or damaged: {error}") from error
    except OSError:
        raise
    except Exception as error:  # a broken pickle can fail in any way, none of them the caller's fault
        raise PickleError(
            f"the file must hold a well-formed pickle; got {type(error).__name__}: {error}"
        ) from error
    if over:
        raise PickleError(f"the pickle must end the file; got {over} bytes after it")
    return data
