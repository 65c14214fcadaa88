"""What was proved of a port, in the docstring of its file."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping, Sequence

from parity.core.verdict import Verdict
from parity.porting.proof import PortCheck

WIDTH = 110
VERSIONS = (("keras", "Keras"), ("tensorflow", "TensorFlow"), ("jax", "JAX"), ("torch", "PyTorch"))


def with_proofs(text: str, source: str, proofs: Sequence[PortCheck], environment: Mapping[str, str]) -> str:
    """The text of a port, with the proofs as the last paragraph of its docstring.

    Args:
        text: begins with a docstring.
        source: what was ported.
        proofs: none leaves the text as it is.
        environment: versions by package.
    """
    if not proofs:
        return text
    paragraph = "\n".join(_paragraph(source, proofs, environment))
    try:
        tree = ast.parse(text)
    except SyntaxError:  # it has no docstring then
        return "".join(f"# {line}\n" for line in paragraph.splitlines()) + text
    first, own = tree.body[0], ast.get_docstring(tree, clean=False) or ""
    lines = text.splitlines(keepends=True)
    rest = "".join(lines[first.end_lineno :])
    said = f"{own.rstrip()}\n\n{paragraph}\n".replace("\\", "\\\\").replace(
        '"""', "'''"
    )  # names may hold either
    return f'"""{said}"""\n{rest}'


def _paragraph(source: str, proofs: Sequence[PortCheck], environment: Mapping[str, str]) -> list[str]:
    versions = ", ".join(f"{name} {environment[key]}" for key, name in VERSIONS if key in environment)
    parity = f"parity {environment.get('segparity', '')}".strip()
    equal = all(proof.verdict is Verdict.EQUAL for proof in proofs)
    head = f"{'Proved equal' if equal else 'NOT proved equal'} to {source} by {parity} ({versions}):"
    lines = textwrap.wrap(head, WIDTH)
    for proof in proofs:
        text = proof.text if proof.verdict is Verdict.EQUAL else f"{proof.verdict}: {proof.text}"
        lines += textwrap.wrap(f"- {proof.name}: {text}", WIDTH, subsequent_indent="  ", max_lines=4)
    return lines
