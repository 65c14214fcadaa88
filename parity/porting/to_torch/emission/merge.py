"""Bodies of one kind as one: the same pieces in one order, those that some lack, and what each one takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from parity.porting.to_torch.piece import ClassBody, ModuleText, Piece

Ref = tuple[str, int]
"""What gives a tensor: a piece's name, or "" for an input of the body; and which of its outputs."""


@dataclass(eq=False)
class MergedBody:
    """Several bodies as one.

    Attributes:
        order: the names of all pieces.
        present: for each body, its pieces by name.
        takes: for each piece, what gives its inputs.
        stand_in: for a piece that some bodies lack, what they take instead of it.
        returned: what gives the results.
    """

    bodies: list[ClassBody]
    order: list[str]
    present: list[dict[str, Piece]]
    takes: dict[str, list[Ref]] = field(default_factory=dict)
    stand_in: dict[str, Ref] = field(default_factory=dict)
    returned: list[Ref] = field(default_factory=list)

    def piece(self, name: str) -> Piece:
        """The piece of the first body that has it."""
        return next(pieces[name] for pieces in self.present if name in pieces)

    def having(self, name: str) -> tuple[bool, ...]:
        """Which bodies have a piece."""
        return tuple(name in pieces for pieces in self.present)


def without_aliases(body: ClassBody) -> None:
    """Let what takes a piece that changes nothing take the piece's own input."""
    same: dict[int, int] = {}
    kept = []
    for piece in body.pieces:
        piece.inputs = [same.get(key, key) for key in piece.inputs]
        if piece.alias and piece.inputs:
            for key in piece.outputs:
                same[key] = piece.inputs[0]
        else:
            kept.append(piece)
    body.pieces = kept
    body.returned = [same.get(key, key) for key in body.returned]


def without_unused(body: ClassBody) -> None:
    """Leave out what nothing takes, but for steps with weights or stubs."""
    while True:
        wanted = {key for piece in body.pieces for key in piece.inputs} | set(body.returned)
        kept = [
            piece
            for piece in body.pieces
            if piece.stub or piece.members or any(key in wanted for key in piece.outputs)
        ]
        if len(kept) == len(body.pieces):
            return
        body.pieces = kept


def merged(bodies: list[ClassBody]) -> MergedBody | None:
    """Bodies as one, or None where they do not fit together."""
    first = bodies[0]
    if any(len(body.inputs) != len(first.inputs) or body.layouts != first.layouts for body in bodies):
        return None
    if any(body.result != first.result or len(body.returned) != len(first.returned) for body in bodies):
        return None
    present = [{piece.name: piece for piece in body.pieces} for body in bodies]
    order = _order([list(pieces) for pieces in present])
    if order is None:
        return None
    found = MergedBody(bodies, order, present)
    shared = sum(all(name in pieces for pieces in present) for name in order)
    least = 2 if first.owner is None or type(first.owner).__module__.startswith("keras.") else 4
    if shared * least < len(order) or not all(_fit(found, name) for name in order):
        return None
    return found if _wired(found) else None


def _order(orders: list[list[str]]) -> list[str] | None:
    """One order that keeps all of these; None where they contradict one another."""
    behind: dict[str, set[str]] = {}
    for order in orders:
        for n, name in enumerate(order):
            behind.setdefault(name, set())
            if n:
                behind[name].add(order[n - 1])
    longest = max(orders, key=len)
    rank = {name: n for n, name in enumerate(longest)}
    result: list[str] = []
    names = list(behind)
    while names:
        ready = [name for name in names if behind[name] <= set(result)]
        if not ready:
            return None
        chosen = min(ready, key=lambda name: (name in rank, rank.get(name, 0)))
        result.append(chosen)
        names.remove(chosen)
    return result


def _fit(found: MergedBody, name: str) -> bool:
    """Whether the pieces of one name are the same but for their numbers."""
    pieces = [present[name] for present in found.present if name in present]
    first = pieces[0]
    return all(
        piece.template == first.template
        and len(piece.inputs) == len(first.inputs)
        and len(piece.outputs) == len(first.outputs)
        and [constant.role for constant in piece.constants] == [constant.role for constant in first.constants]
        and piece.stub == first.stub
        and all(_alike(a.made, b.made) for a, b in zip(piece.members, first.members, strict=True))
        for piece in pieces
    )


def _alike(one: Any, two: Any) -> bool:
    """Whether two things that are made are of one class, or one that the two share."""
    if isinstance(one, ClassBody) or isinstance(two, ClassBody):
        if not isinstance(one, ClassBody) or not isinstance(two, ClassBody) or one.title != two.title:
            return False
        kinds = {getattr(made, "kind", "") for made in map(_written, (one, two))} - {""}
        return len(kinds) < 2  # bodies of one title may have become two classes
    if list(one.inside) != list(two.inside):
        return False
    inner = zip(one.inside.values(), two.inside.values(), strict=True)
    return general(one.kind, two.kind) is not None and all(_alike(a, b) for a, b in inner)


def _written(body: ClassBody) -> Any:
    """What makes a body, where its class is written already."""
    return getattr(getattr(body, "twin", body), "made", None)


def general(one: str, two: str) -> str | None:
    """The class that stands for both: Conv2dSame computes what Conv2d does where it has no padding to choose."""
    if one == two:
        return one
    for plain, same in ((one, two), (two, one)):
        if plain.startswith("nn.Conv") and same == f"{plain[3:]}Same":
            return same
    return None


def _wired(found: MergedBody) -> bool:
    """Find what gives each input; whether the bodies agree."""
    homes = []
    for body, present in zip(found.bodies, found.present, strict=True):
        home: dict[int, Ref] = {key: ("", n) for n, (_, key) in enumerate(body.inputs)}
        for name, piece in present.items():
            home.update({key: (name, n) for n, key in enumerate(piece.outputs)})
        homes.append(home)
    place = {"": -1, **{name: n for n, name in enumerate(found.order)}}

    def agreed(actual: list[Ref | None]) -> Ref | None:
        """The last of what the bodies take, where that of the others stands in for it."""
        known = [ref for ref in actual if ref is not None]
        last = max(known, key=lambda ref: place[ref[0]])
        for n, ref in enumerate(actual):
            if ref is not None and not _leads(found, last, ref, n):
                return None
        return last

    for name in found.order:
        count = len(found.piece(name).inputs)
        found.takes[name] = []
        for j in range(count):
            actual = [
                home.get(p[name].inputs[j]) if name in p else None
                for home, p in zip(homes, found.present, strict=True)
            ]
            if any(ref is None and name in p for ref, p in zip(actual, found.present, strict=True)):
                return False
            ref = agreed(actual)
            if ref is None:
                return False
            found.takes[name].append(ref)
    for j in range(len(found.bodies[0].returned)):
        ref = agreed([home.get(body.returned[j]) for home, body in zip(homes, found.bodies, strict=True)])
        if ref is None:
            return False
        found.returned.append(ref)
    _settle(found)
    return True


def _settle(found: MergedBody) -> None:
    """Keep what stands in for the ends of optional parts alone, and that it lies outside the part."""
    users: dict[str, set[str]] = {}
    for name in found.order:
        for ref in found.takes[name]:
            users.setdefault(ref[0], set()).add(name)
    returned = {ref[0] for ref in found.returned}
    for name in list(found.stand_in):
        ref = found.stand_in[name]
        while ref[0] in found.stand_in and found.having(ref[0]) == found.having(name):
            ref = found.stand_in[ref[0]]
        found.stand_in[name] = ref
    for name in list(found.stand_in):
        inner = all(found.having(user) == found.having(name) for user in users.get(name, ()))
        if inner and name not in returned:
            del found.stand_in[name]


def _leads(found: MergedBody, ref: Ref, actual: Ref, body: int) -> bool:
    """Whether a body takes `actual` where the others take `ref`: what lies between is what it lacks."""
    name = ref[0]
    if not name or name in found.present[body]:
        return ref == actual
    known = found.stand_in.get(name)
    for candidate in [known] if known is not None else found.takes.get(name, []):
        if _leads(found, candidate, actual, body):
            found.stand_in[name] = candidate
            return True
    return False


def unified(mades: list[ModuleText]) -> str:
    """The class of what several instances make."""
    kind = mades[0].kind
    for made in mades[1:]:
        kind = general(kind, made.kind) or kind
    return kind


def made_of(thing: Any) -> ModuleText:
    """What makes a member: itself, or the class that its body has become."""
    if isinstance(thing, ClassBody):
        thing = getattr(thing, "twin", thing)
        return thing.made  # type: ignore[attr-defined,no-any-return]
    return thing  # type: ignore[no-any-return]
