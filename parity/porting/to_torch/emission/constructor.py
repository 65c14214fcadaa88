"""The constructor of a class: its members in order, the conditions of optional ones, and the numbers that differ."""

from __future__ import annotations

import re
from typing import Any

from parity.porting.to_torch.emission.arguments import ABSENT, GIVEN, WIDE, ClassArgument, ClassArguments
from parity.porting.to_torch.emission.expressions import value_of
from parity.porting.to_torch.emission.made_calls import made_count
from parity.porting.to_torch.emission.merge import made_of, merged
from parity.porting.to_torch.emission.modules import default, making
from parity.porting.to_torch.emission.source import ClassSource
from parity.porting.to_torch.naming import identifier
from parity.porting.to_torch.piece import ClassBody
from parity.porting.to_torch.use import literal


class Constructor:
    """One class on its way to text."""

    def __init__(self, name: str, cluster: list[ClassBody]) -> None:
        found = merged(cluster)
        assert found is not None
        self.name, self.bodies, self.merged = name, cluster, found
        self.source = ClassSource(cluster[0].owner)
        self.arguments = ClassArguments(len(cluster), self._from_source())
        self.arguments.reserved = {"self"} | {
            member.attribute.split("#")[0].split(".")[0]
            for body in cluster for piece in body.pieces for member in piece.members
        }  # fmt: skip
        self.flags: dict[str, str] = {}
        self.numbers: dict[tuple[str, int], str] = {}
        self.kept: dict[str, str] = {}  # attributes that forward reads: name -> text
        self.helpers: set[str] = set()
        self.frozen = False  # whether a number of channels stands as it is, though the source may compute it

    def _from_source(self) -> list[ClassArgument]:
        values = [ClassSource(body.owner).values() for body in self.bodies]
        return [
            ClassArgument(name, [own.get(name) for own in values], default)
            for name, default in self.source.arguments()
            if all(name in own for own in values)
        ]

    # conditions
    def set_flags(self) -> None:
        """Name the optional parts: one name for the pieces that the same instances have."""
        runs: list[list[str]] = []
        for name in self.merged.order:
            having = self.merged.having(name)
            if all(having):
                self.flags[name] = ""
            elif runs and self.merged.having(runs[-1][-1]) == having:
                runs[-1].append(name)
            else:
                runs.append([name])
        for run in runs:
            flag = self.arguments.flag(self.merged.having(run[0]), self._part(run))
            for name in run:
                self.flags[name] = flag

    def _part(self, run: list[str]) -> str:
        if self.merged.piece(run[0]).kind == "Add":
            return "residual"
        inside = set(run)
        entry = self.merged.takes[run[0]]
        behind = {name for name in self.merged.order for ref in self.merged.takes[name] if ref[0] in inside}
        merges = [name for name in behind - inside if self.merged.piece(name).kind == "Add"]
        if merges and entry and not entry[0][0]:
            return "shortcut"
        words = [re.split(r"[_#.]", name) for name in run]
        common = 1
        while all(len(word) > common and word[:common] == words[0][:common] for word in words):
            common += 1
        common -= not all(word[:common] == words[0][:common] for word in words)
        return identifier("_".join(words[0][:common]) or run[0].split("#")[0])

    # the constructor
    def constructor(self) -> list[tuple[str, str]]:
        """The statements that make the members, with their conditions."""
        lines: list[tuple[str, str]] = []
        made: set[str] = set()
        lists: dict[str, list[tuple[str, str]]] = {}
        for name in self.merged.order:
            piece = self.merged.piece(name)
            for n, member in enumerate(piece.members):
                attribute = member.attribute.split("#")[0]
                if attribute in made:
                    continue
                made.add(attribute)
                mades = [made_of(p[name].members[n].made) if name in p else None for p in self.merged.present]
                text, behind = self._making(mades, attribute)
                stem, _, rest = attribute.partition(".")
                if rest:
                    if stem not in lists:
                        lists[stem] = []
                        lines.append(("", f"\x00{stem}"))
                    lists[stem].append((rest, text))
                elif text.startswith("torch.tensor("):
                    lines.append(
                        (self.flags[name], f'self.register_buffer("{attribute}", {text}, persistent=False)')
                    )
                else:
                    lines.append((self.flags[name], f"self.{attribute} = {text}"))
                lines += [(self.flags[name], line) for line in behind]
        return [(flag, _listed(text, lists)) for flag, text in lines]

    def fixed(self) -> list[tuple[str, str]]:
        """The check that arguments of the source have the values of the port, where nothing here depends on them."""
        idle = [
            a for a in self.arguments.source
            if (not a.kept or (self.frozen and WIDE.search(a.name) and type(a.values[0]) is int))
            and all(v == a.values[0] for v in a.values)
        ]  # fmt: skip
        if not idle:
            return []
        names, values = [a.name for a in idle], [a.values[0] for a in idle]
        said = " and ".join(f"{name}={literal(value)}" for name, value in zip(names, values, strict=True))
        left = f"({', '.join(names)})" if len(idle) > 1 else names[0]
        right = literal(tuple(values)) if len(idle) > 1 else literal(values[0])
        message = f"this port has {said} alone"
        test = f"{left} != {right}"
        if len(idle) == 1 and values[0] is None:
            test = f"{left} is not None"
        elif len(idle) == 1 and isinstance(values[0], bool):
            test = f"not {left}" if values[0] else left
        return [("", f"if {test}:"), ("", f"\traise ValueError({literal(message)})")]

    def _making(self, mades: list[Any], attribute: str) -> tuple[str, list[str]]:
        known = next(made for made in mades if made is not None)
        if known.inside:
            inner = []
            for key in known.inside:
                parts = [made_of(made.inside[key]) if made is not None else None for made in mades]
                inner.append(self._making(parts, f"{attribute}.{key}")[0])
            inner = self._counted(attribute, inner) + [f"{key}={literal(value)}" for key, value in known.arguments.items()
                                       if default(known.kind, key) != value]  # fmt: skip
            return f"{known.kind}({', '.join(inner)})", []
        self._note([made for made in mades if made is not None])

        order = [name for name, _ in ClassSource(known.owner).arguments()]

        def expression(name: str, values: list[Any]) -> str | None:
            keras = known.sources.get(name) or (name if name in order else None)
            argument = self.source.expression(attribute, keras, order) if keras else None
            if argument is not None and self._means(argument, values):
                return argument
            constant = argument is not None and re.fullmatch(r"[\d.]+", argument) is not None
            self.frozen = self.frozen or (name in GIVEN and not constant)
            return None

        return making(mades, attribute, self.arguments, expression)

    def _counted(self, attribute: str, items: list[str]) -> list[str]:
        """Equal items as one line, as many as an argument of the source says, or as there are."""
        count = made_count(self.source.tree, attribute) if len(set(items)) == 1 and len(items) > 1 else None
        if count is None or value_of(count, {a.name: a.values[0] for a in self.arguments.source}) != len(
            items
        ):
            return repeated(items)
        for argument in self.arguments.source:
            argument.kept = argument.kept or re.search(rf"\b{argument.name}\b", count) is not None
        return [f"*({items[0]} for _ in range({count}))"]

    def _note(self, mades: Any) -> None:
        self.helpers |= {made.kind for made in mades if "." not in made.kind}

    def _means(self, text: str, values: list[Any]) -> bool:
        """Whether the source's text has these values, with the arguments of each instance."""
        for n, value in enumerate(values):
            if value is ABSENT:
                continue
            names = {argument.name: argument.values[n] for argument in self.arguments.source}
            if value_of(text, names) != value:
                return False
        return True

    # forward
    def hole(self, name: str, kind: str, number: int) -> str:
        """The text of a module or a number in forward."""
        piece = self.merged.piece(name)
        if kind == "m":
            attribute = piece.members[number].attribute.split("#")[0]
            return "self." + re.sub(r"\.(\d+)", r"[\1]", attribute).replace("].", "].")
        if (name, number) not in self.numbers:
            constant = piece.constants[number]
            values = [p[name].constants[number].value if name in p else ABSENT for p in self.merged.present]
            text = self.arguments.text(values, constant.role, f"{name}")
            if re.fullmatch(r"[a-z_]\w*", text) and text not in ("None", "True", "False"):
                self.kept[text] = text
                text = f"self.{text}"
            elif re.fullmatch(r"\d+ \* \w+", text):
                word = text.split()[-1]
                self.kept[word] = word
                text = text.replace(word, f"self.{word}")
            self.numbers[name, number] = text
        return self.numbers[name, number]


def repeated(items: list[str]) -> list[str]:
    """Three equal items or more behind one another, as one line."""
    found: list[str] = []
    start = 0
    while start < len(items):
        end = start
        while end < len(items) and items[end] == items[start]:
            end += 1
        count = end - start
        found += [f"*({items[start]} for _ in range({count}))"] if count > 2 else items[start:end]
        start = end
    return found


def _listed(text: str, lists: dict[str, list[tuple[str, str]]]) -> str:
    """The statement that makes a list of modules, in the place of its first one."""
    if not text.startswith("\x00"):
        return text
    stem = text[1:]
    items = lists[stem]
    if all(re.fullmatch(r"\d+", key) for key, _ in items):
        items = sorted(items, key=lambda item: int(item[0]))
        if len({item for _, item in items}) == 1 and len(items) > 1:
            return f"self.{stem} = nn.ModuleList([{items[0][1]} for _ in range({len(items)})])"
        return f"self.{stem} = nn.ModuleList([{', '.join(item for _, item in items)}])"
    pairs = ", ".join(f'"{key}": {item}' for key, item in items)
    return f"self.{stem} = nn.ModuleDict({{{pairs}}})"
