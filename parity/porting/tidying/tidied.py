"""All repairs of a port's text in their order."""

from __future__ import annotations

import ast
from collections.abc import Collection

from parity.porting.tidying.folding import folded
from parity.porting.tidying.unused import without_empty_calls, without_unused
from parity.porting.tidying.words import in_keras_words


def tidied(text: str, roots: Collection[str]) -> str:
    """The text of a Keras port without what it does not need.

    Args:
        text: of a whole file; where it is no Python, it stays as it is, and the proof says so.
        roots: the names that must stay, with all that they lead to.
    """
    try:
        ast.parse(text)
    except SyntaxError:
        return text
    return in_keras_words(without_unused(without_empty_calls(folded(text)), roots))
