"""Modules as text: the expression that makes each one, from what the modules are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from parity.adapters.recording.records import Recording
from parity.porting.to_keras.leaves.setting import NoCounterpartError
from parity.porting.to_keras.leaves.table import leaf_class
from parity.porting.to_keras.making.groups import LISTS, NAMED, SEQUENCES, PortClass, is_container
from parity.porting.to_keras.making.scope import Scope, equal
from parity.porting.to_keras.making.settings import leaf_of


@dataclass(eq=False)
class Makers:
    """Knows the classes of the port, and gathers what the texts need.

    Attributes:
        ranks: how many axes the input of a module has, by the module's id, where it ran with one.
    """

    recording: Recording
    groups: list[PortClass]
    ranks: dict[int, int]
    helpers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.of: dict[int, PortClass] = {}
        self.places: dict[int, int] = {}
        for port in self.groups:
            self.register(port)

    def register(self, port: PortClass) -> None:
        """Note which class of the port the modules are of."""
        for index, made in enumerate(port.modules):
            self.of[id(made.module)], self.places[id(made.module)] = port, index

    def text(self, modules: Sequence[Any], scope: Scope, name: str | None = None) -> str:
        """The expression that makes a module, given it in each instance of what makes it.

        Args:
            modules: of one class, one for each instance; None where an instance has none.
            scope: the names that it may use.
            name: the name of the layer, where its place does not give it.

        Raises:
            NoCounterpartError: it cannot be written.
        """
        first = modules[0]
        if all(module is None for module in modules):
            return "None"
        if any(module is None for module in modules):
            return self._optional(modules, scope, name)
        cls = type(first)
        if len(parts := self._kinds_of(modules)) > 1:
            return self._chosen(parts, modules, scope, name)
        if leaf_class(cls) is not None:
            return self._leaf(modules, scope, name)
        if is_container(cls, SEQUENCES):
            children = self._children(modules, scope)
            more = f', name="{name}"' if name else ""
            return f"keras.Sequential({children}{more})" if children != "[]" else "keras.layers.Identity()"
        if is_container(cls, LISTS):
            return self._children(modules, scope)
        if is_container(cls, NAMED):
            keys = list(first._modules)
            if any(list(module._modules) != keys for module in modules):
                raise NoCounterpartError("torch.nn.ModuleDict with other names in other instances")
            items = [f'"{key}": {self.text([m._modules[key] for m in modules], scope)}' for key in keys]
            return f"{{{', '.join(items)}}}"
        return self._user(modules, scope, name)

    def _kinds_of(self, modules: Sequence[Any]) -> list[list[int]]:
        """The numbers of the modules that one expression can make, for each kind of layer or class of the port."""
        found: dict[Any, list[int]] = {}
        for index, module in enumerate(modules):
            cls = type(module)
            plain = is_container(cls, (*SEQUENCES, *LISTS, *NAMED))
            found.setdefault(leaf_class(cls) or (cls if plain else self.of.get(id(module), cls)), []).append(
                index
            )
        return list(found.values())

    def _chosen(self, parts: list[list[int]], modules: Sequence[Any], scope: Scope, name: str | None) -> str:
        """Modules of several kinds at one place: a condition on the arguments says which one an instance has."""
        for part in parts:
            condition = scope.condition([index in part for index in range(len(modules))])
            if condition is None:
                continue
            rest = [index for index in range(len(modules)) if index not in part]
            texts = []
            for kept in (part, rest):
                names = {key: [values[index] for index in kept] for key, values in scope.names.items()}
                texts.append(self.text([modules[index] for index in kept], Scope(names, scope.named), name))
            return f"({texts[0]} if {condition} else {texts[1]})"
        raise NoCounterpartError(f"modules of several kinds at one place: {_kinds(modules)}")

    def _leaf(self, modules: Sequence[Any], scope: Scope, name: str | None) -> str:
        ranks = {self.ranks.get(id(module)) for module in modules}
        leaf = leaf_of(modules, scope, ranks.pop() if len(ranks) == 1 else None)
        self.helpers |= leaf.helpers
        arguments = [*leaf.arguments, *([f'name="{name}"'] if name else [])]
        return f"{leaf.callee}({', '.join(arguments)})"

    def _user(self, modules: Sequence[Any], scope: Scope, name: str | None) -> str:
        group = self.of.get(id(modules[0]))
        if group is None:
            raise NoCounterpartError(f"{_kinds(modules)} is no part of the model, or not yet written")
        places = [self.places[id(module)] for module in modules]
        arguments: list[str] = []
        positional = True
        for argument in group.arguments:
            if argument not in group.values:
                continue
            values = [group.values[argument][place] for place in places]
            if argument in group.defaults and all(equal(value, group.defaults[argument]) for value in values):
                positional = False
                continue
            text = self._argument(values, argument, scope)
            positional = positional and argument not in group.defaults
            arguments.append(text if positional else f"{argument}={text}")
        for argument, known in group.added.items():
            arguments.append(f"{argument}={scope.text([known[place] for place in places], argument)}")
        arguments += [f'name="{name}"'] if name else []
        return f"{group.name}({', '.join(arguments)})"

    def _argument(self, values: Sequence[Any], name: str, scope: Scope) -> str:
        """What a constructor is given; None for what the port does not have, which no text there reads either."""
        if all(hasattr(value, "forward") and not isinstance(value, type) for value in values):
            return self.text(values, scope)
        try:
            return scope.text(values, name)
        except NoCounterpartError:
            for value in values:
                try:
                    scope.named.text(value)
                except NoCounterpartError:
                    return "None"
            raise

    def _optional(self, modules: Sequence[Any], scope: Scope, name: str | None) -> str:
        """A module that some instances do not have: a condition on an argument."""
        there = [module is not None for module in modules]
        condition = scope.text(there, "with_" + (name or "layer"))
        kept = [index for index, known in enumerate(there) if known]
        names = {key: [values[index] for index in kept] for key, values in scope.names.items()}
        text = self.text([modules[index] for index in kept], Scope(names, scope.named), name)
        return f"{text} if {condition} else None"

    def _children(self, modules: Sequence[Any], scope: Scope) -> str:
        """The list of the children of torch's containers."""
        counts = {len(module._modules) for module in modules}
        if len(counts) == 1:
            names = list(modules[0]._modules)
            if any(list(module._modules) != names for module in modules):
                raise NoCounterpartError("a sequence with other names in other instances")
            texts = [
                self.text([m._modules[key] for m in modules], scope, None if key.isdigit() else key)
                for key in names
            ]
            return _listed(texts)
        for first in (0, 1):
            try:
                return self._comprehension(modules, scope, first)
            except NoCounterpartError as error:
                reason = error
        raise reason

    def _comprehension(self, modules: Sequence[Any], scope: Scope, first: int) -> str:
        """A list of another length in each instance: the first ones, and one text for all further ones."""
        children = [list(module._modules.values()) for module in modules]
        if min(map(len, children)) < first:
            raise NoCounterpartError("a sequence that some instances leave empty")
        head = [self.text([row[i] for row in children], scope) for i in range(first)]
        count = scope.text([len(row) - first for row in children], "depth")
        rows = [
            (instance, i, child)
            for instance, row in enumerate(children)
            for i, child in enumerate(row[first:])
        ]
        names = {name: [values[instance] for instance, _, _ in rows] for name, values in scope.names.items()}
        names["i"] = [i for _, i, _ in rows]
        text = self.text([child for _, _, child in rows], Scope(names, scope.named))
        made = (
            f"[{text} for i in range({count})]"
            if " i" in text or "(i" in text
            else f"[{text} for _ in range({count})]"
        )
        return f"[{', '.join(head)}, *{made}]" if head else made


def _kinds(modules: Sequence[Any]) -> str:
    return ", ".join(sorted({type(module).__name__ for module in modules}))


def _listed(texts: list[str]) -> str:
    """A list; the same text several times in a row is a comprehension."""
    parts: list[tuple[str, int]] = []
    for text in texts:
        if parts and parts[-1][0] == text:
            parts[-1] = (text, parts[-1][1] + 1)
        else:
            parts.append((text, 1))
    if len(parts) == 1 and parts[0][1] > 1:
        return f"[{parts[0][0]} for _ in range({parts[0][1]})]"
    items = [text if count == 1 else f"*[{text} for _ in range({count})]" for text, count in parts]
    return f"[{', '.join(items)}]"
