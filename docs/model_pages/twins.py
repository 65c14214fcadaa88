"""Two source files side by side: class by class and method by method, twins next to each other."""

from __future__ import annotations

import ast
import difflib
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String

TWINS = {"forward": "call"}
"""What torch calls a method for which Keras has another name."""
CLASSES = (
    (Comment, "c"),
    (String, "s"),
    (Keyword, "k"),
    (Operator.Word, "k"),
    (Number, "n"),
    (Name.Decorator, "d"),
)
"""Pygments' tokens that have a colour, and their class in page.css."""
LEXER = PythonLexer(stripnl=False, ensurenl=False)


@dataclass(frozen=True)
class Part:
    """A piece of a file: a class's head, a method, a function, or what stands between them."""

    key: str
    code: str


def parts(source: str, chosen: Sequence[str] = ()) -> list[Part]:
    """A file in its pieces, in order; of the top level only the names chosen, where some are.

    Raises:
        ValueError: a name that is not in the file.
    """
    lines = source.splitlines()
    found: list[Part] = []
    names: set[str] = set()
    end = 0  # lines that are dealt with
    rest: list[str] = []
    for node in ast.parse(source).body:
        start, end_of_gap = end, end
        end = node.end_lineno or 0
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            rest += lines[start:end]
            continue
        if rest:
            found.append(_part("imports and names" if not names else f"names before {node.name}", rest))
            rest = []
        names.add(node.name)
        if isinstance(node, ast.FunctionDef):
            found.append(_part(node.name, lines[start:end]))
        else:
            found += _of_class(node, lines, end_of_gap)
    if rest:
        found.append(_part("names at the end", rest))
    unknown = set(chosen) - names
    if unknown:
        raise ValueError(f"names must be in the file; got {sorted(unknown)}, known are {sorted(names)}")
    return [part for part in found if not chosen or part.key.partition(".")[0] in chosen]


def _of_class(node: ast.ClassDef, lines: list[str], start: int) -> list[Part]:
    """A class: its head, then each method with what stands in front of it."""
    found = []
    key, end = node.name, start
    for method in node.body:
        if isinstance(method, ast.FunctionDef):
            first = min([method.lineno, *(each.lineno for each in method.decorator_list)]) - 1
            if found or first > end:
                found.append(_part(key, lines[end:first]))
            key, end = f"{node.name}.{TWINS.get(method.name, method.name)}", first
    found.append(_part(key, lines[end : node.end_lineno]))
    return found


def _part(key: str, lines: list[str]) -> Part:
    return Part(key, "\n".join(lines).strip("\n"))


def paired(left: list[Part], right: list[Part]) -> list[tuple[Part | None, Part | None]]:
    """Pieces of one key next to each other, in the left side's order; others where they stand.

    Private methods that only one side has behind its constructor stand with the constructor.
    """
    left, right = _gathered(left, right), _gathered(right, left)
    other = {part.key: part for part in right}
    rows: list[tuple[Part | None, Part | None]] = [(part, other.get(part.key)) for part in left]
    known = {part.key for part in left}
    for i, part in enumerate(right):
        if part.key not in known:
            before = right[i - 1].key if i else None
            place = next(
                (n for n, row in enumerate(rows, 1) if before in [each.key for each in row if each]), 0
            )
            rows.insert(place, (None, part))
    return rows


def _gathered(side: list[Part], other: list[Part]) -> list[Part]:
    """One side's pieces, with private methods that the other one lacks put to the constructor before them."""
    known, found = {part.key for part in other}, list[Part]()
    for part in side:
        owner, _, method = part.key.partition(".")
        private = method.startswith("_") and not method.startswith("__")
        if private and part.key not in known and found and found[-1].key == f"{owner}.__init__":
            part = Part(found[-1].key, f"{found.pop().code}\n\n{part.code}")
        found.append(part)
    return found


def table(name: str, keras: str, torch: str, chosen: Sequence[str] = ()) -> str:
    """The table of one file's twins."""
    lines = [
        '<table class="twins">',
        f"<thead><tr><th>tf_impl/{name}</th><th>torch_impl/{name}</th></tr></thead>",
        "<tbody>",
    ]
    for left, right in paired(parts(keras, chosen), parts(torch, chosen)):
        key = (left or right).key  # type: ignore[union-attr]
        sides = [each.code.splitlines() if each else [] for each in (left, right)]
        marks = _differing(*sides)
        cells = [
            f"<td><pre>{_coloured(each.code, mark)}</pre></td>"
            if each
            else '<td class="none">none on this side</td>'
            for each, mark in zip((left, right), marks, strict=True)
        ]
        lines += [f'<tr class="key"><th colspan="2">{html.escape(key)}</th></tr>', "<tr>", *cells, "</tr>"]
    return "\n".join([*lines, "</tbody>", "</table>"])


def _differing(left: list[str], right: list[str]) -> tuple[set[int], set[int]]:
    """Lines of either side that the other one does not have; none where there is no other side."""
    if not left or not right:
        return set(), set()
    a, b = ([line.strip() for line in side] for side in (left, right))
    marks: tuple[set[int], set[int]] = (set(range(len(a))), set(range(len(b))))
    for block in difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
        marks[0].difference_update(range(block.a, block.a + block.size))
        marks[1].difference_update(range(block.b, block.b + block.size))
    return tuple({i for i in mark if side[i]} for mark, side in zip(marks, (a, b), strict=True))  # type: ignore[return-value]


def _coloured(code: str, marked: set[int]) -> str:
    """The code with its words in colours; marked lines have a ground of their own.

    Each line is a block that knows how far it is set in: what runs over is set in further.
    """
    pieces = []
    for name, words in groupby(_words(code), key=lambda word: word[0]):
        lines = html.escape("".join(word for _, word in words), quote=False).split("\n")
        pieces.append("\n".join(f'<b class="{name}">{line}</b>' if name and line else line for line in lines))
    lines = zip(code.splitlines(), "".join(pieces).split("\n"), strict=False)
    return "".join(
        f'<i style="--n:{len(plain) - len(plain.lstrip())}">{f"<mark>{line}</mark>" if i in marked else line}</i>'
        for i, (plain, line) in enumerate(lines)
    )


def coloured(code: str) -> str:
    """The code as HTML, with its words in colours."""
    return _coloured(code, set())


def _words(code: str) -> Iterator[tuple[str, str]]:
    """The class of each token, "" for those without a colour, and its text."""
    for token, text in LEXER.get_tokens(code):
        yield next((name for kind, name in CLASSES if token in kind), ""), text
