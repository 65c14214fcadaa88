"""Shows a docstring's block of shapes as it is written; Markdown would read its stars as emphasis."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension

BLOCK = re.compile(r"^Shapes?:[ \n](?P<text>.*?)(?=\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)


class Shapes(Extension):
    """Puts the block into a fence."""

    def on_instance(self, *, obj: Any, **named: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring is None or "Shape" not in obj.docstring.value:
            return
        obj.docstring.value = BLOCK.sub(_fenced, obj.docstring.value)


def _fenced(match: re.Match[str]) -> str:
    lines = [line.strip().replace("`", "") for line in match["text"].strip().splitlines()]
    return "\n".join(["**Shapes**", "", "``` { .text .wrap }", *lines, "```"])
