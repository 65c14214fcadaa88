"""What a port's comments, docstrings and messages say of the axes of images: in Keras' order."""

from __future__ import annotations

import io
import re
import tokenize

SIZE = r"(?:ceil\([^()]*\)|[^,()]+)"
IMAGES = re.compile(rf"\((N|B|batch), ([^,()]+), ({SIZE}), ({SIZE})\)")
"""Four axes in brackets."""


def in_keras_order(text: str) -> str:
    """A source text in which all that is said of images has the channels last; its code stays.

    >>> print(in_keras_order("x = (N, C, H, W)  # (N, 8, H/2, W/2)"))
    x = (N, C, H, W)  # (N, H/2, W/2, 8)
    """
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
            lines[first - 1 : last] = [
                whole[:start] + IMAGES.sub(_turned, whole[start:stop]) + whole[stop:],
                *[""] * (last - first),
            ]
    return "".join(lines)


def _turned(found: re.Match[str]) -> str:
    batch, channels, height, width = found.groups()
    images = height.removeprefix("ceil(").startswith(("H", "h")) and width.removeprefix("ceil(").startswith(
        ("W", "w")
    )
    return f"({batch}, {height}, {width}, {channels})" if images else found[0]
