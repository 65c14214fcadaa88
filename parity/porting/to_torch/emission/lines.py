"""The lines of a forward: expressions inside one another, names for what is used twice, conditions for optional parts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from parity.porting.to_torch.emission.merge import MergedBody, Ref
from parity.porting.to_torch.naming import identifier
from parity.porting.to_torch.piece import HOLE, filled

MERGES = {"Add", "Multiply", "Concatenate", "Average", "Maximum", "Subtract", "Minimum"}
LONGEST = 62


@dataclass
class Lines:
    """The forward of one class.

    Attributes:
        merged: the class's pieces.
        hole: the text of an open place that is no input: a module, a number.
        flag: the text of the condition under which a piece runs; empty where it always does.
        target: the source's name for what a piece gives; None where the source has none.
        nested: whether the source has a piece inside the expression of another one; None where it does not say.
    """

    merged: MergedBody
    hole: Callable[[str, str, int], str]
    flag: Callable[[str], str]
    target: Callable[[str], str | list[str] | None]
    nested: Callable[[str, str], bool | None]
    lines: list[tuple[str, str]] = field(default_factory=list)  # (condition, statement)
    text: dict[Ref, str] = field(default_factory=dict)
    depth: dict[Ref, int] = field(default_factory=dict)
    atoms: dict[Ref, bool] = field(default_factory=dict)
    left: dict[Ref, list[str]] = field(default_factory=dict)
    short_cuts: set[str] = field(default_factory=set)
    pending: str = ""  # the expression that is about to be written

    def write(self) -> list[tuple[str, str]]:
        """Every statement with its condition, and the return."""
        self.merged.order, self.short_cuts = _short_cut_first(self.merged)
        for name in self.merged.order:
            for ref in self.merged.takes[name]:
                self.left.setdefault(ref, []).append(name)
        for ref in self.merged.returned:
            self.left.setdefault(ref, []).append("return")
        for optional, ref in self.merged.stand_in.items():
            if optional in self.merged.order:
                self.left.setdefault(ref, []).append(f"={optional}")
        for n, (name, _) in enumerate(self.merged.bodies[0].inputs):
            self.text["", n], self.depth["", n], self.atoms["", n] = name, 0, True
        for name in self.merged.order:
            self._piece(name)
        self._return()
        return self.lines

    def _fill(self, name: str) -> tuple[str, int]:
        piece, takes = self.merged.piece(name), self.merged.takes[name]

        def fill(kind: str, number: int) -> str:
            if kind not in "ia":
                return self.hole(name, kind, number)
            ref = takes[number]
            return f"({self.text[ref]})" if kind == "a" and not self.atoms[ref] else self.text[ref]

        depth = max((self.depth[ref] for ref in takes), default=0)
        return filled(piece.template, fill), depth + 1

    def _piece(self, name: str) -> None:
        piece, flag = self.merged.piece(name), self.flag(name)
        if not piece.stub:
            self._save(name, flag)
        text, depth = self._fill(name)
        self.pending = text
        for taken in self.merged.takes[name]:
            self.left[taken].remove(name)
        ref: Ref = (name, 0)
        if piece.stub:
            self.lines.append((flag, f"# {piece.stub}"))
            self.lines.append((flag, f'raise NotImplementedError("{name.split("#")[0]}")'))
        if piece.unpacked or len(piece.outputs) > 1:
            return self._unpack(name, text, flag)
        self.depth[ref], self.atoms[ref] = depth, piece.atom
        if not piece.stub and self._inlined(name, text, depth, flag):
            self.text[ref] = text
            return None
        target = self._variable(name)
        self.lines.append((flag, f"{target} = {text if not piece.stub else '...'}"))
        self.text[ref], self.depth[ref], self.atoms[ref] = target, 0, True
        return None

    def _unpack(self, name: str, text: str, flag: str) -> None:
        wanted = self.target(name)
        count = len(self.merged.piece(name).outputs)
        names = wanted if isinstance(wanted, list) and len(wanted) == count else None
        chosen: list[str] = []
        for n in range(count):
            ref = (name, n)
            if names is None and not self.left.get(ref):
                chosen.append("_")
            else:
                stem = names[n] if names else f"{identifier(name.split('#')[0].split('.')[-1])}{n + 1}"
                chosen.append(stem if names and self._free(stem) else self._unused(stem))
            self.text[ref], self.depth[ref], self.atoms[ref] = chosen[-1], 0, True
        self.lines.append((flag, f"{', '.join(chosen)}{',' if count == 1 else ''} = {text}"))

    def _save(self, name: str, flag: str) -> None:
        """Before x gets a new value: keep the old one under a name where only a merge behind needs it."""
        if flag or isinstance(self.target(name), str) or self.nested(name, "return") is not None:
            return  # the source keeps what it needs under names of its own
        takes = self.merged.takes[name]
        if not takes or self.merged.piece(name).kind in MERGES or not self.text[takes[0]].isidentifier():
            return
        ref = takes[0]
        rest = [user for user in self.left[ref] if user != name]
        kinds = {self.merged.piece(user.strip("=")).kind for user in rest if user != "return"}
        if not rest or "return" in rest or not kinds <= MERGES or self.left[ref].count(name) > 1:
            return
        if self.text[ref] != self.merged.bodies[0].inputs[0][0] and self.text[ref] not in ("x", "y"):
            return
        saved = self._unused("shortcut" if "Add" in kinds else "skip")
        text, depth = self._fill(name)
        self.lines.append((flag, f"{saved} = {self.text[ref]}"))
        del text, depth
        self._moved = (ref, self.text[ref], saved)
        old = self.text[ref]
        self.text[ref] = saved
        fresh: Ref = (f"<{saved}", 0)
        self.text[fresh], self.depth[fresh], self.atoms[fresh] = old, 0, True
        self.left[ref].remove(name)
        self.left[fresh] = [name]
        self.merged.takes[name] = [fresh if taken == ref else taken for taken in takes]

    def _inlined(self, name: str, text: str, depth: int, flag: str) -> bool:
        users = self.left.get((name, 0), [])
        if len(users) != 1 or users[0].startswith("=") or (name in self.merged.stand_in):
            return False
        user = users[0]
        if user == "return":
            nested = self.nested(name, "return")
            return (nested if nested is not None else True) and len(text) < LONGEST and not flag
        if self.flag(user) != flag or self.merged.piece(user).stub:
            return False
        places = [n for n, ref in enumerate(self.merged.takes[user]) if ref == (name, 0)]
        read = sum(
            int(number) in places
            for kind, number in HOLE.findall(self.merged.piece(user).template)
            if kind in "ia"
        )
        if read > 1:
            return False  # what is computed once is written once
        if name in self.short_cuts:
            return False
        said = self.nested(name, user)
        if said is not None:
            return said and text.count("\n") == 0
        busy = self.merged.piece(user).kind in MERGES
        count = self.merged.piece(user).template.count("\x01") // 2
        if count > 4 and len(text) > 24:
            return False
        return depth < (3 if not busy else 2) and len(text) < (LONGEST if not busy else 30)

    def _variable(self, name: str) -> str:
        wanted = self.target(name)
        stand_in = self.merged.stand_in.get(name)
        if stand_in is not None:
            return self._stand_in(name, stand_in, wanted if isinstance(wanted, str) else "shortcut")
        if isinstance(wanted, str):
            return self._kept(name, wanted)
        if name.split("#")[0] == "mask":
            return self._unused("mask")
        if name in self.short_cuts:
            return self._unused("shortcut")
        takes = self.merged.takes[name]
        for ref in sorted(takes, key=lambda ref: self.text[ref] != "x"):
            text = self.text[ref]
            if text.isidentifier() and self._free(text):
                return text
        for text in ("x", self.merged.bodies[0].inputs[0][0] if self.merged.bodies[0].inputs else "x"):
            if self._free(text):
                return text
        users = self.left.get((name, 0), [])
        users = [user.strip("=") for user in users if user.strip("=") in self.merged.order]
        kinds = {self.merged.piece(user).kind for user in users}
        if kinds and kinds <= {"Add"} and len(users) == 1:
            return self._unused("shortcut")
        if kinds == {"Multiply"} and len(users) == 1:
            return self._unused("scale")
        stem = identifier(name.split("#")[0].replace(".", "_"))
        return self._unused(stem if stem not in ("concatenate", "add") else "y")

    def _kept(self, name: str, wanted: str) -> str:
        """The source's name; a value that still has it in torch, and is needed, gets a name of its own first."""
        if self._free(wanted):
            return wanted
        holders = [ref for ref in self.text if self.text[ref] == wanted and self._alive(ref)]
        if self.flag(name) or self._read(wanted) or not holders:
            return self._unused(wanted)
        users = {user.strip("=") for ref in holders for user in self.left[ref]}
        kinds = {self.merged.piece(user).kind for user in users if user in self.merged.order}
        saved = self._unused("shortcut" if kinds == {"Add"} else "skip")
        while re.search(rf"\b{saved}\b", self.pending):  # what is about to be written reads that name
            saved = self._unused(f"{saved}_")
        self.lines.append(("", f"{saved} = {wanted}"))
        for ref in holders:
            self.text[ref] = saved
        return wanted

    def _stand_in(self, name: str, ref: Ref, wanted: str) -> str:
        """The name of what an optional part gives: that of what stands in for it, under a new name where it lives on."""
        text = self.text[ref]
        behind = [user for user in self.left[ref] if not user.startswith("=")]
        if (
            text.isidentifier()
            and not behind
            and len({r for r in self.text if self.text[r] == text and self._alive(r)} - {ref}) == 0
        ):
            self._done(name, ref)
            return text
        new = self._unused(wanted)
        flag = self.flag(name)
        at = len(self.lines)
        while at and self.lines[at - 1][0] == flag:
            at -= 1
        self.lines.insert(at, ("", f"{new} = {text}"))
        self._done(name, ref)
        return new

    def _done(self, name: str, ref: Ref) -> None:
        if f"={name}" in self.left[ref]:
            self.left[ref].remove(f"={name}")

    def _alive(self, ref: Ref) -> bool:
        return bool(self.left.get(ref))

    def _free(self, text: str) -> bool:
        return not any(self.text[ref] == text and self._alive(ref) for ref in self.text) and not self._read(
            text
        )

    def _read(self, text: str) -> bool:
        """Whether an expression that is not written down yet reads the name."""
        return any(
            self._alive(ref) and not found.isidentifier() and re.search(rf"\b{re.escape(text)}\b", found)
            for ref, found in self.text.items()
        )

    def _unused(self, stem: str) -> str:
        taken = {self.text[ref] for ref in self.text if self._alive(ref)}
        taken |= {
            name for name, _ in self.merged.bodies[0].inputs if any(self._alive(("", n)) for n in range(9))
        }
        name, number = stem, 2
        while name in taken or not self._free(name):
            name, number = f"{stem}{number}", number + 1
        return name

    def _return(self) -> None:
        def fill(kind: str, number: int) -> str:
            if kind not in "ia":
                return self.hole("return", kind, number)
            ref = self.merged.returned[number]
            return f"({self.text[ref]})" if kind == "a" and not self.atoms[ref] else self.text[ref]

        text = filled(self.merged.bodies[0].result, fill)
        if text.startswith("(") and text.endswith(")") and text.count("(") == 1:
            text = text[1:-1]
        last = self.lines[-1] if self.lines else ("", "")
        if last == ("", f"{text} = {last[1].partition(' = ')[2]}") and text.isidentifier():
            self.lines[-1] = ("", f"return {last[1].partition(' = ')[2]}")
        else:
            self.lines.append(("", f"return {text}"))


def _short_cut_first(merged: MergedBody) -> tuple[list[str], set[str]]:
    """The order with a short cut in front of the path that it leads around; and the short cuts' last pieces."""
    ends: set[str] = set()
    users: dict[Ref, list[str]] = {}
    for name in merged.order:
        for ref in merged.takes[name]:
            users.setdefault(ref, []).append(name)
    order = list(merged.order)
    for name in merged.order:
        if merged.piece(name).kind != "Add" or len(merged.takes[name]) != 2:
            continue
        paths = []
        for ref in merged.takes[name]:
            path: list[str] = []
            while ref[0] and len(users[ref]) == 1 and len(merged.takes[ref[0]]) == 1:
                path.append(ref[0])
                ref = merged.takes[ref[0]][0]
            paths.append((path, ref))
        (one, from_one), (two, from_two) = paths
        if not one or not two or from_one != from_two:
            continue
        short = (
            min(one, two, key=len)
            if len(one) != len(two)
            else (one if order.index(one[-1]) < order.index(two[-1]) else two)
        )
        main = two if short is one else one
        moved = [step for step in order if step in short]
        order = [step for step in order if step not in short]
        at = order.index(min(main, key=order.index))
        order[at:at] = moved
        ends.add(short[0])
    return order, ends
