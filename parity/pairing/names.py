"""By which names the torch mirror image of a Keras layer may go.

A layer goes by its path and its aliases. Keras makes up the names of layers that have none (conv2d, conv2d_1 and on) and
counts through a whole process, so that two builds of one model differ: of such names the order counts, not the numbers.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

from parity.core.types import LayerInfo


@dataclass(frozen=True)
class MadeUp:
    """A name that Keras may have made up from a layer's class: "conv2d_3" is number 3 of stem "conv2d"."""

    stem: str
    number: int

    def __str__(self) -> str:
        """The name: the first of its class has no number."""
        return f"{self.stem}_{self.number}" if self.number else self.stem


def made_up(name: str, kind: str) -> MadeUp | None:
    """What a name says where Keras may have made it up; None where somebody chose it.

    >>> made_up("conv2d_3", "Conv2D"), made_up("re_lu", "ReLU"), made_up("stem", "Conv2D")
    (MadeUp(stem='conv2d', number=3), MadeUp(stem='re_lu', number=0), None)
    """
    found = re.fullmatch(r"(.+?)(?:_(\d+))?", name)
    if found is None or found[1].replace("_", "") != kind.lower().replace("_", ""):
        return None
    return MadeUp(found[1], int(found[2] or 0))


def stems(path: str) -> list[str]:
    """The paths that a path may lie below, the longest first.

    >>> stems("a.b.c")
    ['a.b', 'a']
    """
    found = []
    while "." in path:
        path = path.rpartition(".")[0]
        found.append(path)
    return found


def below(layers: Mapping[str, LayerInfo]) -> dict[str, list[str]]:
    """The paths below each layer, in the model's order; below "" all others."""
    found: dict[str, list[str]] = {}
    for path in layers:
        if path:
            for stem in ("", *stems(path)):
                found.setdefault(stem, []).append(path)
    return found


def split(layers: Mapping[str, LayerInfo]) -> dict[str, tuple[str, str]]:
    """(path of the layer around it, its own name) of each layer but the model itself."""
    found: dict[str, tuple[str, str]] = {}
    for path in layers:
        around = path.rpartition(".")[0]
        while around and around not in layers:  # a name may hold points, as that of a layer in a list
            around = around.rpartition(".")[0]
        if path:
            found[path] = (around, path.removeprefix(f"{around}." if around else ""))
    return found


def counted_anew(layers: Mapping[str, LayerInfo]) -> dict[str, str]:
    """Path -> the path it would have if Keras had counted this model's layers alone."""
    own = split(layers)
    names = {path: made_up(name, layers[path].kind) for path, (_, name) in own.items()}
    order: dict[str, list[int]] = {}
    for name in names.values():
        if name is not None:
            order.setdefault(name.stem, []).append(name.number)
    ranks = {
        stem: {number: i for i, number in enumerate(sorted(set(numbers)))} for stem, numbers in order.items()
    }
    found = {"": ""}
    for path, (around, plain) in own.items():  # a layer comes after the one around it
        name = names[path]
        last = plain if name is None else str(MadeUp(name.stem, ranks[name.stem][name.number]))
        found[path] = f"{found[around]}.{last}" if found[around] else last
    return found


class Names:
    """The names of Keras' layers, the surest first, as they become known."""

    def __init__(self, keras: Mapping[str, LayerInfo], torch: Mapping[str, LayerInfo]) -> None:
        self.keras, self.torch = keras, torch
        self._names = {path: (path, *layer.aliases) for path, layer in keras.items()}
        self._sorted = sorted(self._names)  # all that is below a layer stands together

    def of(self, path: str) -> tuple[str, ...]:
        """The names of a Keras layer, the surest first."""
        return self._names[path]

    def mirror(self, path: str) -> str | None:
        """The torch module that has one of the layer's names."""
        return next((name for name in self._names[path] if name in self.torch), None)

    def rename(self, keras: str, torch: str, *, own: bool) -> None:
        """Let a Keras layer, and all below it, go by the name of a torch module.

        Args:
            keras: path of the layer.
            torch: path of the module.
            own: whether its own name stays the surest; otherwise that no longer counts.
        """
        start = f"{keras}."
        behind = map(self._sorted.__getitem__, range(bisect_left(self._sorted, start), len(self._sorted)))
        for path in [keras, *takewhile(lambda path: path.startswith(start), behind)]:
            names = self._names.get(path)
            if names is not None:
                name = f"{torch}{path.removeprefix(keras)}".removeprefix(".")
                more = [other for other in names if other != path]
                if path == keras:  # its number in a sequence says no more
                    more = [other for other in more if not other.rpartition(".")[2].isdigit()]
                self._names[path] = (path, name, *more) if own else (name, *more)

    def count_anew(self) -> None:
        """Of names that Keras made up the n-th is the n-th of as many like names in torch, whatever the numbers."""
        keras, torch = _inside(self.keras), _inside(self.torch)
        for around, paths in keras.items():  # from the outside to the inside
            mirror = around if not around else self.mirror(around)
            for stem, numbered in _by_stem(paths, self.keras).items():
                like = _like(stem, torch.get(mirror, {})) if mirror is not None else {}
                if len(like) == len(numbered) and set(like) != set(numbered):
                    for number, other in zip(sorted(numbered), sorted(like), strict=True):
                        self.rename(numbered[number], like[other], own=False)


def _inside(layers: Mapping[str, LayerInfo]) -> dict[str, dict[str, str]]:
    """Path of a layer -> own name -> path of what is directly inside it."""
    found: dict[str, dict[str, str]] = {}
    for path, (around, name) in split(layers).items():
        found.setdefault(around, {})[name] = path
    return found


def _by_stem(paths: Mapping[str, str], layers: Mapping[str, LayerInfo]) -> dict[str, dict[int, str]]:
    """Stem -> number -> path of the layers whose names Keras may have made up."""
    found: dict[str, dict[int, str]] = {}
    for name, path in paths.items():
        known = made_up(name, layers[path].kind)
        if known is not None:
            found.setdefault(known.stem, {})[known.number] = path
    return found


def _like(stem: str, paths: Mapping[str, str]) -> dict[int, str]:
    """Number -> path of the modules that are named as Keras would name layers of this stem."""
    found: dict[int, str] = {}
    for name, path in paths.items():
        match = re.fullmatch(rf"{re.escape(stem)}(?:_(\d+))?", name)
        if match:
            found[int(match[1] or 0)] = path
    return found
