"""A renaming that the sure pairs follow, applied to layers that never run: convo1 is conv1 throughout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Path = tuple[str, ...]


@dataclass
class Renaming:
    """How the paths of one side become those of the other.

    Attributes:
        words: one name between two points -> its name on the other side.
        stems: the start of a path -> that on the other side, where the two are of different lengths.
    """

    words: dict[str, str] = field(default_factory=dict)
    stems: dict[Path, Path] = field(default_factory=dict)

    def of(self, path: str) -> set[str]:
        """The names that a path may have on the other side."""
        parts = _parts(path)
        found = {".".join(self.words.get(part, part) for part in parts)}
        for length in range(len(parts), -1, -1):
            if parts[:length] in self.stems:
                rest = (self.words.get(part, part) for part in parts[length:])
                found.add(".".join((*self.stems[parts[:length]], *rest)))
                break
        return found

    def __str__(self) -> str:
        """In words, without what keeps its name: "conv1 is convo1"."""
        pairs = [(keras, torch) for keras, torch in self.words.items() if keras != torch]
        pairs += [(".".join(keras) or "the start", ".".join(torch)) for keras, torch in self.stems.items()]
        return ", ".join(f"{keras} is {torch}" for keras, torch in pairs[:5])


def learnt(pairs: Iterable[tuple[str, str]]) -> Renaming:
    """The renaming that all pairs of paths follow; a name that goes several ways is no part of it.

    >>> str(learnt([("a.conv1", "a.convo1"), ("b.conv1", "b.convo1")]))
    'conv1 is convo1'
    >>> learnt([("a.x", "a.y"), ("b.x", "b.z")]).words
    {'a': 'a', 'b': 'b'}
    """
    split = [(_parts(keras), _parts(torch)) for keras, torch in pairs]
    words = _one_way(
        item for keras, torch in split if len(keras) == len(torch) for item in zip(keras, torch, strict=True)
    )
    stems = _one_way(_starts(keras, torch, words) for keras, torch in split if len(keras) != len(torch))
    return Renaming(words, stems)


def _starts(keras: Path, torch: Path, words: Mapping[str, str]) -> tuple[Path, Path]:
    """What is left of two paths once their ends, which correspond, are taken off."""
    while keras and torch and words.get(keras[-1], keras[-1]) == torch[-1]:
        keras, torch = keras[:-1], torch[:-1]
    return keras, torch


def _one_way(items: Iterable[tuple[object, object]]) -> dict:  # type: ignore[type-arg]  # of words, or of paths
    """{from: to} of those that always go to the same, and to which nothing else goes."""
    there: dict[object, set[object]] = {}
    back: dict[object, set[object]] = {}
    for keras, torch in items:
        there.setdefault(keras, set()).add(torch)
        back.setdefault(torch, set()).add(keras)
    return {
        keras: next(iter(torch))
        for keras, torch in there.items()
        if len(torch) == 1 and len(back[next(iter(torch))]) == 1
    }


def renamed(
    renaming: Renaming, keras: Mapping[str, Sequence[str]], torch: Mapping[str, Sequence[str]]
) -> list[tuple[str, str]]:
    """(Keras path, torch path) of layers that the renaming leads to one another, each to one alone.

    Args:
        renaming: as learnt from the pairs that are sure.
        keras: the Keras layers that are free, with their further names.
        torch: the torch layers that are free, likewise.
    """
    by_name: dict[str, set[str]] = {}
    for path, aliases in torch.items():
        for name in (path, *aliases):
            by_name.setdefault(name, set()).add(path)
    claims: dict[str, list[str]] = {}
    for path, aliases in keras.items():
        found = {
            one for name in (path, *aliases) for new in renaming.of(name) for one in by_name.get(new, ())
        }
        if len(found) == 1:
            claims.setdefault(found.pop(), []).append(path)
    return [(paths[0], one) for one, paths in claims.items() if len(paths) == 1]


def _parts(path: str) -> Path:
    return tuple(path.split(".")) if path else ()
