"""The file of a port: its docstring, imports, the helpers that it carries with it, its classes, and build()."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import parity.adapters
from parity.porting.tidying.names import global_names
from parity.porting.to_torch.emission.classes import TorchClass
from parity.porting.to_torch.emission.merge import made_of
from parity.porting.to_torch.use import literal

HEADING = "# What torch has no layer for, or computes otherwise."
NETWORK = "# The network."
HELPERS = Path(parity.adapters.__file__).parent / "torch" / "helpers"


def carried(classes: list[TorchClass], title: str) -> tuple[str, tuple[str, ...]]:
    """(the text of the file, the names of the helpers in it)."""
    root = classes[-1]
    names = {name for written in classes for name in written.helpers} - {written.name for written in classes}
    named = _helpers(names)
    helpers = [line for text in named.values() for line in ("", "", text)]
    made = made_of(root.bodies[0])
    given = ", ".join(f"{key}={literal(value)}" for key, value in made.arguments.items())
    body = [line for written in classes for line in ["", "", *written.lines]]
    build = [
        "",
        "",
        "def build():",
        f'    """{title} with fresh weights."""',
        f"    return {root.name}({given})",
    ]
    if helpers:
        helpers = ["", "", HEADING, *helpers, "", "", NETWORK]
    text = "\n".join([*helpers, *body, *build])
    head = [f'"""{title}, ported from Keras."""', ""]
    plain = [
        line
        for line, name in (
            ("import math", r"\bmath\."),
            ("from collections.abc import Callable", r"\bCallable\b"),
            ("from typing import Any", r"\bAny\b"),
        )
        if re.search(name, text)
    ]
    if plain:
        head += [*plain, ""]
    head.append("import torch" if re.search(r"\btorch\.", text) else "")
    used = [
        line
        for line, name in (
            ("import torch.nn.functional as F", r"\bF\."),
            ("from torch import Tensor, nn", r"\bTensor\b"),
            ("from torch import nn", r""),
            (
                "from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence",
                r"\bpack_padded_sequence\b",
            ),
        )
        if re.search(name, text)
    ]
    used += ["import torch_impl.layers"] if "torch_impl.layers." in text else []
    if "from torch import Tensor, nn" in used:
        used.remove("from torch import nn")
    head = [line for line in head if line or head.index(line) == 1] + used
    return "\n".join(head) + "\n" + text.replace("\n\n\n\n", "\n\n\n") + "\n", tuple(named)


def _helpers(names: set[str]) -> dict[str, str]:
    """The source of the helpers by name, each behind those that it needs."""
    homes: dict[str, tuple[ast.stmt, str]] = {}
    for path in sorted(HELPERS.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                homes[node.name] = (node, ast.get_source_segment(text, node) or "")
    found: dict[str, str] = {}
    done: set[str] = set()

    def visit(name: str) -> None:
        if name in done or name not in homes:
            return
        done.add(name)
        node, text = homes[name]
        free = global_names(text)
        for used in ast.walk(node):
            if isinstance(used, ast.Name) and used.id in free - {name}:
                visit(used.id)
        found[name] = text

    for name in sorted(names):
        visit(name)
    return found
