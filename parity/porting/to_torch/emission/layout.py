"""Lines of at most 88 columns, broken as formatters break them."""

from __future__ import annotations

import ast
import textwrap

WIDTH = 88


def statement(text: str, indent: int) -> list[str]:
    """A statement as lines: broken at its outermost brackets where it is too long."""
    line = " " * indent + text
    if len(line) <= WIDTH:
        return [line]
    if text.startswith("#"):
        return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent + "# ")
    broken = _broken(text, indent)
    return broken if broken is not None else [line]


def _broken(text: str, indent: int) -> list[str] | None:
    """The last outermost bracket of the text with its content on lines of its own."""
    open_, close = _last_bracket(text)
    if open_ < 0:
        return _wrapped(text, indent)
    head, inner, tail = text[: open_ + 1], text[open_ + 1 : close], text[close:]
    if len(" " * indent + head) > WIDTH or len(tail) > 40:
        return _wrapped(text, indent)
    parts = parted(inner)
    body = " " * (indent + 4) + inner.rstrip(",").strip()
    if len(body) <= WIDTH and not inner.rstrip().endswith(","):
        return [" " * indent + head, body, " " * indent + tail]
    lines = [" " * indent + head]
    loop = _loop(inner)
    if loop > 0:
        lines += statement(inner[:loop], indent + 4)
        return [*lines, " " * (indent + 4) + inner[loop + 1 :], " " * indent + tail]
    for part in parts:
        lines += _item(part, indent + 4)
    return [*lines, " " * indent + tail]


def _loop(text: str) -> int:
    """Where the outermost `for` of a comprehension begins; -1 where there is none."""
    depth, quote = 0, ""
    for n, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif depth == 0 and text.startswith(" for ", n):
            return n
    return -1


def _item(part: str, indent: int) -> list[str]:
    lines = statement(part, indent - 0) if len(" " * indent + part) + 1 > WIDTH else [" " * indent + part]
    return [*lines[:-1], lines[-1] + ","]


def _wrapped(text: str, indent: int) -> list[str] | None:
    """A long sum in brackets."""
    for sign in (" = ", "return "):
        head, found, rest = text.partition(sign)
        if found and (sign == " = " or not head):
            inner = " " * (indent + 4) + rest
            if len(inner) <= WIDTH:
                return [" " * indent + head + found + "(", inner, " " * indent + ")"]
    return None


def _last_bracket(text: str) -> tuple[int, int]:
    """Where the last outermost bracket opens and closes."""
    depth, start, found, quote = 0, -1, (-1, -1), ""
    for n, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in "([{":
            start = n if depth == 0 else start
            depth += 1
        elif sign in ")]}":
            depth -= 1
            if depth == 0 and n > start + 1:
                found = (start, n)
    return found


def parted(text: str) -> list[str]:
    """The parts between the outermost commas."""
    parts, depth, last, quote = [], 0, 0, ""
    for n, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif sign == "," and depth == 0:
            parts.append(text[last:n].strip())
            last = n + 1
    rest = text[last:].strip()
    return [*parts, rest] if rest else parts


def stands(text: str) -> bool:
    """Whether the text is Python."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
