"""The conditions in compiled Python code: where each is written, and where it goes on."""

from __future__ import annotations

import dis
import linecache
from dataclasses import dataclass, field
from functools import cache
from types import CodeType

LONGEST = 60
"""Characters of a condition that are shown."""


@dataclass(frozen=True)
class Condition:
    """A condition in the source: one however often the compiler wrote it out.

    Attributes:
        file: of the source.
        line: its first line.
        span: its place in the file, which is its identity.
        text: as it is written, in one line.
        loop: whether it asks for the next turn of a loop.
        possible: the ways that can be taken by a pass that gives a result; True where it holds.
    """

    file: str
    line: int
    span: tuple[int | None, ...]
    text: str = field(compare=False)
    loop: bool = field(compare=False)
    possible: frozenset[bool] = field(compare=False)


@dataclass(frozen=True)
class Jump:
    """One conditional jump in compiled code.

    Attributes:
        condition: that it tests.
        behind: offset of the next instruction, where it goes on when it does not jump.
        holds: whether the condition holds when it jumps.
    """

    condition: Condition
    behind: int
    holds: bool

    def way(self, offset: int, target: int) -> bool:
        """Whether the condition held, from the instruction that ran after the jump at `offset`."""
        jumped = not offset < target <= self.behind
        return self.holds if jumped else not self.holds


@cache
def jumps(code: CodeType) -> dict[int, Jump]:
    """Every conditional jump that the source decides, by its offset."""
    listed = [item for item in dis.get_instructions(code) if item.opname != "CACHE"]
    places = {item.offset: i for i, item in enumerate(listed)}
    found = {}
    for i, item in enumerate(listed):
        if not _conditional(item.opname) or i + 1 == len(listed) or item.positions is None:
            continue
        if i and listed[i - 1].opname in {"CHECK_EXC_MATCH", "CHECK_EG_MATCH", "WITH_EXCEPT_START"}:
            continue  # written by the compiler for `except` and `with`
        after = i + 1
        while listed[after].opname == "EXTENDED_ARG":
            after += 1
        place = item.positions
        if place.lineno is None:
            continue
        text = _text(code.co_filename, place)
        holds = _holds(item.opname, text)
        ends = {holds: places.get(item.argval), not holds: after}
        possible = frozenset(
            way for way, start in ends.items() if start is None or not _only_raises(listed, start)
        )
        span = (place.lineno, place.end_lineno, place.col_offset, place.end_col_offset)
        loop = item.opname == "FOR_ITER"
        condition = Condition(code.co_filename, place.lineno, span, text, loop, possible)
        found[item.offset] = Jump(condition, listed[after].offset, holds)
    return found


def _conditional(name: str) -> bool:
    return name == "FOR_ITER" or ("JUMP" in name and "IF_" in name)


def _holds(name: str, text: str) -> bool:
    """Whether the condition as it is written holds where this instruction jumps."""
    if name == "FOR_ITER":
        return False  # it jumps out of the loop
    if "NONE" in name:
        asks_for_none = " is None" in text
        return ("NOT_NONE" not in name) == asks_for_none
    return "TRUE" in name


def _only_raises(listed: list[dis.Instruction], start: int) -> bool:
    """Whether this way leads to nothing but an error: no pass that gives a result takes it."""
    for item in listed[start:]:
        if item.opname in {"RAISE_VARARGS", "RERAISE"}:
            return True
        if item.opname.startswith(("RETURN", "YIELD", "FOR_ITER")) or "JUMP" in item.opname:
            return False
    return False


def _text(file: str, place: dis.Positions) -> str:
    lines = linecache.getlines(file)
    if place.lineno is None or place.end_lineno is None or place.end_lineno > len(lines):
        return ""
    part = [line.encode() for line in lines[place.lineno - 1 : place.end_lineno]]
    if not part or place.col_offset is None or place.end_col_offset is None:
        return ""
    part[-1] = part[-1][: place.end_col_offset]
    part[0] = part[0][place.col_offset :]
    text = " ".join(b" ".join(part).decode(errors="replace").split())
    if text.startswith(
        ("if ", "elif ", "while ")
    ):  # of a bare name the compiler keeps the place of the statement
        text = text.partition(" ")[2].partition(":")[0]
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
