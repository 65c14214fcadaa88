"""All functions and methods of a port as text, with what they need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from parity.adapters.recording.records import UserFunction
from parity.porting.to_keras.bodies.body import WrittenBody
from parity.porting.to_keras.bodies.calls import FUNCTION
from parity.porting.to_keras.bodies.merging import merged, settled
from parity.porting.to_keras.bodies.reading import Bodies
from parity.porting.to_keras.bodies.statements import Statements
from parity.porting.to_keras.bodies.tidy import (
    free_names,
    passes_mode_on,
    reads_mode,
    with_mode,
    without_unread,
)
from parity.porting.to_keras.layout.axes import HeldOrder
from parity.porting.to_keras.names import method
from parity.porting.written import Unwritten

_TOKEN = re.compile(FUNCTION.format(r"(\d+)"))
Owner = tuple[str, str]


@dataclass
class BodyTexts:
    """What the passes become.

    functions: by name, callees before callers.
    methods: by (module, class) of the source, each class' methods by name.
    needed: global names in the texts, with what they are in the source.
    """

    functions: dict[str, str] = field(default_factory=dict)
    methods: dict[Owner, dict[str, str]] = field(default_factory=dict)
    needed: dict[str, Any] = field(default_factory=dict)
    helpers: set[str] = field(default_factory=set)
    unwritten: list[Unwritten] = field(default_factory=list)
    inputs: list[HeldOrder] = field(default_factory=list)  # the order of axes of each input


def texts_of(bodies: Bodies) -> BodyTexts:
    """Write all functions that ran in the passes."""
    found = BodyTexts(inputs=[layout.order for layout in bodies.inputs])
    everything = list(bodies.written.values())
    stands = merged(everything)
    kept = [body for body in everything if stands[body] is body]
    names = _names(kept)
    written: dict[WrittenBody, str] = {}
    for body in kept:
        statements = Statements(body, bodies.ways)
        text = settled(statements.text(names[body]), everything, stands)
        text = _TOKEN.sub(lambda token: names[everything[int(token[1])]], text)
        written[body] = without_unread(text)
        found.helpers |= body.helpers
        found.unwritten.extend(_problems(body, statements, everything, stands))
    _methods(found, written, names, _called(bodies, stands))
    for body in kept:
        if not _is_method(body):
            found.functions[names[body]] = written[body]
        found.unwritten.extend(
            Unwritten(f"torch.nn.{kind}", path, "", 0, why)
            for kind, path, why in bodies.problems
            if body is kept[0]
        )
        for name in free_names(written[body]):
            variables = body.function.function.__globals__
            if name in variables:
                found.needed[name] = variables[name]
    return found


def _is_method(body: WrittenBody) -> bool:
    return body.function.owner is not None and any(call.module is not None for call in body.calls)


def _names(kept: list[WrittenBody]) -> dict[WrittenBody, str]:
    """A name for each function, its own where no two have the same."""
    names: dict[WrittenBody, str] = {}
    taken: dict[tuple[Any, str], int] = {}
    for body in kept:
        function = body.function
        scope = (function.module, function.owner) if _is_method(body) else None
        name = method(function.name) if _is_method(body) else function.name.strip("<>")
        taken[scope, name] = taken.get((scope, name), 0) + 1
        names[body] = name if taken[scope, name] == 1 else f"{name}_{taken[scope, name]}"
    return names


def _called(bodies: Bodies, stands: Mapping[WrittenBody, WrittenBody]) -> dict[WrittenBody, set[WrittenBody]]:
    """The methods that each function calls of its own object."""
    found: dict[WrittenBody, set[WrittenBody]] = {}
    for call, body in bodies.of_call.items():
        if call.caller in bodies.of_call and call.caller.module is call.module:
            found.setdefault(stands[bodies.of_call[call.caller]], set()).add(stands[body])
    return found


def _methods(
    found: BodyTexts,
    written: dict[WrittenBody, str],
    names: Mapping[WrittenBody, str],
    called: Mapping[WrittenBody, set[WrittenBody]],
) -> None:
    methods = [body for body in written if _is_method(body)]
    reading: set[WrittenBody] = set()
    while True:
        for body in methods:
            own = {names[inner] for inner in called.get(body, set()) if inner in reading}
            written[body] = passes_mode_on(written[body], own)
        new = {body for body in methods if reads_mode(written[body]) and names[body] != "call"} - reading
        if not new:
            break
        reading |= new
    for body in methods:
        if reads_mode(written[body]):
            written[body] = with_mode(written[body])
        owner = (body.function.module, body.function.owner.name if body.function.owner is not None else "")
        found.methods.setdefault(owner, {})[names[body]] = written[body]


def _problems(
    body: WrittenBody,
    statements: Statements,
    everything: list[WrittenBody],
    stands: Mapping[WrittenBody, WrittenBody],
) -> list[Unwritten]:
    function: UserFunction = body.function
    path = next((call.path for call in body.calls if call.path), "") or ""
    found = [
        Unwritten(source, path, function.source.file, line, why) for source, why, line in statements.stubs
    ]
    for node, (first, second) in body.clashes.items():
        texts = [settled(text, everything, dict(stands)) for text in (first, second)]
        if texts[0] != texts[1]:
            line = getattr(node, "lineno", 0)
            reason = f"one line would have to be written in two ways: {texts[0]!r} and {texts[1]!r}"
            found.append(Unwritten(function.qualname, path, function.source.file, line, reason))
    return found
