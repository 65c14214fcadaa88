"""Every class of a port: its bodies merged, its constructor, its forward."""

from __future__ import annotations

from dataclasses import dataclass, field

from parity.porting.to_torch.emission.arguments import ClassArgument
from parity.porting.to_torch.emission.constructor import Constructor
from parity.porting.to_torch.emission.layout import statement
from parity.porting.to_torch.emission.lines import Lines
from parity.porting.to_torch.emission.merge import merged, without_aliases, without_unused
from parity.porting.to_torch.emission.modules import parameter
from parity.porting.to_torch.emission.rows import as_row
from parity.porting.to_torch.emission.source import ClassSource
from parity.porting.to_torch.emission.stages import in_stages, inner_bodies, padded_convolutions
from parity.porting.to_torch.piece import ClassBody, ModuleText


@dataclass
class TorchClass:
    """One class of the port as text, and what each of its instances is made with."""

    name: str
    bodies: list[ClassBody]
    lines: list[str] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)


def written(root: ClassBody) -> list[TorchClass]:
    """The classes of a port, those first that the next ones use."""
    _prepare(root)
    by_title, needs = _titles(root)
    if _turning(needs):  # a row of layers that stands in what another row holds
        _levels(root)
        by_title, needs = _titles(root)
    if turning := _turning(
        needs
    ):  # a class in which another one holds it again: each height is a class of its own
        _heights(root, turning)
        by_title, needs = _titles(root)
    found: list[TorchClass] = []
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


def _prepare(body: ClassBody) -> None:
    """Make a body and all in it as simple as they can be."""
    without_aliases(body)
    without_unused(body)
    padded_convolutions(body)
    in_stages(body)
    for part in inner_bodies(body):
        _prepare(part)


def _titles(root: ClassBody) -> tuple[dict[str, list[ClassBody]], dict[str, set[str]]]:
    """The bodies of each title, and the titles that stand directly in them."""
    by_title: dict[str, list[ClassBody]] = {}
    needs: dict[str, set[str]] = {}

    def visit(body: ClassBody) -> None:
        inner = inner_bodies(body)
        for part in inner:
            visit(part)
        by_title.setdefault(body.title, []).append(body)
        needs.setdefault(body.title, set()).update(part.title for part in inner)

    visit(root)
    return by_title, needs


def _turning(needs: dict[str, set[str]]) -> set[str]:
    """The titles that need themselves, over others too."""
    return {title for title in needs if title in _below(title, needs)}


def _levels(body: ClassBody) -> int:
    """Tell rows of layers apart by how many bodies they hold above one another: they will have no class."""
    level = 1 + max((_levels(part) for part in inner_bodies(body)), default=0)
    if ClassSource(body.owner).is_row():
        body.title = f"{body.title}{level}"
    return level


def _heights(body: ClassBody, turning: set[str]) -> int:
    """Tell bodies of one title apart by how many classes of such titles they hold above one another."""
    height = max((_heights(part, turning) for part in inner_bodies(body)), default=0)
    if body.title not in turning:
        return height
    if height:
        body.title = f"{body.title}{height + 1}"
    return height + 1


def _below(title: str, needs: dict[str, set[str]]) -> set[str]:
    """The titles that a title needs, over others too."""
    found: set[str] = set()
    open_ = [title]
    while open_:
        new = needs.get(open_.pop(), set()) - found
        found |= new
        open_ += new
    return found


def _apart(bodies: list[ClassBody]) -> list[ClassBody]:
    """Each body once: a shared layer that is called several times is one."""
    seen: dict[int, ClassBody] = {}
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


def _clusters(bodies: list[ClassBody]) -> list[list[ClassBody]]:
    """The bodies of one title, in as few classes as they fit into."""
    if merged(bodies) is not None:
        return [bodies]
    found: list[list[ClassBody]] = []
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


def _class(name: str, cluster: list[ClassBody]) -> TorchClass:
    """One class as text; each of its bodies is told what it is made with."""
    this = Constructor(name, cluster)
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
    everything = [*this.fixed(), *everything]
    arguments = _in_order(this.arguments.source, this.arguments.made)
    for n, body in enumerate(cluster):
        values = {
            argument.name: argument.values[n]
            for argument in arguments
            if argument.default is None or repr(argument.values[n]) != argument.default.replace('"', "'")
        }
        ordinary = tuple(name for name in list(values)[:3] if name.endswith(("channels", "features")))
        ordinary = ordinary if list(ordinary) == list(values)[: len(ordinary)] else ()
        defaults = {a.name: a.values[n] for a in arguments if a.default is not None and a.name not in values}
        body.made = ModuleText(name, values, ordinary, defaults=defaults, port=True, owner=body.owner)  # type: ignore[attr-defined]
    found = TorchClass(name, cluster)
    found.lines = _text(this, arguments, everything, forward)
    found.helpers = this.helpers | {h for body in cluster for piece in body.pieces for h in piece.helpers}
    return found


def _in_order(source: list[ClassArgument], made: list[ClassArgument]) -> list[ClassArgument]:
    """Those without a default first; the source's in its order, numbers of channels that are new in front of them."""
    needed = [a for a in made if a.default is None]
    channels = [a for a in needed if a.name.endswith("channels")]
    return [
        *channels,
        *(a for a in source if a.default is None),
        *(a for a in needed if a not in channels),
        *(a for a in (*source, *made) if a.default is not None),
    ]


def _parameters(this: Constructor) -> list[str]:
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
        firsts = {own[name].arguments["value"] for own in known if name in own}
        first = firsts.pop() if len(firsts) == 1 else "empty"
        lines += parameter(name, known[0][name], first, ", ".join(parts) if ranks else "()")
    return lines


def _text(
    this: Constructor,
    arguments: list[ClassArgument],
    made: list[tuple[str, str]],
    forward: list[tuple[str, str]],
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
        if text.startswith("\t"):  # of the line above
            lines += statement(text[1:], indent + 4)
            continue
        if flag and flag != before:
            lines.append(f"{' ' * indent}if {names[flag]}:")
        lines += statement(text, indent + (4 if flag else 0))
        before = flag
    return lines
