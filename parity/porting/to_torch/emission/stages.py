"""Bodies made simpler: blocks behind one another become a row, and padding goes into the convolution behind it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from parity.porting.to_torch.emission.source import ClassSource
from parity.porting.to_torch.naming import identifier
from parity.porting.to_torch.piece import ClassBody, Member, ModuleText, Piece

CALL = "\x01m0\x01(\x01i0\x01)"


def inner_bodies(body: ClassBody) -> list[ClassBody]:
    """The bodies of the members, those in rows too."""
    found: list[ClassBody] = []
    for piece in body.pieces:
        for member in piece.members:
            parts = member.made.inside.values() if isinstance(member.made, ModuleText) else [member.made]
            found += [part for part in parts if isinstance(part, ClassBody)]
    return found


def in_stages(body: ClassBody) -> None:
    """Put blocks that run behind one another into rows: conv2_block1 to conv2_block3 are the row conv2."""
    if ClassSource(body.owner).is_row():
        return  # a row itself
    used = Counter(key for piece in body.pieces for key in piece.inputs) + Counter(body.returned)
    calls = Counter(
        id(member.owner) for piece in body.pieces for member in piece.members if member.owner is not None
    )
    runs: list[list[Piece]] = []
    for piece in body.pieces:
        last = runs[-1] if runs else []
        fits = _is_call(piece) and all(calls[id(member.owner)] < 2 for member in piece.members)
        behind = bool(last) and piece.inputs == last[-1].outputs and used[last[-1].outputs[0]] == 1
        if fits and behind and _is_call(last[-1]) and stage(piece) == stage(last[-1]):
            last.append(piece)
        else:
            runs.append([piece])
    names = Counter(stage(run[0]) for run in runs)
    taken = {piece.name for piece in body.pieces}
    body.pieces = [
        _row(run) if len(run) > 1 and names[stage(run[0])] == 1 and stage(run[0]) not in taken else piece
        for run in runs
        for piece in (
            run[:1] if len(run) > 1 and names[stage(run[0])] == 1 and stage(run[0]) not in taken else run
        )
    ]


def _is_call(piece: Piece) -> bool:
    return (
        piece.template == CALL
        and len(piece.outputs) == len(piece.inputs) == len(piece.members) == 1
        and not piece.unpacked
        and isinstance(piece.members[0].made, ClassBody)
    )


def stage(piece: Piece) -> str:
    """The name of the row that a block belongs to."""
    if "." in piece.name:
        return piece.name.rsplit(".", 1)[0]
    stem = re.sub(r"_?(block|layer|unit|cell)?_?\d*[a-z]?$", "", piece.name)
    if re.search(r"\d", stem):
        return stem
    return (
        re.sub(r"_?\d+[a-z]?$", "", piece.name).strip("_") + "s"
        if re.search(r"\d", piece.name)
        else piece.name
    )


def _row(run: list[Piece]) -> Piece:
    name = stage(run[0])
    inside: dict[str, Any] = {str(n): piece.members[0].made for n, piece in enumerate(run)}
    made = ModuleText("nn.Sequential", {}, inside=inside)
    first, last = run[0], run[-1]
    member = Member(name if "." in first.name else identifier(name), made)
    return Piece(member.attribute, "Row", CALL, first.inputs, last.outputs, [member], step=first.step)


def padded_convolutions(body: ClassBody) -> None:
    """Let a convolution pad by itself where zeros stand around its input on both sides alike."""
    used = Counter(key for piece in body.pieces for key in piece.inputs) + Counter(body.returned)
    home = {piece.outputs[0]: piece for piece in body.pieces if len(piece.outputs) == 1}
    gone: set[int] = set()
    for piece in body.pieces:
        made = piece.members[0].made if len(piece.members) == 1 else None
        pad = home.get(piece.inputs[0]) if len(piece.inputs) == 1 else None
        if not isinstance(made, ModuleText) or pad is None or not pad.kind.startswith("ZeroPadding"):
            continue
        amount = _alike(pad.constants[0].value) if pad.constants else None
        convolution = re.fullmatch(r"nn\.Conv\dd", made.kind) is not None
        if (
            amount is None
            or used[pad.outputs[0]] != 1
            or not convolution
            or made.arguments.get("padding") != 0
        ):
            continue
        made.arguments["padding"] = amount
        piece.inputs = list(pad.inputs)
        gone.add(id(pad))
    body.pieces = [piece for piece in body.pieces if id(piece) not in gone]


def _alike(pads: Any) -> int | tuple[int, ...] | None:
    """The padding of each axis, where both of its sides have the same and none is cut."""
    pairs = [pads[n : n + 2] for n in range(0, len(pads), 2)][::-1]
    if any(one != two or one < 0 for one, two in pairs):
        return None
    amounts = tuple(one for one, _ in pairs)
    return amounts[0] if len(set(amounts)) == 1 else amounts
