"""What a port's comments and docstrings say of the other framework: in the words of its own, or not at all."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from typing import TypeAlias

OF_TORCH = re.compile(r"TorchScript|torchscript|torch\.jit|\bthe jit\b|\bONNX\b|\bonnx\b")
"""What only the other framework's compilers and formats are about."""
Words: TypeAlias = tuple[tuple[re.Pattern[str], str], ...]
_MARKS = re.compile(r"#\s*(type:|noqa|pylint|pyright|fmt:|mypy)")
_EXPONENT = re.compile(r"e-0(?=\d)")
_SECTION = re.compile(r"^( *)Examples?:+ *\n(?:(?:\1 +[^\n]*|[ \t]*)\n)*", re.MULTILINE)
_KERAS_WORDS = (
    (re.compile(r"\b(?:torch\.)?nn\.Module\b"), "keras.Layer"),
    (re.compile(r"\btorch\.Tensor\b"), "tensor"),
    (re.compile(r"\bNCHW\b"), "NHWC"),
    (re.compile(r"\bBCHW\b"), "BHWC"),
)
_TORCH_WORDS = (
    (re.compile(r"\bkeras\.(?:layers\.)?Layer\b"), "nn.Module"),
    (re.compile(r"\bNHWC\b"), "NCHW"),
)


def in_keras_words(text: str) -> str:
    """A text whose comments and docstrings no longer speak of torch's classes, compilers and order of axes.

    >>> print(in_keras_words("x = f(y, 1e-05)  # NCHW\\n"), end="")
    x = f(y, 1e-5)  # NHWC
    """
    return _said(text, _KERAS_WORDS, OF_TORCH)


def in_torch_words(text: str) -> str:
    """A text whose comments and docstrings no longer speak of Keras' classes and order of axes.

    >>> print(in_torch_words("x = f(y, 1e-05)  # NHWC\n"), end="")
    x = f(y, 1e-5)  # NCHW
    """
    return _said(text, _TORCH_WORDS, None)


def _said(text: str, words: Words, dropped: re.Pattern[str] | None) -> str:
    lines = text.splitlines(keepends=True)
    docstrings = _docstrings(text)
    gone: set[int] = set()
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(text).readline))):
        (first, start), (last, end) = token.start, token.end
        said = token.string
        if token.type == tokenize.NUMBER:
            said = _EXPONENT.sub("e-", said)
        elif token.type == tokenize.COMMENT:
            said = "" if _MARKS.match(said) else _in_words(said, words)
            if dropped is not None and dropped.search(said):
                gone |= _block(first - 1, lines)
        elif token.type == tokenize.STRING and first in docstrings:
            said = _in_words(_without_examples(said), words)
        if said != token.string:
            before, behind = lines[first - 1][:start], lines[last - 1][end:]
            whole = f"{before.rstrip() if not said else before}{said}{behind}"
            lines[first - 1 : last] = [whole, *[""] * (last - first)]
    return "".join(line for number, line in enumerate(lines) if number not in gone)


def _in_words(said: str, words: Words) -> str:
    for pattern, word in words:
        said = pattern.sub(word, said)
    return said


def _docstrings(text: str) -> set[int]:
    """The first lines of all docstrings."""
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = [node.body[0] for node in ast.walk(ast.parse(text)) if isinstance(node, nodes) and node.body]
    return {
        node.lineno for node in found if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def _without_examples(docstring: str) -> str:
    """A docstring without examples that call torch."""
    return _SECTION.sub(lambda found: "" if re.search(r"\btorch\b", found[0]) else found[0], docstring)


def _block(number: int, lines: list[str]) -> set[int]:
    """The lines of the comment that a line belongs to; none where code stands before it."""

    def comment(n: int) -> bool:
        return 0 <= n < len(lines) and lines[n].lstrip().startswith("#")

    if not comment(number):
        return set()
    first, last = number, number
    while comment(first - 1):
        first -= 1
    while comment(last + 1):
        last += 1
    return set(range(first, last + 1))
