"""What a port's comments, docstrings and messages say of the axes of images: in the order of its framework."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Callable

_SIZE = r"(?:ceil\([^()]*\)|[^,()\[\]]+)"
_BATCH = r"(?:[NBnb]|batch(?:_size)?|bs)"
_FIRST = re.compile(rf"([(\[])({_BATCH}), ({_SIZE}), ({_SIZE}), ({_SIZE})([)\]])")
"""Four axes in brackets."""
_FLAT = re.compile(rf"([(\[])({_BATCH}), ([^,()\[\]]+), (\(?[^,()\[\]]+ ?\* ?[^,()\[\]]+\)?|HW|hw)([)\]])")
"""Three axes in brackets, the last of which is height times width."""
_BARE = re.compile(r"\b([NB])(,?) C\2 H\2 W\b")
"""Four letters of a comment."""


def in_keras_order(text: str) -> str:
    """A source text in which all that is said of images has the channels last; its code stays.

    >>> print(in_keras_order("x = (N, C, H, W)  # (N, 8, H/2, W/2) -> (N, 8, H * W)"))
    x = (N, C, H, W)  # (N, H/2, W/2, 8) -> (N, H * W, 8)
    """
    return _said(text, _to_keras, lambda comment: _BARE.sub(r"\1\2 H\2 W\2 C", comment))


def in_torch_order(text: str) -> str:
    """A source text in which all that is said of images has the channels behind the batch; its code stays.

    >>> print(in_torch_order("x = (N, H, W, C)  # (N, H/2, W/2, 8)"))
    x = (N, H, W, C)  # (N, 8, H/2, W/2)
    """
    return _said(text, _to_torch, str)


def _said(text: str, turned: Callable[[str], str], comment: Callable[[str], str]) -> str:
    lines = text.splitlines(keepends=True)
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return text
    said = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.COMMENT)}
    for token in reversed(tokens):
        if token.type in said:
            (first, start), (last, end) = token.start, token.end
            whole = "".join(lines[first - 1 : last])
            stop = len(whole) - len(lines[last - 1]) + end
            inner = turned(whole[start:stop])
            inner = comment(inner) if token.type == tokenize.COMMENT else inner
            lines[first - 1 : last] = [whole[:start] + inner + whole[stop:], *[""] * (last - first)]
    return "".join(lines)


def _to_keras(text: str) -> str:
    def images(found: re.Match[str]) -> str:
        start, batch, channels, height, width, end = found.groups()
        known = _is(height, "h") and _is(width, "w")
        return f"{start}{batch}, {height}, {width}, {channels}{end}" if known else found[0]

    def flat(found: re.Match[str]) -> str:
        start, batch, channels, places, end = found.groups()
        sizes = places.strip("()").replace(" ", "").split("*")
        known = len(sizes) == 1 or (_is(sizes[0], "h") and _is(sizes[1], "w"))
        return f"{start}{batch}, {places}, {channels}{end}" if known else found[0]

    return _FLAT.sub(flat, _FIRST.sub(images, text))


def _to_torch(text: str) -> str:
    def images(found: re.Match[str]) -> str:
        start, batch, height, width, channels, end = found.groups()
        known = _is(height, "h") and _is(width, "w")
        return f"{start}{batch}, {channels}, {height}, {width}{end}" if known else found[0]

    return _FIRST.sub(images, text)


def _is(size: str, letter: str) -> bool:
    """Whether a size is a height, or a width: H, H', ceil(H / 2), n_h."""
    word = {"h": "h(?:eight)?", "w": "w(?:idth)?"}[letter]
    return re.match(rf"(?:ceil\()?(?:n_)?{word}(?![a-z])", size, re.IGNORECASE) is not None
