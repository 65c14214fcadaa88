"""One function for all the layouts that it was called in, where its text is the same in all."""

from __future__ import annotations

import re
from collections.abc import Iterable

from parity.adapters.recording.records import UserFunction
from parity.porting.to_keras.bodies.body import WrittenBody
from parity.porting.to_keras.bodies.calls import FUNCTION

_TOKEN = re.compile(FUNCTION.format(r"(\d+)"))


def merged(all_written: Iterable[WrittenBody]) -> dict[WrittenBody, WrittenBody]:
    """For each function in each layout the one that stands for it.

    Two layouts fit where no node has two texts. Calls of functions are compared by what stands for these, so the
    innermost functions are merged first.
    """
    bodies = list(all_written)
    stands: dict[WrittenBody, WrittenBody] = {body: body for body in bodies}
    by_function: dict[UserFunction, list[WrittenBody]] = {}
    for body in bodies:
        by_function.setdefault(body.function, []).append(body)
    changed = True
    while changed:
        changed = False
        for same in by_function.values():
            for k, body in enumerate(same):
                if stands[body] is not body:
                    continue
                for earlier in same[:k]:
                    if stands[earlier] is earlier and _fits(earlier, body, bodies, stands):
                        _take(earlier, body, bodies, stands)
                        changed = True
                        break
    return stands


def settled(text: str, bodies: list[WrittenBody], stands: dict[WrittenBody, WrittenBody]) -> str:
    """A text in which each call of a function names the one that stands for it."""

    def name(found: re.Match[str]) -> str:
        return FUNCTION.format(bodies.index(stands[bodies[int(found[1])]]))

    return _TOKEN.sub(name, text)


def _fits(
    first: WrittenBody,
    second: WrittenBody,
    bodies: list[WrittenBody],
    stands: dict[WrittenBody, WrittenBody],
) -> bool:
    if set(first.stubs) != set(second.stubs) and (first.stubs or second.stubs):
        return False
    for node, operand in second.texts.items():
        known = first.texts.get(node)
        if known is None:
            continue
        if settled(known.text, bodies, stands) != settled(operand.text, bodies, stands):
            return False
        orders = [o.shape_of.order if o.shape_of is not None else None for o in (known, operand)]
        if orders[0] != orders[1]:
            return False
    return True


def _take(
    first: WrittenBody,
    second: WrittenBody,
    bodies: list[WrittenBody],
    stands: dict[WrittenBody, WrittenBody],
) -> None:
    for body, stand in stands.items():
        if stand is second:
            stands[body] = first
    for node, operand in second.texts.items():
        first.texts.setdefault(node, operand)
    for node, names in second.before.items():
        first.before.setdefault(node, names)
    first.helpers |= second.helpers
    first.calls.extend(second.calls)
    for node, clash in second.clashes.items():
        first.clashes.setdefault(node, clash)
