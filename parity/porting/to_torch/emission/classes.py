"""Every class of a port: its bodies merged, its constructor, its forward."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from parity.porting.to_torch.emission.arguments import ABSENT, Argument, Arguments
from parity.porting.to_torch.emission.layout import statement
from parity.porting.to_torch.emission.lines import Lines
from parity.porting.to_torch.emission.merge import merged, without_aliases, without_unused
from parity.porting.to_torch.emission.modules import making, parameter
from parity.porting.to_torch.emission.rows import as_row
from parity.porting.to_torch.emission.stages import in_stages, inner_bodies, padded_convolutions
from parity.porting.to_torch.naming import identifier
from parity.porting.to_torch.piece import Body, Made
from parity.porting.to_torch.source import Source


@dataclass
class Written:
    """One class of the port as text, and what each of its instances is made with."""

    name: str
    bodies: list[Body]
    lines: list[str] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)


def written(root: Body) -> list[Written]:
    """The classes of a port, those first that the next ones use."""
    by_title: dict[str, list[Body]] = {}
    needs: dict[str, set[str]] = {}

    def visit(body: Body) -> set[str]:
        without_aliases(body)
        without_unused(body)
        padded_convolutions(body)
        in_stages(body)
        inner = {title for part in inner_bodies(body) for title in visit(part)}
        while body.title in inner:  # a graph in a graph, both without a name of their own
            body.title = f"{body.title}Outer"
        by_title.setdefault(body.title, []).append(body)
        needs.setdefault(body.title, set()).update(inner)
        return inner | {body.title}

    visit(root)
    found: list[Written] = []
    taken = {"nn", "F", "torch"}
    for title in sorted(by_title, key=lambda title: len(_below(title, needs))):
        for n, cluster in enumerate(_clusters(_apart(by_title[title]))):
            row = as_row(cluster) if cluster[0] is not root else None
            if row:
                continue
            name = title if n == 0 and title not in taken else _numbered(title, taken)
            taken.add(name)
            found.append(_class(name, cluster))
    return found


def _below(title: str, needs: dict[str, set[str]]) -> set[str]:
    """The titles that a title needs, over others too."""
    found: set[str] = set()
    open_ = [title]
    while open_:
        new = needs.get(open_.pop(), set()) - found
        found |= new
        open_ += new
    return found


def _apart(bodies: list[Body]) -> list[Body]:
    """Each body once: a shared layer that is called several times is one."""
    seen: dict[int, Body] = {}
    rest = []
    for body in bodies:
        key = id(body.owner)
        if body.owner is not None and key in seen:
            body.twin = seen[key]  # type: ignore[attr-defined]
            continue
        seen[key] = body
        rest.append(body)
    return rest


def _numbered(title: str, taken: set[str]) -> str:
    number = 2
    while f"{title}{number}" in taken:
        number += 1
    return f"{title}{number}"


def _clusters(bodies: list[Body]) -> list[list[Body]]:
    """The bodies of one title, in as few classes as they fit into."""
    if merged(bodies) is not None:
        return [bodies]
    found: list[list[Body]] = []
    for body in sorted(bodies, key=lambda body: -len(body.pieces)):
        for cluster in found:
            if merged([*cluster, body]) is not None:
                cluster.append(body)
                break
        else:
            found.append([body])
    place = {id(body): n for n, body in enumerate(bodies)}
    for cluster in found:
        cluster.sort(key=lambda body: place[id(body)])
    return sorted(found, key=lambda cluster: place[id(cluster[0])])


def made_of(thing: Any) -> Made:
    """What makes a member: itself, or the class that its body has become."""
    if isinstance(thing, Body):
        thing = getattr(thing, "twin", thing)
        return thing.made  # type: ignore[attr-defined,no-any-return]
    return thing  # type: ignore[no-any-return]


class _Class:
    """One class on its way to text."""

    def __init__(self, name: str, cluster: list[Body]) -> None:
        found = merged(cluster)
        assert found is not None
        self.name, self.bodies, self.merged = name, cluster, found
        self.source = Source(cluster[0].owner)
        self.arguments = Arguments(len(cluster), self._from_source())
        self.arguments.reserved = {"self"} | {
            member.attribute.split("#")[0].split(".")[0]
            for body in cluster for piece in body.pieces for member in piece.members
        }  # fmt: skip
        self.flags: dict[str, str] = {}
        self.numbers: dict[tuple[str, int], str] = {}
        self.kept: dict[str, str] = {}  # attributes that forward reads: name -> text
        self.helpers: set[str] = set()

    def _from_source(self) -> list[Argument]:
        values = [Source(body.owner).values() for body in self.bodies]
        return [
            Argument(name, [own.get(name) for own in values], default)
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
                text, behind = self._making(mades, attribute, member.owner)
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

    def _making(self, mades: list[Any], attribute: str, owner: Any) -> tuple[str, list[str]]:
        known = next(made for made in mades if made is not None)
        if known.kind == "nn.Sequential":
            inner = []
            for key in known.inside:
                parts = [made_of(made.inside[key]) if made is not None else None for made in mades]
                inner.append(making(parts, f"{attribute}_{key}", self.arguments, lambda *_: None)[0])
                self._note([part for part in parts if part is not None])
            return f"nn.Sequential({', '.join(repeated(inner))})", []
        self._note([made for made in mades if made is not None])

        def expression(name: str, values: list[Any]) -> str | None:
            keras = known.sources.get(name)
            argument = self.source.expression(attribute, keras) if keras else None
            return argument if argument is not None and self._means(argument, values) else None

        del owner
        return making(mades, attribute, self.arguments, expression)

    def _note(self, mades: Any) -> None:
        self.helpers |= {made.kind for made in mades if "." not in made.kind}

    def _means(self, text: str, values: list[Any]) -> bool:
        """Whether the source's text has these values, with the arguments of each instance."""
        for n, value in enumerate(values):
            if value is ABSENT:
                continue
            names = {argument.name: argument.values[n] for argument in self.arguments.source}
            if self.source.value(text, names) != value:
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


def _class(name: str, cluster: list[Body]) -> Written:
    """One class as text; each of its bodies is told what it is made with."""
    this = _Class(name, cluster)
    this.set_flags()
    made = this.constructor()
    lines = Lines(
        this.merged, this.hole, lambda step: this.flags.get(step, ""), this.source.target(this.merged),
        this.source.nested(this.merged),
    )  # fmt: skip
    forward = lines.write()
    parameters = _parameters(this)
    flags = {flag for flag, _ in forward if flag}
    for flag in flags:
        this.kept[flag] = flag
    kept = [("", f"self.{attribute} = {text}") for attribute, text in this.kept.items()]
    everything = [*kept, *made, *(("", line) for line in parameters)]
    used = [argument for argument in this.arguments.source if argument.kept]
    arguments = sorted(
        [*used, *this.arguments.made], key=lambda a: (a.default is not None, not a.name.endswith("channels"))
    )
    for n, body in enumerate(cluster):
        values = {
            argument.name: argument.values[n]
            for argument in arguments
            if argument.default is None or repr(argument.values[n]) != argument.default.replace('"', "'")
        }
        ordinary = tuple(name for name in list(values)[:3] if name.endswith(("channels", "features")))
        ordinary = ordinary if list(ordinary) == list(values)[: len(ordinary)] else ()
        defaults = {a.name: a.values[n] for a in arguments if a.default is not None and a.name not in values}
        body.made = Made(name, values, ordinary, defaults=defaults, port=True)  # type: ignore[attr-defined]
    found = Written(name, cluster)
    found.lines = _text(this, arguments, everything, forward)
    found.helpers = this.helpers | {h for body in cluster for piece in body.pieces for h in piece.helpers}
    return found


def _parameters(this: _Class) -> list[str]:
    lines: list[str] = []
    known = [body.__dict__.get("parameters", {}) for body in this.bodies]
    for name in known[0]:
        shapes = [tuple(own[name].arguments["shape"]) for own in known if name in own]
        ranks = len(shapes[0])
        parts = [
            this.arguments.text(
                [shape[axis] for shape in shapes], "channels" if axis == ranks - 1 else "size", name
            )
            for axis in range(ranks)
        ]
        lines += parameter(name, known[0][name], ", ".join(parts) if ranks else "()")
    return lines


def _text(
    this: _Class, arguments: list[Argument], made: list[tuple[str, str]], forward: list[tuple[str, str]]
) -> list[str]:
    """The lines of the class."""
    ordered = [a for a in arguments if a.default is None] + [a for a in arguments if a.default is not None]
    parts = ["self", *(a.name if a.default is None else f"{a.name}={a.default}" for a in ordered)]
    lines = [f"class {this.name}(nn.Module):"]
    lines += this.source.docstring()
    if made:
        lines += statement(f"def __init__({', '.join(parts)}):", 4)
        lines += ["        super().__init__()", *_conditional(made, 8, {flag: flag for flag, _ in made})]
        lines.append("")
    names = ", ".join(["self", *(name for name, _ in this.bodies[0].inputs)])
    lines.append(f"    def forward({names}):")
    lines += _conditional(forward, 8, {flag: f"self.{flag}" for flag, _ in forward})
    return lines


def _conditional(statements: list[tuple[str, str]], indent: int, names: dict[str, str]) -> list[str]:
    """Statements as lines, those of one condition under one `if`."""
    lines: list[str] = []
    before = ""
    for flag, text in statements:
        if flag and flag != before:
            lines.append(f"{' ' * indent}if {names[flag]}:")
        lines += statement(text, indent + (4 if flag else 0))
        before = flag
    return lines
